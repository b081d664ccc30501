"""What torch computes never contradicts a certificate: products and layers, one row or many."""

import numpy as np
import pytest

from equivalence.test_greedy import certificate, neighbours
from isologit.numerics.formats import BF16, F16, F32, Format, parse_format, round_to

torch = pytest.importorskip("torch")

NATIVE = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}


@pytest.mark.parametrize("format_", [BF16, F16, F32], ids=lambda f: f.name)
def test_torch_never_changes_a_certain_token(format_: Format) -> None:
    rng = np.random.default_rng(4)
    certain = 0
    for spread in (2.0, 1.0, 0.5, 0.2, 0.1, 0.03, 0.01, 0.003) * 3:
        # Enough of either for the library's kernels for vectors and for matrices.
        values, state = neighbours(rng, format_, spread, 320)
        found = certificate(values, state, format_, logit_format=F32)
        rows = torch.from_numpy(values).to(NATIVE[format_.name])
        h = torch.from_numpy(state).to(NATIVE[format_.name])
        many = h.repeat(7, 1)
        computed = [
            rows @ h,
            torch.nn.functional.linear(h, rows),
            torch.nn.functional.linear(many, rows)[3],
            many @ rows.T,
            torch.mv(rows, h),
        ]
        single = [
            rows.float() @ h.float(),
            torch.nn.functional.linear(h.float(), rows.float()),
            torch.nn.functional.linear(many.float(), rows.float())[3],
        ]
        for name, here in found.formats.items():
            if here.verdict != "certain":
                continue
            certain += 1
            logits = single if name == "f32" else computed + single
            for each in logits:
                last = (each if each.ndim == 1 else each[3]).double().numpy()
                out = round_to(last, parse_format(name))
                assert np.flatnonzero(out == out.max()).tolist() == [found.token_id], (spread, name)
    assert certain >= 8
