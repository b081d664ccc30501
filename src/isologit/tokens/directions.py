"""Directions of rows beside a reference centre: as they are, and without what all rows share.

Rows of a head share a mean and a first principal component, and two rows that have nothing else in
common still point the same way. The second cosine is between what is left without both (Land and
Bartolo, 2024, take out one or the other).
"""

from dataclasses import dataclass, replace

import numpy as np

from isologit.numerics import kernels
from isologit.numerics.bases import combinations, inner_products
from isologit.numerics.covariance import Moments, covariance_product, moments_of
from isologit.numerics.formats import Float64s
from isologit.numerics.parallel import for_blocks
from isologit.numerics.products import BLOCK, packed, project_rows
from isologit.numerics.stored import Matrix

# The component is that of so many rows, evenly spaced: enough to find what stands out, which is
# all that has to be taken out.
_SAMPLE = 4096
# Eight vectors at a time: what does not stand out from the ninth axis by then is no component that
# rows share.
_PASSES = 6
_SEED = 2405


@dataclass(frozen=True, eq=False)
class Directions:
    """What each row's direction has in common with a reference centre, ``[V]`` each.

    Parameters
    ----------
    cosine
        cos(w_i, c). NaN for zero rows and where c is zero.
    centred_cosine
        The same between w_i − m and c − m, m the mean of all finite rows, with their component
        along the first principal axis taken out. NaN where nothing is left.
    """

    cosine: Float64s
    centred_cosine: Float64s


def directions(matrix: Matrix, squares: Float64s, centre: Float64s) -> Directions:
    """Return the cosines of all rows with a centre ``[d]``, in binary64.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    squares
        ``[V]``, the squared norms of its rows, in binary64.
    centre
        The mean of the reference set. From the mean of all rows it has a direction even where it
        lies at the origin.

    Returns
    -------
    Directions
        NaN for rows with an infinity or a NaN. The same for any number of threads of isologit.

    Notes
    -----
    Two passes over W and six over a sample of its rows.
    """
    moments = moments_of(matrix)
    axis = _first_axis(matrix, moments)
    away = centre - moments.mean
    away = away - (away @ axis) * axis
    basis = np.zeros((BLOCK, matrix.width))
    basis[:4] = centre, axis, away, moments.mean
    with np.errstate(invalid="ignore"):
        along = _projections(matrix, basis)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = along[:, 0] / (np.sqrt(squares) * np.linalg.norm(centre))
        # ‖(w − m) − (v·(w − m))·v‖², from the products of the pass.
        rest = squares - 2 * along[:, 3] + moments.mean @ moments.mean
        rest -= (along[:, 1] - axis @ moments.mean) ** 2
        # What cancels to less than this share is rounding error.
        rest = np.where(rest > 1e-13 * squares, rest, np.nan)
        centred = (along[:, 2] - away @ moments.mean) / (np.sqrt(rest) * np.linalg.norm(away))
    return Directions(_bounded(cosine), _bounded(centred))


def _bounded(cosines: Float64s) -> Float64s:
    return np.where(np.isfinite(cosines), np.clip(cosines, -1.0, 1.0), np.nan)


def _projections(matrix: Matrix, basis: Float64s) -> Float64s:
    """Return the products of all rows with eight vectors, ``[V, 8]``."""
    ordered = packed(basis, matrix.format)
    projections = np.empty((matrix.n_tokens, BLOCK))

    def fill(start: int, stop: int) -> None:
        words = kernels.typed_block(matrix, start, stop)
        project_rows(words, np.arange(stop - start), ordered, projections[start:stop])

    for_blocks(fill, matrix.n_tokens, matrix.row_bytes)
    return projections


def _first_axis(matrix: Matrix, moments: Moments) -> Float64s:
    """Return about the first principal axis, by subspace iteration; zeros where rows are equal."""
    if not moments.variance > 0:
        return np.zeros(matrix.width)
    step = max(-(-len(moments.rows) // _SAMPLE), 1)
    rows = np.ascontiguousarray(moments.rows[::step])
    apply = covariance_product(matrix, rows, replace(moments, rows=rows), np.float64)
    # The raw stream of PCG64 is the same in every version of numpy.
    bits = np.random.PCG64(_SEED).random_raw(BLOCK * matrix.width)
    signs = np.where(bits >> np.uint64(63), 1.0, -1.0).reshape(BLOCK, matrix.width)
    vectors = _orthonormal(signs)
    for _ in range(_PASSES):
        product = apply(vectors)
        values, weights = np.linalg.eigh(inner_products(vectors, product))
        found = combinations(np.ascontiguousarray(weights.T[::-1]), product)
        if not values[-1] > 0:
            return np.zeros(matrix.width)
        vectors = _orthonormal(found)
    return np.asarray(vectors[0])


def _orthonormal(vectors: Float64s) -> Float64s:
    """Orthonormalise vectors in their order (Gram and Schmidt, twice); zeros for what adds none."""
    result = np.zeros_like(vectors)
    for n, vector in enumerate(vectors):
        size = np.linalg.norm(vector)
        for _ in range(2):
            along = inner_products(vector[None], result[:n]) if n else np.zeros((1, 0))
            vector = vector - (combinations(along, result[:n])[0] if n else 0.0)
        rest = np.linalg.norm(vector)
        if rest > 1e-10 * size:
            result[n] = vector / rest
    return result
