"""The floating-point mode that every proof here assumes, and a check that this thread is in it."""

import numpy as np

from isologit.errors import FloatingPointModeError

# Not literals where they are used, so that nothing folds the sums beforehand: 1, and what is below
# and above half of its last bit.
_PROBES = np.array([1.0, 2.0**-53, 3 * 2.0**-54])
# The smallest normal number of binary32, whose half is subnormal.
_SMALLEST, _HALF = np.array([[2.0**-126], [0.5]], dtype=np.float32)


def require_ieee_mode() -> None:
    """Check that this thread rounds to nearest-even and keeps subnormals, as every proof assumes.

    Some libraries, and `torch.set_flush_denormal`, change the mode of the calling thread, and
    threads that it starts take it over.

    Raises
    ------
    FloatingPointModeError
    """
    one, below, above = _PROBES
    subnormal = np.array([1], dtype=np.uint32).view(np.float32).astype(np.float64)[0]
    # Subnormal operands and subnormal results are flushed by two separate switches.
    if subnormal != 2.0**-149 or (_SMALLEST * _HALF)[0] == 0:
        raise FloatingPointModeError(
            "this thread flushes subnormal numbers to zero, so nothing it computes is exact; "
            "expected IEEE 754 arithmetic. Undo torch.set_flush_denormal(True), or run isologit "
            "in a process of its own"
        )
    if one + below != one or one + above == one or -one - below != -one:
        raise FloatingPointModeError(
            "this thread does not round to nearest, so nothing it computes is exact; expected "
            "IEEE 754's default mode. Run isologit in a process of its own"
        )
