"""Products of a few long vectors with each other, on the thread that asks for them.

numpy hands products of this size to its linear algebra's own threads, which go on spinning for a
while afterwards and take the cores from ours: a pass over W took 1.6 times as long after one.
Compiled by numba; reassociation is allowed, so the order of addition is the compiler's.
"""

import numpy as np

from isologit.numerics.compilation import keep_machine_code, kernel

keep_machine_code()

_FASTMATH = {"reassoc", "contract"}
# Columns that stay in the first-level cache while vectors are combined.
_COLUMNS = 512


@kernel(fastmath=_FASTMATH)
def inner_products(left, right):  # type: ignore[no-untyped-def]
    """Return ``left · rightᵀ``, ``[n, m]``, of vectors ``[n, d]`` and ``[m, d]``."""
    result = np.empty((left.shape[0], right.shape[0]))
    for i in range(left.shape[0]):
        a = left[i]
        for j in range(right.shape[0]):
            b = right[j]
            total = 0.0
            for k in range(a.shape[0]):
                total += a[k] * b[k]
            result[i, j] = total
    return result


@kernel(fastmath=_FASTMATH)
def combinations(weights, vectors):  # type: ignore[no-untyped-def]
    """Return ``weights · vectors``, ``[n, d]``, of weights ``[n, m]`` and vectors ``[m, d]``."""
    result = np.zeros((weights.shape[0], vectors.shape[1]))
    for start in range(0, vectors.shape[1], _COLUMNS):
        stop = min(start + _COLUMNS, vectors.shape[1])
        for j in range(vectors.shape[0]):
            vector = vectors[j, start:stop]
            for i in range(weights.shape[0]):
                weight = weights[i, j]
                into = result[i, start:stop]
                for k in range(into.shape[0]):
                    into[k] += weight * vector[k]
    return result
