"""Leading eigenpairs of the covariance of a matrix's rows.

They are found by block Lanczos with full reorthogonalisation (Golub and Underwood, 1977) and
Rayleigh–Ritz on everything seen so far: each pass over W multiplies eight vectors by the
covariance, and no [d, d] matrix and no copy of W is made.

What is returned was computed in binary64; a search in a large matrix begins in binary32, which only
finds where to start; as a rule a single pass in binary64 then confirms what it found. The first
vectors are fixed, and so are the blocks of rows, whose sums are added in a fixed order: the number
of threads of isologit changes nothing. Another CPU, or another build of numpy's linear algebra, may
change the last bits.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from isologit.numerics.bases import combinations, inner_products
from isologit.numerics.covariance import Apply, Moments, covariance_product
from isologit.numerics.formats import Float64s
from isologit.numerics.products import BLOCK
from isologit.numerics.stored import Matrix

_PROBES = 2
_MAX_PASSES = 64
# In binary64, after a search in binary32.
_LAST_PASSES = 32
_SEED = 60
_U = 2.0**-53
_U_SINGLE = 2.0**-24
# The first stage of a large search sees one row in eight, so many times.
_SAMPLING = 8
_SAMPLE_PASSES = 4
# Rows of a length beyond this, or its inverse, might leave the range of binary32 on the way.
_TINY = 2.0**-60
# How many blocks of the vectors that a search in binary32 found the next stage starts with, where
# it takes corrections.
_THICK = 3
# Lanczos needs no eigenvectors to go on: they are computed after each of the first passes, later
# after every fourth.
_OFTEN, _SELDOM = 12, 4
# For the vectors of a search in binary32 and their products.
_BASIS_BYTES = 40 << 20
# Words of W below which a pass in binary64 costs next to nothing.
_SMALL = 1 << 22


@dataclass(frozen=True, eq=False)
class Ritz:
    """Approximate eigenpairs, by descending value, and what their residuals say of the error.

    Parameters
    ----------
    values, vectors
        ``[n]`` and ``[n, d]``, orthonormal.
    residuals
        ``[n]``, ‖C·v − λ·v‖ as computed.
    sine_bounds
        ``[n]``, residual and noise over the gap to the nearest other value (Davis and Kahan, 1970);
        infinite where there is no gap.
    noise
        What rounding may add to a residual.
    passes
        How often a matrix, or a sample of its rows, was multiplied.
    differences
        ``[n, d]``, C·v − λ·v for each vector.
    """

    values: Float64s
    vectors: Float64s
    residuals: Float64s
    sine_bounds: Float64s
    noise: float
    passes: int
    differences: Float64s


@dataclass(frozen=True, eq=False)
class _Stage:
    """One part of the search: over which rows, in which precision, and when it ends.

    `noise` is the rounding error of a product that the bounds count, and `floor` where residuals
    fall no further, both as shares of the root of the largest eigenvalue.
    """

    rows: npt.NDArray[np.int64]
    precision: type[np.floating[Any]]
    noise: float
    floor: float
    limit: int


def leading_eigenpairs(matrix: Matrix, moments: Moments, count: int, tolerance: float) -> Ritz:
    """Find the leading eigenpairs of the covariance, each stage starting where the last ended.

    A few cheap passes over some rows, then binary32 over all rows, as far as it carries, then
    binary64, which alone decides: what came before only saves passes.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    moments
        Those of its finite rows, of some variance.
    count
        How many pairs are asked for, at most d.
    tolerance
        On the sine of the angle to the true vectors.

    Returns
    -------
    Ritz
        At least `count` pairs. Where eigenvalues are too close together not all ``sine_bounds``
        meet the tolerance: the caller decides.
    """
    # Eight vectors a pass, so that the axes asked for converge at the rate of the ninth eigenvalue
    # rather than the fourth; at least one more than asked for, so that the last eigenvalue and the
    # next cannot hide each other; and room for probes, which know nothing of what a sample of the
    # rows may have missed.
    block = min(matrix.width, -(-(count + 1 + _PROBES) // BLOCK) * BLOCK)
    fixed = _start(block, matrix.width)
    vectors = fixed
    stages = _stages(matrix, moments, block)
    expand: _Expand = _krylov
    passes = 0
    for stage in stages:
        apply = covariance_product(matrix, stage.rows, moments, stage.precision)
        ritz, basis, projected = _leading(apply, vectors, block, count, stage, tolerance, expand)
        passes += ritz.passes
        if stage is stages[-1]:
            break
        n_found = block - _PROBES
        if stage is stages[-2] and not (ritz.sine_bounds[:count] <= tolerance).all():
            # Eigenvalues are close together: with more of them known, and with corrections
            # (which need their residuals), binary64 need not find them again.
            n_found = _THICK * block - _PROBES
            expand = _corrections(basis, projected, moments.variance / moments.unit**2, block)
        found = np.concatenate([ritz.vectors[:n_found], fixed[:_PROBES]])
        vectors = _orthonormal(found, np.empty((0, matrix.width)), 0.0)
    square = moments.unit**2
    return replace(
        ritz,
        values=ritz.values * square,
        residuals=ritz.residuals * square,
        noise=ritz.noise * square,
        passes=passes,
    )


def _stages(matrix: Matrix, moments: Moments, block: int) -> list[_Stage]:
    rows = moments.rows
    # A row's length times its projection on a vector is what is summed; the factor covers sums
    # over d and V, whose rounding errors add up like a random walk, with room.
    noise = 32 * _U * moments.length
    stages = [_Stage(rows, np.float64, noise, noise, _MAX_PASSES)]
    in_range = moments.unit >= _TINY and moments.unit * moments.length <= 1 / _TINY
    if len(rows) * matrix.width > _SMALL and in_range:
        # These stages count no rounding errors, and need not. Those of the rows are independent of
        # each other, so their mean over the rows is the smaller the more there are.
        floor = 32 * _U_SINGLE * moments.length / np.sqrt(len(rows))
        stages[0] = replace(stages[0], limit=_LAST_PASSES)
        limit = max(8, min(_MAX_PASSES, _BASIS_BYTES // (16 * block * matrix.width)))
        some = rows[::_SAMPLING].copy()
        stages.insert(0, _Stage(some, np.float32, 0.0, floor, _SAMPLE_PASSES))
        stages.insert(1, _Stage(rows, np.float32, 0.0, floor, limit))
    return stages


_Expand = Callable[[Ritz, Float64s], Float64s]


def _krylov(_ritz: Ritz, last_products: Float64s) -> Float64s:
    """Say where to look next: where the covariance maps the last vectors (block Lanczos)."""
    return last_products


def _corrections(basis: Float64s, projected: Float64s, total: float, n: int) -> _Expand:
    """Return a function that says where to look next by what an earlier search knows.

    It solves (C − λ)·x = λ·v − C·v for the first n pairs (λ, v), with the earlier search's
    covariance within its basis and a multiple of the identity beyond (Davidson, 1975). So an error
    that rounding left is removed in a few passes, where Lanczos would have to find all that again.
    """
    known, weights = np.linalg.eigh(projected)
    vectors = combinations(np.ascontiguousarray(weights.T), basis)
    beyond = max(total - known.sum(), 0.0) / max(basis.shape[1] - len(basis), 1)

    def corrections(ritz: Ritz, _last_products: Float64s) -> Float64s:
        values, differences = ritz.values[:n], ritz.differences[:n]
        # An eigenvalue's own direction is in the basis already; it must only not be divided by 0.
        smallest = 1e-6 * ritz.values[0]
        along = inner_products(differences, vectors)
        inside = along / np.maximum(np.abs(values[:, None] - known), smallest)
        outside = np.maximum(np.abs(values - beyond), smallest)
        found = combinations(inside - along / outside[:, None], vectors)
        found += differences / outside[:, None]
        return np.asarray(found / np.linalg.norm(found, axis=1)[:, None])

    return corrections


def _leading(
    apply: Apply,
    start: Float64s,
    block: int,
    count: int,
    stage: _Stage,
    tolerance: float,
    expand: _Expand,
) -> tuple[Ritz, Float64s, Float64s]:
    """Find the leading eigenpairs of a covariance, given by its products with vectors.

    Parameters
    ----------
    apply
        Maps ``[n, d]`` vectors to their products.
    start
        ``[m, d]``, orthonormal, m > count where d allows it.
    block
        How many vectors to multiply at a time later.
    count
        How many pairs must meet the tolerance.
    stage
        Its noise, its floor, and its limit on the passes.
    tolerance
        On the sine bounds.
    expand
        Says where to look next.

    Returns
    -------
    ritz, basis, projected
        The pairs, the vectors that were multiplied, ``[n, d]``, and the covariance between them.
    """
    basis, products = start, apply(start)
    projected = inner_products(basis, products)
    projected = (projected + projected.T) / 2
    passes = -(-len(start) // block)
    ritz = _rayleigh_ritz(basis, products, projected, block, stage.noise, passes)
    latest = products
    while True:
        fresh = _orthonormal(expand(ritz, latest), basis, ritz.noise)
        if len(fresh) == 0 or passes >= stage.limit or _is_over(ritz, count, stage, tolerance):
            break
        latest = apply(fresh)
        passes += -(-len(fresh) // block)
        # Of the two halves of a symmetric matrix, which rounding errors tell apart, the mean.
        across = (inner_products(basis, latest) + inner_products(products, fresh)) / 2
        own = inner_products(fresh, latest)
        projected = np.block([[projected, across], [across.T, (own + own.T) / 2]])
        basis = np.concatenate([basis, fresh])
        products = np.concatenate([products, latest])
        if expand is not _krylov or passes <= _OFTEN or passes % _SELDOM == 0:
            ritz = _rayleigh_ritz(basis, products, projected, block, stage.noise, passes)
    if ritz.passes < passes:
        ritz = _rayleigh_ritz(basis, products, projected, block, stage.noise, passes)
    return ritz, basis, projected


def _is_over(ritz: Ritz, count: int, stage: _Stage, tolerance: float) -> bool:
    """Say whether the axes are found, or one of them never will be."""
    open_ = np.flatnonzero(~(ritz.sine_bounds[:count] <= tolerance))
    # What is not told apart when residuals fall no further never will be.
    floor = stage.floor * np.sqrt(max(ritz.values[0], 0.0))
    final = ritz.residuals <= floor / 4
    return len(open_) == 0 or any(bool(final[max(n - 1, 0) : n + 2].all()) for n in open_)


def _rayleigh_ritz(
    basis: Float64s,
    products: Float64s,
    projected: Float64s,
    block: int,
    noise: float,
    passes: int,
) -> Ritz:
    values, weights = np.linalg.eigh(projected)
    leading = slice(None, -_THICK * block - 1, -1)
    values, weights = values[leading], np.ascontiguousarray(weights[:, leading].T)
    vectors = combinations(weights, basis)
    differences = combinations(weights, products) - values[:, None] * vectors
    residuals = np.linalg.norm(differences, axis=1)
    noise *= float(np.sqrt(max(values[0], 0.0)))
    errors = residuals + noise
    gaps = np.full(len(values), np.inf)
    if len(values) > 1:
        gaps[1:] = (values - errors)[:-1] - values[1:]
        # Any later Ritz value may still grow into the next eigenvalue.
        above = (values + errors)[: 2 * block]
        below = np.full(len(values), -np.inf)
        below[: len(above)] = np.maximum.accumulate(above[::-1])[::-1]
        gaps[:-1] = np.minimum(gaps[:-1], values[:-1] - below[1:])
    with np.errstate(divide="ignore"):
        sine_bounds = np.where(gaps > 0, errors / np.maximum(gaps, 0.0), np.inf)
    return Ritz(values, vectors, residuals, sine_bounds, noise, passes, differences)


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
    for vector in _without(vectors, basis)[: basis.shape[1] - len(basis)]:
        rest = _without(vector[None], fresh)
        size = float(np.linalg.norm(rest))
        if size <= noise:
            continue
        rest = _without(_without(rest / size, basis), fresh)
        size = float(np.linalg.norm(rest))
        # What is left of a unit vector that was nearly all rounding error is no new direction.
        if size > 0.5:
            fresh = np.concatenate([fresh, rest / size])
    return fresh


def _without(vectors: Float64s, basis: Float64s) -> Float64s:
    """Return what vectors have outside the span of an orthonormal basis."""
    return np.asarray(vectors - combinations(inner_products(vectors, basis), basis))
