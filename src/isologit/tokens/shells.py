"""Shells and bands: how far from a centre the rows of one population lie, and how evenly.

Rows that training never touched keep the spread of their initialisation about their own centre,
and in many dimensions that is a thin shell: the radii of iid rows vary by 1/√(2d) of themselves if
Gaussian, by √(1/5)/√d = 0.447/√d if uniform, and not at all if orthogonal. Decay shrinks a shell
and leaves its relative spread as it is; the radius itself says nothing, and may be below, among or
above those of trained rows.

A drift s that all rows share moves the shell away from the origin. Their norms stay as even: with
iid Gaussian entries and E‖w‖² = r², the variance of ‖w + s‖² is (2r⁴ + 4r²‖s‖²)/d, so the relative
spread of the norm is √(r⁴ + 2r²‖s‖²)/(r² + ‖s‖²)/√(2d), which is at most 1/√(2d). So a shell can be
found by norms alone, and described about its own centre.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isologit.numerics.formats import Float64s, Format

Mask = npt.NDArray[np.bool_]

# Of fewer radii a spread is hardly known: the prediction interval of three is 19 standard
# deviations to either side.
FEWEST = 4
# What a normal deviate exceeds, to either side, once in 370 times.
_DEVIATIONS = 3.0
_MOST_ROUNDS = 16
# Of a spread measured on n rows, in its own sampling errors 1/√(2(n − 1)).
_SAMPLING_ERRORS = 3.0
# Above the Gaussian spread, which norms of untouched rows do not exceed: where a fifth of the rows
# in the band are strays, evenly over its six deviations, they widen it by √(0.8 + 0.2·3) = 1.18.
# Norms of trained rows spread by 4.8 Gaussian spreads in the embedded checkpoint, 2.4 in llama2xs,
# 11 in rwkv's head.
_WIDENED = 1.2


@dataclass(frozen=True)
class Shell:
    """How the rows of a group lie about their own centre, beside what untouched rows would show.

    Parameters
    ----------
    n
        How many rows.
    width
        d.
    centre_norm
        The centre's distance from the origin: 0 where the centre is the origin.
    mean_radius
        The mean distance from the centre, of each row from that of the others.
    relative_spread
        The standard deviation of these distances over their mean; NaN where that is 0.
    """

    n: int
    width: int
    centre_norm: float
    mean_radius: float
    relative_spread: float

    @classmethod
    def of(cls, radii: Float64s, width: int, centre_norm: float) -> "Shell":
        """Describe the radii ``[n]``, n at least 2, of a group of rows of d numbers."""
        mean = float(radii.mean())
        spread = float(radii.std(ddof=1)) / mean if mean > 0 else float("nan")
        return cls(len(radii), width, centre_norm, mean, spread)

    @property
    def gaussian(self) -> float:
        """The relative spread of iid Gaussian rows, 1/√(2d)."""
        return float(1 / np.sqrt(2 * self.width))

    @property
    def uniform(self) -> float:
        """The relative spread of iid uniform rows, 1/√(5d)."""
        return float(1 / np.sqrt(5 * self.width))

    @property
    def sampling_error(self) -> float:
        """The relative standard error of a spread that was measured on n rows."""
        return float(1 / np.sqrt(2 * (self.n - 1)))

    @property
    def is_thin(self) -> bool:
        """Whether the spread is at most that of iid Gaussian rows, with room (`widest_spread`)."""
        return bool(self.relative_spread <= widest_spread(self.n, self.width))

    @property
    def resembles(self) -> tuple[str, ...]:
        """Which initialisations would show this spread, within three of its standard errors."""
        room = _SAMPLING_ERRORS * self.sampling_error
        names = [
            name
            for name, expected in (("Gaussian", self.gaussian), ("uniform", self.uniform))
            if abs(self.relative_spread - expected) <= room * expected
        ]
        # Rounding gives the rows of an orthogonal matrix norms that differ a little.
        if self.relative_spread <= self.uniform / 10:
            names.append("orthogonal")
        return tuple(names)


@dataclass(frozen=True)
class Band:
    """The distances from a centre at which a further row of a population is expected.

    `low` is 0 for a ball. The ends are the mean of the population's distances and three standard
    deviations to either side, more where few rows are known (`prediction_factor`); `fit_ball` and
    `fit_shell` have the bounds on that.
    """

    low: float
    high: float

    def holds(self, distances: Float64s) -> Mask:
        """Return which distances lie in the band, ends included; a NaN does not."""
        return np.asarray((distances >= self.low) & (distances <= self.high))

    def expected_strangers(self, others: Float64s) -> float:
        """Return how many of the other tokens in the band may be there by chance: an upper bound.

        For a ball, the cloud's null model (docs/decisions/0003): within a distance D, rows that
        belong to the cloud lie within t < D with probability at most t/D. The bound is the least
        over all D of (N + 1)·t/(D − t), N the rows between t and D. For a shell, the logarithmic
        mean of the densities next to its two ends, as of an exponential tail, times its width; the
        density of a window with N tokens is put at N + 2√N + 1 over its width, for the window of a
        quarter, a half or all of the shell's width where that is least.

        Parameters
        ----------
        others
            ``[m]`` distances of the tokens that were not used to find the band.
        """
        if self.low == 0:
            beyond = np.sort(others[others > self.high])
            if not len(beyond):
                return float("inf")
            ranks = np.arange(1, len(beyond) + 1)
            return float(((ranks + 1) * self.high / (beyond - self.high)).min())
        width = self.high - self.low
        if width == 0:
            return 1.0
        below, above = (
            min(
                (held + 2 * np.sqrt(held) + 1) * width / (end - begin)
                for share in (0.25, 0.5, 1.0)
                for begin, end in [side(share * width)]
                if end > begin
                for held in [np.count_nonzero((others >= begin) & (others <= end))]
            )
            for side in (
                lambda reach: (max(self.low - reach, 0.0), self.low),
                lambda reach: (self.high, self.high + reach),
            )
        )
        ratio = below / above
        return float(above if np.isclose(ratio, 1.0) else (below - above) / np.log(ratio))


def prediction_factor(n: int) -> float:
    """Return how many standard deviations from the mean of n a further value may lie.

    Student's quantile for what a normal deviate exceeds at 3, by Cornish and Fisher's expansion
    (Abramowitz and Stegun 26.7.5), times √(1 + 1/n). Within 3 % from 8 values on.
    """
    z, freedom = _DEVIATIONS, n - 1
    quantile = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return float(quantile * np.sqrt(1 + 1 / n))


def rounding_distance(row: Float64s, format_: Format) -> float:
    """Return how far rounding to a format moves a row ``[d]``, root mean square: √(Σ ulp²/12).

    Rows that are nearer to each other than that differ by a few last bits.
    """
    exponents = np.maximum(np.frexp(row)[1] - 1, format_.min_exponent)
    ulps = np.ldexp(1.0, exponents - (format_.precision - 1))
    return float(np.sqrt((ulps[row != 0] ** 2).sum() / 12))


def widest_spread(n: int, width: int) -> float:
    """Return the relative spread up to which n radii in d dimensions count as a thin shell."""
    return float(_WIDENED * (1 + _SAMPLING_ERRORS / np.sqrt(2 * (n - 1))) / np.sqrt(2 * width))


def fit_ball(radii: Float64s, inside: Mask, width: int, rounding: float) -> Band | None:
    """Grow or shrink a group until a ball holds it and nothing else.

    Parameters
    ----------
    radii
        ``[n]``, of the group and of whatever may belong to it.
    inside
        ``[n]`` bool, which to begin with: the inner half of a group is not misled by its edge.
    width
        d: the ball reaches at least as far beyond the group's mean as that of iid Gaussian rows.
    rounding
        How far rounding moves a row (`rounding_distance`): it reaches at least that far, too.

    Returns
    -------
    Band or None
        None where fewer than `FEWEST` are left.
    """

    def band(mean: float, reach: float, n: int) -> Band:
        return Band(0.0, mean + max(reach, _gaussian_reach(n, width) * mean, rounding))

    return _settled(radii, inside, band)


def fit_shell(radii: Float64s, inside: Mask, width: int) -> Band | None:
    """Grow or shrink a group until a shell holds it and nothing else.

    The shell reaches no farther from its mean than three standard deviations of iid Gaussian rows
    of d numbers (`width`): what is wider is not of this kind, however little is known of it.
    """

    def band(mean: float, reach: float, n: int) -> Band:
        reach = min(reach, _gaussian_reach(n, width) * mean)
        return Band(max(mean - reach, 0.0), mean + reach)

    return _settled(radii, inside, band)


def _gaussian_reach(n: int, width: int) -> float:
    """Return three relative standard deviations of a further radius, of iid Gaussian rows."""
    return float(_DEVIATIONS * np.sqrt((1 + 1 / n) / (2 * width)))


def _settled(
    radii: Float64s, inside: Mask, band_of: Callable[[float, float, int], Band]
) -> Band | None:
    """Repeat from radii to a band and back, until neither changes."""
    band = None
    for _ in range(_MOST_ROUNDS):
        own = radii[inside]
        if len(own) < FEWEST:
            return None
        # Of equal radii the mean is that radius, whatever the sum was rounded to.
        mean = float(np.clip(own.mean(), own.min(), own.max()))
        reach = prediction_factor(len(own)) * float(own.std(ddof=1))
        band = band_of(mean, reach, len(own))
        grown = band.holds(radii)
        if np.array_equal(grown, inside):
            break
        inside = grown
    return band
