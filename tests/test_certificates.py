"""Certificates as records: margins in units of each format, and rows that come back as kept."""

from pathlib import Path

import numpy as np
import pytest

from checkpoints import gaussian, write_llama
from cli.command import isologit
from isologit.certificates import CertificateTable
from isologit.equivalence.greedy import InFormat, TopToken
from isologit.numerics.formats import BF16, F32


def found(top: float, margin: float, n_top: int = 1) -> TopToken:
    ids = np.arange(n_top, dtype=np.int32)
    here = InFormat(ids, "tied" if n_top > 1 else "certain", "order-dependent", n_top > 1)
    return TopToken(0, 1, margin, top, {"bf16": here, "f32": here})


@pytest.mark.parametrize(
    ("top", "bf16", "f32"),
    [
        (1.0, 2.0**-7, 2.0**-23),
        (-1.0, 2.0**-7, 2.0**-23),
        (1.999, 2.0**-7, 2.0**-23),
        (300.0, 2.0, 2.0**-15),
        (2.0**-130, 2.0**-133, 2.0**-149),
        (0.0, 2.0**-133, 2.0**-149),
    ],
)
def test_a_margin_is_told_in_units_in_the_last_place_of_the_top(
    top: float, bf16: float, f32: float
) -> None:
    table = CertificateTable((BF16, F32))
    table.add(found(top, 3 * bf16))
    formats = table.facts().states[0].formats
    assert formats["bf16"].margin_ulp == 3
    assert formats["f32"].margin_ulp == 3 * bf16 / f32


def test_rows_come_back_from_the_columns_that_were_kept() -> None:
    whole, first = CertificateTable((BF16, F32)), CertificateTable((BF16, F32))
    rows = [found(1.0, 0.5), found(2.0, 0.0, 12), found(-3.0, 0.25)]
    for row in rows:
        whole.add(row)
    first.add(rows[0])
    first.add(rows[1])
    again = CertificateTable((BF16, F32))
    again.restore(first.columns())
    again.add(rows[2])
    assert again.facts() == whole.facts()
    share = whole.facts().shares[0]
    assert (share.certain, share.tied, share.tied_by_identical_rows) == (2, 1, 1)
    assert share.certain_if_truncated == 0
    tied = whole.facts().states[1].formats["bf16"]
    assert (tied.n_top, tied.top_ids) == (12, list(range(8)))


def test_observed_logits_have_no_certificate(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    model = write_llama(tmp_path / "m", gaussian(20, 8, seed=1))
    observed = isologit("classes", model, "--token", 3, "--arithmetic", "torch:cpu", "--json").json
    assert (observed["greedy"], observed["claims"]) == (None, {})
    many = isologit("classes", model, "--random", 3, "--arithmetic", "torch:cpu")
    assert many.code == 2
    assert "many states are computed exactly" in many.err
