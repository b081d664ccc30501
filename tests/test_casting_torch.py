"""`cast` with observed arithmetic: the logits alone are torch's."""

from pathlib import Path

import pytest

from checkpoints import gaussian, write_llama
from isologit.casting import Sample, casts
from isologit.numerics.arithmetic import parse_arithmetic
from isologit.subject import Settings

pytest.importorskip("torch")


def test_observed_logits_are_called_observed_and_the_rest_is_exact(tmp_path: Path) -> None:
    model = str(write_llama(tmp_path / "m", gaussian(300, 64), "f32"))
    settings = Settings(arithmetic=parse_arithmetic("torch:cpu"))
    to, sample = ["bf16", "q8_0"], Sample(n=2)
    observed = casts(model, settings, to=to, sample=sample)
    assert (observed.claims["logits"], observed.claims["distinct"]) == ("observed", "exact")
    exact = casts(model, to=to, sample=sample)
    for name in to:
        assert observed.formats[name].flips == exact.formats[name].flips
        assert observed.formats[name].distinct == exact.formats[name].distinct
