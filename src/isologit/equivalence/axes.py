"""Leading principal axes of a matrix's rows, and spherical coordinates along three of them.

The axes are those of the seed's line: eigenvectors of the covariance of the mean-centred rows,
divided by their number, by descending eigenvalue. `isologit.numerics.eigenpairs` finds the leading
ones; the number of threads of isologit changes nothing.

Sign convention: of the components within a thousandth (2^-10) of the largest magnitude, the first
is positive. So two components that are equal by symmetry do not leave the sign to a rounding error.
"""

from dataclasses import dataclass

import numpy as np

from isologit.errors import UndeterminedAxesError
from isologit.numerics import kernels
from isologit.numerics.covariance import moments_of
from isologit.numerics.eigenpairs import leading_eigenpairs
from isologit.numerics.formats import Float64s
from isologit.numerics.parallel import for_blocks
from isologit.numerics.products import BLOCK, packed, project_rows
from isologit.numerics.stored import Matrix


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
        eigenvalues have been found, which a start without regard to W all but guarantees; and the
        rounding is estimated, with room, as a random walk over many terms: no proof in the sense
        of `isologit.numerics.exact`.
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
    A pass costs 32·V·d floating-point operations; ten to fifteen are usual for a large matrix: four
    over an eighth of the rows, then all but one or two in binary32. More are needed where an axis's
    eigenvalue is close to the next one: about seventy for Gaussian rows of a [151936, 2560] matrix,
    whose eigenvalues are within a thousandth of each other.
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
    ritz = leading_eigenpairs(matrix, moments, count, tolerance)
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
    return on_sphere(*_along(matrix, _frame(axes, north, meridian, equinox)).T)


def projections(matrix: Matrix, axes: PrincipalAxes) -> Float64s:
    """Return each row's components along the three leading axes, ``[V, 3]``; rows not centred.

    A row with an infinity or a NaN has none that are finite.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    axes
        Three or more.
    """
    return _along(matrix, axes.axes[:3])


def on_sphere(x: Float64s, y: Float64s, z: Float64s) -> tuple[Float64s, Float64s, Float64s]:
    """Return latitudes, longitudes and radii of points, ``[n]`` each, in degrees.

    As of `coordinates`, of components along the meridian, the equinox and the north axis.
    """
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


def _along(matrix: Matrix, frame: Float64s) -> Float64s:
    """Return the components ``[V, 3]`` of every row along the directions ``[3, d]``."""
    basis = np.zeros((BLOCK, matrix.width))
    basis[:3] = frame
    basis = packed(basis, matrix.format)
    components = np.empty((matrix.n_tokens, BLOCK))

    def project(start: int, stop: int) -> None:
        words = kernels.typed_block(matrix, start, stop)
        project_rows(words, np.arange(stop - start), basis, components[start:stop])

    for_blocks(project, matrix.n_tokens, matrix.row_bytes)
    return components[:, :3]


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
