"""torch's logits beside exact ones: where they differ, the oracle says that torch's is wrong."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from isologit.errors import FloatingPointModeError
from isologit.numerics import exact
from isologit.numerics.formats import BF16, F32, Format, encode
from isologit.numerics.scan import scan_rows
from isologit.numerics.stored import Matrix, Vector
from oracle.fraction_oracle import as_float, decode, dot, nearest

torch = pytest.importorskip("torch")

N_TOKENS, WIDTH = 20_000, 256


@pytest.mark.parametrize(("to", "n_states"), [(BF16, 24), (F32, 1)], ids=["bf16", "f32"])
def test_where_torch_differs_its_logit_is_not_correctly_rounded(
    to: Format, n_states: int, record_property: Callable[[str, object], None]
) -> None:
    """Both get the same bf16 numbers, iid Gaussian; torch multiplies in the logit format."""
    rng = np.random.default_rng(0)
    W = encode(rng.standard_normal((N_TOKENS, WIDTH)) * 0.02, BF16)
    matrix = Matrix(W, BF16)
    n_differing = 0
    for _ in range(n_states):
        h = encode(rng.standard_normal(WIDTH), BF16)
        ours = exact.logits(matrix, Vector(h, BF16), to).values
        theirs = torch_logits(W, h, to)
        differing = np.flatnonzero(ours != theirs)
        n_differing += len(differing)
        state = [decode(int(word), "bf16") for word in h]
        # In float32 most logits differ; some hundreds of them are proof enough.
        for token in differing[:400]:
            real = dot([decode(int(word), "bf16") for word in W[token]], state)
            assert isinstance(real, Fraction)
            error, torch_error = (abs(real - Fraction(x[token])) for x in (ours, theirs))
            assert error <= torch_error  # equal only where a tie went to the odd neighbour
            assert as_float(nearest(real, to.name)) == ours[token] != theirs[token]
    n_logits = n_states * N_TOKENS
    share = n_differing / n_logits
    record_property("share_not_correctly_rounded", share)
    print(f"torch {torch.__version__}, {to.name}: {n_differing} of {n_logits} logits ({share:.4%})")
    assert n_differing > 0


def torch_logits(
    W: npt.NDArray[np.unsignedinteger], h: npt.NDArray[np.unsignedinteger], to: Format
) -> npt.NDArray[np.float64]:
    """Return torch's ``W @ h`` of bf16 words on the CPU, in the logit format's dtype."""
    dtype = getattr(torch, to.torch)
    left, right = (torch.from_numpy(x.view(np.int16)).view(torch.bfloat16) for x in (W, h))
    logits: npt.NDArray[np.float64] = (left.to(dtype) @ right.to(dtype)).double().numpy()
    return logits


def test_a_thread_that_flushes_subnormals_is_refused() -> None:
    matrix = Matrix.of_values([[2.0**-130]], BF16)
    one = Vector.of_values([1.0], BF16)
    if not torch.set_flush_denormal(True):
        raise AssertionError("this processor cannot flush subnormals")
    try:
        with pytest.raises(FloatingPointModeError, match="flushes subnormal numbers"):
            exact.logits(matrix, one, BF16)
        with pytest.raises(FloatingPointModeError, match="flushes subnormal numbers"):
            scan_rows(matrix)
    finally:
        torch.set_flush_denormal(False)
    assert exact.logits(matrix, one, BF16).values[0] == 2.0**-130
    # Nothing of what the refused scan would have found was kept.
    assert scan_rows(matrix).subnormal.all()
