"""Casts beside torch's ``.to(dtype)``, on every number of 16 bits and on binary32 ties.

torch 2.13: e4m3fn saturates, infinities too; e5m2 overflows to infinity.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from isologit.numerics.cast_formats import Rules
from isologit.numerics.casts import cast
from isologit.numerics.formats import BF16, F16, F32, Format
from isologit.numerics.stored import Matrix
from numerics.cast_values import hard_singles

torch = pytest.importorskip("torch")

DTYPES = {
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "f8_e4m3fn": torch.float8_e4m3fn,
    "f8_e5m2": torch.float8_e5m2,
}


def sources() -> Iterator[Any]:
    """Yield words of a format: all of 16 bits; binary32 ties, specials and any patterns."""
    every = np.arange(65536, dtype=np.uint16)
    yield pytest.param(every, BF16, id="bf16")
    yield pytest.param(every, F16, id="f16")
    special = np.array([np.inf, -np.inf, np.nan, -np.nan], dtype=np.float32)
    values = np.concatenate([*map(hard_singles, DTYPES), special])
    yield pytest.param(values.view(np.uint32), F32, id="f32")
    drawn = np.random.default_rng(2).integers(0, 1 << 32, 100_000, dtype=np.uint32)
    yield pytest.param(drawn, F32, id="any f32")


def by_torch(words: npt.NDArray[Any], format_: Format, to: str) -> npt.NDArray[Any]:
    """Return the words of torch's cast."""
    signed = torch.from_numpy(words.view(f"i{words.itemsize}"))
    cast_to = signed.view(getattr(torch, format_.torch)).to(DTYPES[to])
    narrow = torch.uint8 if cast_to.element_size() == 1 else torch.int16
    found: npt.NDArray[Any] = cast_to.view(narrow).numpy()
    return found.view(f"u{found.itemsize}")


@pytest.mark.parametrize("to", DTYPES)
@pytest.mark.parametrize(("words", "format_"), list(sources()))
def test_under_the_saturating_rule_a_cast_is_torchs(
    words: npt.NDArray[Any], format_: Format, to: str
) -> None:
    made = cast(Matrix(words[None], format_), to, Rules(overflow="saturate"))
    theirs = by_torch(words, format_, to)
    if to.startswith("f8"):
        np.testing.assert_array_equal(made.matrix.words[0], theirs)
        return
    # A NaN is the one quiet NaN here; which one torch makes depends on the processor.
    ours = made.matrix.words[0]
    exponent = 0x7C00 if to == "f16" else 0x7F80
    nan = (theirs & 0x7FFF) > exponent
    np.testing.assert_array_equal(ours[~nan], theirs[~nan])
    assert ((ours[nan] & 0x7FFF) > exponent).all()


def test_per_row_scales_are_the_largest_magnitude_by_448() -> None:
    rng = np.random.default_rng(3)
    values = torch.from_numpy(rng.standard_normal((50, 64)).astype(np.float32))
    matrix = Matrix(values.numpy().view(np.uint32), F32)
    made = cast(matrix, "f8_e4m3fn", Rules(scaling="row"))
    scale = values.abs().amax(1, keepdim=True) / 448
    theirs = (values.double() / scale).to(torch.float32).to(torch.float8_e4m3fn)
    # torch rounds the quotient to float32 on the way, so a few words may differ by one.
    apart = made.matrix.words.astype(int) - theirs.view(torch.uint8).numpy().astype(int)
    assert abs(apart).max() <= 1
    assert (apart != 0).mean() < 1e-3
    np.testing.assert_array_equal(made.matrix.coding.scale, scale.numpy()[:, 0])  # type: ignore[union-attr]
