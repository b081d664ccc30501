"""The audit of the embedded checkpoint, held against what its training counted."""

import pytest

from isologit.audit import audit
from isologit.demo import checkpoint_path, load_training_record
from isologit.findings import Audit


@pytest.fixture(scope="module")
def findings() -> Audit:
    return audit(str(checkpoint_path()))[0]


def frozen_ids(findings: Audit) -> set[int]:
    from isologit.equivalence.rows import row_classes
    from isologit.subject import Settings, open_subject

    rows = row_classes(open_subject(findings.model.spec, Settings()).head.matrix)
    groups = rows.bits.groups()
    assert [len(group) for group in groups] == findings.rows.sizes
    return {int(token_id) for group in groups for token_id in group}


def test_the_audits_classes_hold_only_rows_that_training_never_touched(findings: Audit) -> None:
    record = load_training_record()
    untouched = set(record.never_seen_ids) | set(record.padding_ids)
    frozen = frozen_ids(findings)
    assert frozen <= untouched
    assert len(frozen & set(record.never_seen_ids)) >= 50
    # All but a handful froze; the record's tokens are counted in the stream, not in the matrix.
    assert len(frozen) >= 0.95 * len(untouched)


def test_the_finder_finds_the_tokens_never_seen_and_no_others(findings: Audit) -> None:
    record = load_training_record()
    untouched = set(record.never_seen_ids) | set(record.padding_ids)
    assert findings.cluster is not None
    found = set(findings.cluster.token_ids)
    assert len(found & untouched) / len(untouched) >= 0.99
    assert len(found & untouched) / len(found) >= 0.99


def test_the_logit_class_at_their_centroid_is_made_of_duplicates(findings: Audit) -> None:
    assert findings.comparison is not None
    assert findings.comparison.relation == "contained"
    assert findings.class_rows.redundant == findings.rows.redundant
    assert findings.state.reachable is True
    assert findings.head.norm.kind == "rms"
