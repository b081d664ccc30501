"""Leading principal axes of a matrix's rows, and spherical coordinates along three of them.

The axes are those of the seed's line: eigenvectors of the covariance of the mean-centred rows,
divided by their number, by descending eigenvalue. Only the leading ones are computed, by block
Lanczos with full reorthogonalisation (Golub and Underwood, 1977) and Rayleigh–Ritz on everything
seen so far: each pass over W multiplies eight vectors by the covariance, and no [d, d] matrix and
no copy of W is made.

What is returned was computed in binary64; a search in a large matrix begins in binary32, which only
finds where to start. The first vectors are fixed, and so are the blocks of rows, whose sums are
added in a fixed order: the number of threads of isologit changes nothing. Another CPU, or another
build of numpy's linear algebra, may change the last bits.

Sign convention: of the components within a thousandth (2^-10) of the largest magnitude, the first
is positive. So two components that are equal by symmetry do not leave the sign to a rounding error.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from isologit.errors import UndeterminedAxesError
from isologit.numerics import kernels
from isologit.numerics.covariance import Apply, Moments, covariance_product, moments_of
from isologit.numerics.formats import Float64s
from isologit.numerics.parallel import for_blocks
from isologit.numerics.products import BLOCK, project_rows
from isologit.numerics.stored import Matrix

_PROBES = 2
_MAX_PASSES = 64
_SEED = 60
_U = 2.0**-53
# The first stage of a large search sees one row in eight.
_SAMPLING = 8
# Words of W below which a pass in binary64 costs next to nothing.
_SMALL = 1 << 22


@dataclass(frozen=True, eq=False)
class PrincipalAxes:
    """Leading principal axes, and how well each is determined.

    Parameters
    ----------
    eigenvalues
        ``[k]``, of the covariance of the finite rows (divided by their number), descending.
    axes
        ``[k, d]``, orthonormal rows, signs as above.
    variance_share
        ``[k]``, each eigenvalue's share of the total variance.
    residuals
        ``[k]``, ‖C·v − λ·v‖ for each axis.
    sine_bounds
        ``[k]``, bound on the sine of the angle to the true axis: residual (and rounding) over the
        gap to the nearest other eigenvalue (Davis and Kahan, 1970). It presumes that the leading
        eigenvalues have been found, which a start without regard to W all but guarantees.
    rows_left_out
        How many rows hold a NaN or an infinity and were left out.
    passes
        How often W, or a sample of its rows, was multiplied.
    """

    eigenvalues: Float64s
    axes: Float64s
    variance_share: Float64s
    residuals: Float64s
    sine_bounds: Float64s
    rows_left_out: int
    passes: int


def principal_axes(matrix: Matrix, count: int = 3, *, tolerance: float = 1e-6) -> PrincipalAxes:
    """Return the leading principal axes of the rows of W.

    Rows with a NaN or an infinity are left out and counted.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    count
        k, how many axes.
    tolerance
        The largest sine of the angle to the true axis that is accepted.

    Returns
    -------
    PrincipalAxes
        Each axis within its ``sine_bounds`` of the true one, at most the tolerance.

    Raises
    ------
    UndeterminedAxesError
        There are fewer than ``count`` dimensions, an axis has no variance, or its eigenvalue is
        too close to another one for the tolerance.

    Notes
    -----
    A pass costs 32·V·d floating-point operations; ten to fifteen are usual for a large matrix (four
    of them over an eighth of the rows), more where an axis's eigenvalue is close to the next one.
    """
    shape = f"a [{matrix.n_tokens}, {matrix.width}] {matrix.format.name} matrix"
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if count > matrix.width:
        raise _undetermined(f"{count} principal axes of {shape}", "there are only d dimensions")
    moments = moments_of(matrix)
    if not moments.variance > 0:
        raise _undetermined(
            f"the principal axes of {shape}",
            f"its {len(moments.rows)} finite rows have no variance",
        )
    ritz = _search(matrix, moments, count, tolerance)
    for n in range(count):
        if ritz.values[n] <= ritz.noise:
            raise _undetermined(f"axis {n + 1} of {shape}", f"only {n} axes have any variance")
        if not ritz.sine_bounds[n] <= tolerance:
            near = ", ".join(f"{value:.6g}" for value in ritz.values[max(n - 1, 0) : n + 2])
            raise _undetermined(
                f"axis {n + 1} of {shape}",
                f"its eigenvalue is one of {near}, and after {ritz.passes} passes the sine of its "
                f"error is bounded by {ritz.sine_bounds[n]:.1g} (expected at most {tolerance:.1g})",
            )
    axes = ritz.vectors[:count]
    magnitudes = np.abs(axes)
    leading = np.argmax(magnitudes >= (1 - 2.0**-10) * magnitudes.max(axis=1)[:, None], axis=1)
    signs = np.where(axes[np.arange(count), leading] < 0, -1.0, 1.0)
    return PrincipalAxes(
        eigenvalues=ritz.values[:count],
        axes=np.ascontiguousarray(axes * signs[:, None]),
        variance_share=ritz.values[:count] / moments.variance,
        residuals=ritz.residuals[:count],
        sine_bounds=ritz.sine_bounds[:count],
        rows_left_out=matrix.n_tokens - len(moments.rows),
        passes=ritz.passes,
    )


def direction(
    axes: PrincipalAxes,
    lat_deg: float,
    lon_deg: float,
    *,
    north: int = 2,
    meridian: int = 1,
    equinox: int = 3,
) -> Float64s:
    """Return the unit vector at a latitude and a longitude.

    x = cos(lat)·cos(lon) along the meridian axis, y = cos(lat)·sin(lon) along the equinox axis,
    z = sin(lat) along the north axis.

    Parameters
    ----------
    axes
        At least as many as the largest number asked for.
    lat_deg, lon_deg
        In degrees.
    north, meridian, equinox
        Numbers of principal axes, from 1; a negative number flips the axis.

    Returns
    -------
    Float64s
        ``[d]``.

    Raises
    ------
    ValueError
        A number is 0, beyond the axes computed, or given twice.
    """
    frame = _frame(axes, north, meridian, equinox)
    lat, lon = np.radians(lat_deg), np.radians(lon_deg)
    weights = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    vector = weights @ frame
    return np.asarray(vector / np.linalg.norm(vector))


def coordinates(
    matrix: Matrix, axes: PrincipalAxes, north: int = 2, meridian: int = 1, equinox: int = 3
) -> tuple[Float64s, Float64s, Float64s]:
    """Return each token's latitude, longitude and radius, from its row as it is, not centred.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    axes
        At least as many as the largest number asked for.
    north, meridian, equinox
        Numbers of principal axes, from 1; a negative number flips the axis.

    Returns
    -------
    lat_deg, lon_deg, radius
        ``[V]`` each, in degrees: asin(z/r) in [−90, 90], atan2(y, x) in [−180, 180], and the norm
        of the projection on the three axes. A row without a projection, and a non-finite row,
        have neither latitude nor longitude: NaN.

    Raises
    ------
    ValueError
        A number is 0, beyond the axes computed, or given twice.
    """
    basis = np.zeros((BLOCK, matrix.width))
    basis[:3] = _frame(axes, north, meridian, equinox)
    projections = np.empty((matrix.n_tokens, BLOCK))
    words = kernels.typed(matrix.words, matrix.format)
    for_blocks(
        lambda start, stop: project_rows(words, start, stop, basis, projections),
        matrix.n_tokens,
        matrix.width * matrix.format.itemsize,
    )
    x, y, z = projections[:, 0], projections[:, 1], projections[:, 2]
    with np.errstate(invalid="ignore"):
        in_plane = np.hypot(x, y)
        radius = np.hypot(in_plane, z)
        # asin(z / radius), without its loss of digits near the poles.
        lat_deg = np.degrees(np.arctan2(z, in_plane))
        lon_deg = np.degrees(np.arctan2(y, x))
    nowhere = ~(np.isfinite(radius) & (radius > 0))
    lat_deg[nowhere] = np.nan
    lon_deg[nowhere] = np.nan
    return lat_deg, lon_deg, radius


def _frame(axes: PrincipalAxes, north: int, meridian: int, equinox: int) -> Float64s:
    """Return the meridian, equinox and north axes, ``[3, d]``."""
    numbers = (meridian, equinox, north)
    computed = len(axes.axes)
    if any(not 1 <= abs(number) <= computed for number in numbers):
        raise ValueError(
            f"north {north}, meridian {meridian}, equinox {equinox}: expected numbers of principal "
            f"axes from 1 to {computed}, negative to flip"
        )
    if len({abs(number) for number in numbers}) < 3:
        raise ValueError(
            f"north {north}, meridian {meridian}, equinox {equinox}: expected three different axes"
        )
    return np.array([np.sign(number) * axes.axes[abs(number) - 1] for number in numbers])


def _undetermined(what: str, why: str) -> UndeterminedAxesError:
    return UndeterminedAxesError(
        f"not determined: {what}; {why}. Name the direction by token ids or a vector instead"
    )


@dataclass(frozen=True, eq=False)
class _Ritz:
    """Approximate eigenpairs, by descending value, and what their residuals say of the error."""

    values: Float64s
    vectors: Float64s
    residuals: Float64s
    sine_bounds: Float64s
    noise: float
    passes: int


def _search(matrix: Matrix, moments: Moments, count: int, tolerance: float) -> _Ritz:
    """Find the leading eigenpairs of the covariance, each stage starting where the last ended.

    A few cheap passes over some rows, then binary32 over all rows to about its own noise, then
    binary64, which alone decides: what came before only saves passes.
    """
    rows = moments.rows
    # Eight vectors a pass, so that the axes asked for converge at the rate of the ninth eigenvalue
    # rather than the fourth; at least one more than asked for, so that the last eigenvalue and the
    # next cannot hide each other; and room for probes, which know nothing of what a sample of the
    # rows may have missed.
    block = min(matrix.width, -(-(count + 1 + _PROBES) // BLOCK) * BLOCK)
    fixed = _start(block, matrix.width)
    vectors = fixed
    # The early stages do not know their rounding errors (over many rows these average out far below
    # any bound), and need not: they stop where it seems good enough, or after these many passes.
    stages: list[tuple[npt.NDArray[np.int64], type[np.floating[Any]], float, int]] = []
    if len(rows) * matrix.width > _SMALL:
        stages += [(rows[::_SAMPLING].copy(), np.float32, 0.0, 4), (rows, np.float32, 0.0, 16)]
    # A row's length times its projection on a vector is what is summed; the factor covers sums
    # over d and V, whose rounding errors add up like a random walk, with room.
    stages += [(rows, np.float64, 32 * _U * moments.length, _MAX_PASSES)]
    passes = 0
    for chosen, precision, noise, limit in stages:
        apply = covariance_product(matrix, chosen, moments, precision)
        ritz = _leading(apply, vectors, count, noise, tolerance, limit)
        found = np.concatenate([ritz.vectors[: block - _PROBES], fixed[:_PROBES]])
        vectors = _orthonormal(found, np.empty((0, matrix.width)), 0.0)
        passes += ritz.passes
    square = moments.unit**2
    return replace(
        ritz,
        values=ritz.values * square,
        residuals=ritz.residuals * square,
        noise=ritz.noise * square,
        passes=passes,
    )


def _leading(
    apply: Apply, start: Float64s, count: int, noise: float, tolerance: float, limit: int
) -> _Ritz:
    """Find the leading eigenpairs of a covariance, given by its products with vectors.

    Parameters
    ----------
    apply
        Maps ``[n, d]`` vectors to their products.
    start
        ``[b, d]``, orthonormal, b > count where d allows it.
    count
        How many pairs must meet the tolerance.
    noise
        Rounding error of a product, as a share of the root of the largest eigenvalue.
    tolerance
        On the sine bounds.
    limit
        On the passes.
    """
    basis = np.empty((0, start.shape[1]))
    products = np.empty((0, start.shape[1]))
    fresh = start
    for passes in range(1, limit + 1):
        basis = np.concatenate([basis, fresh])
        products = np.concatenate([products, apply(fresh)])
        ritz = _rayleigh_ritz(basis, products, len(start), noise, passes)
        fresh = _orthonormal(products[-len(fresh) :], basis, ritz.noise)
        if len(fresh) == 0:
            break
        open_ = np.flatnonzero(~(ritz.sine_bounds[:count] <= tolerance))
        # Residuals fall no further than the noise: what is not told apart now never will be.
        final = ritz.residuals <= ritz.noise / 4
        if len(open_) == 0 or any(final[max(n - 1, 0) : n + 2].all() for n in open_):
            break
    return ritz


def _rayleigh_ritz(
    basis: Float64s, products: Float64s, block: int, noise: float, passes: int
) -> _Ritz:
    projected = basis @ products.T
    values, weights = np.linalg.eigh((projected + projected.T) / 2)
    leading = slice(None, -2 * block - 1, -1)
    values, weights = values[leading], np.ascontiguousarray(weights[:, leading].T)
    vectors = weights @ basis
    residuals = np.linalg.norm(weights @ products - values[:, None] * vectors, axis=1)
    noise *= float(np.sqrt(max(values[0], 0.0)))
    errors = residuals + noise
    gaps = np.full(len(values), np.inf)
    if len(values) > 1:
        gaps[1:] = (values - errors)[:-1] - values[1:]
        # Any later Ritz value may still grow into the next eigenvalue.
        below = np.maximum.accumulate((values + errors)[::-1])[::-1]
        gaps[:-1] = np.minimum(gaps[:-1], values[:-1] - below[1:])
    with np.errstate(divide="ignore"):
        sine_bounds = np.where(gaps > 0, errors / np.maximum(gaps, 0.0), np.inf)
    return _Ritz(values, vectors, residuals, sine_bounds, noise, passes)


def _start(block: int, width: int) -> Float64s:
    """Return fixed orthonormal vectors, ``[block, d]``, unrelated to any matrix."""
    if block == width:
        return np.eye(width)
    # Raw output of a bit generator: unlike numpy's normal deviates, it never changes. More than
    # needed, as signs in few dimensions may be linearly dependent.
    bits = np.random.PCG64(_SEED).random_raw(4 * block * width)
    signs = np.where(bits >> np.uint64(63), 1.0, -1.0).reshape(4 * block, width)
    return _orthonormal(signs, np.empty((0, width)), 0.25)[:block]


def _orthonormal(vectors: Float64s, basis: Float64s, noise: float) -> Float64s:
    """Return an orthonormal basis of what the vectors add to the span of a basis, above a noise."""
    fresh = np.empty((0, basis.shape[1]))
    # Twice is enough (Giraud, Langou, Rozložník and van den Eshof, 2005): here for the block, and
    # below for each vector once its length is known.
    vectors = vectors - (vectors @ basis.T) @ basis
    for vector in vectors[: basis.shape[1] - len(basis)]:
        rest = vector - (fresh @ vector) @ fresh
        size = float(np.linalg.norm(rest))
        if size <= noise:
            continue
        rest /= size
        for known in (basis, fresh):
            rest -= (known @ rest) @ known
        size = float(np.linalg.norm(rest))
        # What is left of a unit vector that was nearly all rounding error is no new direction.
        if size > 0.5:
            fresh = np.vstack([fresh, rest / size])
    return fresh
