"""Certificates as records: margins in units of each format, and rows that come back as kept."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from checkpoints import gaussian, write_llama
from cli.command import isologit
from isologit.certificates import CertificateTable, certifier_of, notes
from isologit.checkpoint.head import LogitScale
from isologit.equivalence.device_sums import MOST_TERMS
from isologit.equivalence.greedy import InFormat, TopToken
from isologit.equivalence.rows import row_classes
from isologit.numerics.formats import BF16, F32
from isologit.numerics.stored import Vector
from isologit.subject import Settings, open_subject


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
    assert observed["greedy"] is None
    assert "greedy" not in observed["claims"]
    many = isologit("classes", model, "--random", 3, "--arithmetic", "torch:cpu")
    assert many.code == 2
    assert "many states are computed exactly" in many.err


@pytest.mark.parametrize(
    ("applies_to", "biased", "certified"),
    [("state", True, False), ("state", False, True), ("logits", True, True)],
)
def test_a_head_that_scales_the_state_and_not_the_bias_has_no_certificate(
    tmp_path: Path, applies_to: Literal["state", "logits"], biased: bool, certified: bool
) -> None:
    subject = open_subject(str(write_llama(tmp_path / "m", gaussian(20, 8, seed=1))), Settings())
    bias = Vector.of_values(np.ones(20), BF16) if biased else None
    head = replace(subject.head, bias=bias, scale=LogitScale(0.5, "a test", None, applies_to))
    subject = replace(subject, head=head)
    assert (certifier_of(subject, row_classes(head.matrix, bias)) is not None) == certified
    assert ("no greedy certificate" not in notes(subject)[0]) == certified


def test_of_too_many_terms_there_is_no_certificate(tmp_path: Path) -> None:
    model = write_llama(tmp_path / "m", np.ones((2, MOST_TERMS)))
    found = isologit("classes", model, "--token", 1, "--json").json
    assert found["greedy"] is None
