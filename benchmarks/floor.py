"""The memory floor: one pass that only XORs the 64-bit words of W, on as many threads as isologit.

Nothing that looks at every word of W once can take less time than about this.
"""

import numba
import numpy as np

from isologit.numerics.parallel import for_blocks
from isologit.numerics.stored import Matrix


@numba.njit(nogil=True)
def _xor(words, start, stop):  # type: ignore[no-untyped-def]
    total = np.uint64(0)
    for n in range(start, stop):
        for k in range(words.shape[1]):
            total ^= words[n, k]
    return total


def memory_pass(matrix: Matrix) -> int:
    """Read every word of W and return the XOR of all; rows must be whole numbers of 8 bytes."""
    words = matrix.words.view(np.uint64)
    parts: list[int] = []
    for_blocks(
        lambda start, stop: parts.append(int(_xor(words, start, stop))),
        matrix.n_tokens,
        matrix.width * matrix.format.itemsize,
    )
    return int(np.bitwise_xor.reduce(np.array(parts, dtype=np.uint64)))
