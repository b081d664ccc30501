"""What figures are made of: an audit's table as arrays, and what is missing said."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from checkpoints import gaussian
from isologit.audit import audit
from isologit.audit_tables import AuditTables, read_audit
from isologit.output.parquet import token_columns
from isologit.output.pictured import Pictured
from isologit.output.results import write_results
from isologit.result_files import PLACES
from isologit.tokens.categories import CATEGORIES
from isologit.tokens.evidence import GRADES
from isologit.tokens.text import LONGEST_NAMED, visible_token
from output.pictures import pictured_matrix, small_model


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> AuditTables:
    """A small audit with a tokenizer, as it is before it is written."""
    findings, arrays = audit(str(small_model(tmp_path_factory.mktemp("pictured") / "m")))
    return AuditTables(findings, token_columns(arrays))


def test_every_array_is_a_column(tables: AuditTables) -> None:
    found, rows = Pictured.of(tables), tables.tokens.to_pylist()
    assert found.n_tokens == len(rows) == 280
    assert found.row_classes.tolist() == [row["row_class"] for row in rows]
    assert found.row_class_sizes.tolist() == [row["row_class_size"] for row in rows]
    for array, name in (
        (found.norms, "norm"),
        (found.logits, "logit"),
        (found.cosines, "cosine"),
        (found.distances, "evidence_distance"),
        (found.offsets, "evidence_offset"),
    ):
        assert array is not None
        assert np.array_equal(array, [row[name] for row in rows], equal_nan=True), name
    assert found.in_cluster is not None
    assert found.in_cluster.tolist() == [row["in_cluster"] for row in rows]
    assert found.in_modal_class.tolist() == [row["in_modal_class"] for row in rows]
    assert found.places is not None
    places = [[row["pc1"], row["pc2"], row["pc3"]] for row in rows]
    assert np.array_equal(found.places, places, equal_nan=True)
    assert found.places_facts is not None
    assert found.places_facts.axes is not None


def test_words_are_places_in_their_list_and_none_is_minus_one(tables: AuditTables) -> None:
    found, rows = Pictured.of(tables), tables.tokens.to_pylist()
    for words, name in (
        (found.categories, "category"),
        (found.scripts, "script"),
        (found.grades, "evidence"),
    ):
        assert words is not None
        spelt = [None if code < 0 else words.names[code] for code in words.codes.tolist()]
        assert spelt == [row[name] for row in rows], name
    assert found.categories is not None
    assert found.scripts is not None
    assert found.grades is not None
    assert found.categories.names == CATEGORIES
    assert found.grades.names == GRADES
    # Scripts by how common they are.
    counts = np.bincount(found.scripts.codes[found.scripts.codes >= 0]).tolist()
    assert counts == sorted(counts, reverse=True)
    assert set(found.scripts.names) == {row["script"] for row in rows} - {None}
    assert (found.scripts.codes < 0).any()


def test_a_table_read_back_gives_the_same(tables: AuditTables, tmp_path: Path) -> None:
    findings, arrays = audit(str(small_model(tmp_path / "m")))
    write_results(tmp_path / "out", findings, arrays, report=False)
    fresh, again = Pictured.of(tables), Pictured.of(read_audit(tmp_path / "out"))
    for name in ("norms", "logits", "places", "distances", "offsets", "in_cluster"):
        assert np.array_equal(getattr(fresh, name), getattr(again, name), equal_nan=True), name
    assert again.places_facts == fresh.places_facts
    assert again.shown(97) == fresh.shown(97)


def test_a_token_is_shown_escaped_and_cut(tables: AuditTables) -> None:
    found, rows = Pictured.of(tables), tables.tokens.to_pylist()
    for token_id in (0, 10, 97, 200, 256, 257, 279):
        assert found.shown(token_id) == visible_token(rows[token_id]["bytes"], LONGEST_NAMED)
    assert found.shown(279) == "no token"
    assert found.shown_many([10, 279, 257], 3) == ['"\\n"', "no token", '"שלו"…']
    assert found.shown_many([], 3) == []


def test_without_a_tokenizer_there_are_no_words_for_tokens(tmp_path: Path) -> None:
    found = pictured_matrix(tmp_path / "m", gaussian(40, 6, seed=2))
    assert found.categories is None
    assert found.scripts is None
    assert found.why_no_categories == "there is no tokenizer"
    assert found.shown(3) == ""
    assert found.shown_many([3, 4], 9) == ["", ""]
    assert found.grades is not None
    assert found.in_cluster is None


def test_a_table_of_an_earlier_version_says_to_audit_again(tables: AuditTables) -> None:
    names = [name for name in tables.tokens.column_names if not name.startswith("pc")]
    kept = {k: v for k, v in (tables.tokens.schema.metadata or {}).items() if k != PLACES}
    old = Pictured.of(
        AuditTables(tables.findings, tables.tokens.select(names).replace_schema_metadata(kept))
    )
    assert old.places is None
    assert old.why_no_places is not None
    assert "audit the model again" in old.why_no_places
    assert Pictured.of(tables).why_no_places is None


def test_undetermined_axes_are_said_as_the_audit_says_it(tmp_path: Path) -> None:
    found = pictured_matrix(tmp_path / "m", gaussian(30, 2, seed=1))
    assert found.places is None
    assert found.places_facts is not None
    assert found.why_no_places == found.places_facts.why
    assert "not determined" in str(found.why_no_places)


def test_columns_that_are_not_there_hold_nothing(tables: AuditTables) -> None:
    bare = Pictured.of(
        AuditTables(
            tables.findings, tables.tokens.select(["token_id", "row_class", "row_class_size"])
        )
    )
    assert np.isnan(bare.norms).all()
    assert np.isnan(bare.logits).all()
    assert not bare.in_modal_class.any()
    for name in ("in_cluster", "categories", "scripts", "grades", "token_bytes", "distances"):
        assert getattr(bare, name) is None, name
    assert bare.why_no_logits == "no logit is a finite number"
    assert bare.why_no_norms == "no norm is a finite number"


def test_words_in_several_pieces_of_a_column_are_one_list(tables: AuditTables) -> None:
    # Parquet gives back a column in pieces, each with a dictionary of its own.
    pieces = [tables.tokens.slice(start, 40) for start in range(0, 280, 40)]
    one, several = (
        Pictured.of(tables),
        Pictured.of(AuditTables(tables.findings, pa.concat_tables(pieces))),
    )
    assert one.scripts is not None
    assert several.scripts is not None
    assert several.scripts.names == one.scripts.names
    assert several.scripts.codes.tolist() == one.scripts.codes.tolist()
    assert several.shown(200) == one.shown(200)
