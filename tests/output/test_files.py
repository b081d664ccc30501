"""The directory's files: what each holds, read back by the formats' own libraries or bytes."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from checkpoints import (
    cluster_tensors,
    gaussian,
    read_safetensors,
    write_cluster,
    write_llama,
    write_matrix,
)
from cli.command import Ran, isologit
from isologit import __version__
from isologit.numerics.formats import parse_format, round_to
from isologit.numerics.stored import Matrix

V, D = 300, 12
ALL = {
    "summary.json",
    "tokens.parquet",
    "classes.parquet",
    "cluster_members.safetensors",
    "cluster_logits.safetensors",
    "report.html",
}


def made_up() -> Any:
    values = gaussian(V, D, seed=21)
    values[40:70] = 0.25 + 0.03 * gaussian(30, D, seed=22)
    values[80:83] = values[7]
    values[90] = np.nan
    return values


@pytest.fixture(scope="module", params=["bf16", "f16", "f32"])
def written(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Any, Ran]:
    """An audit's directory, its findings, and what the command printed."""
    folder = tmp_path_factory.mktemp("files")
    model = write_llama(folder / "m", made_up(), request.param)
    ran = isologit("audit", model, "-o", folder / "deep" / "out", "--json")
    assert ran.code == 0, ran.err
    return folder / "deep" / "out", ran.json, ran


def test_the_list_of_what_was_written_is_said_on_stderr(written: tuple[Path, Any, Ran]) -> None:
    out, _, ran = written
    assert {path.name for path in out.iterdir()} == ALL
    told = [line for line in ran.err.splitlines() if line]
    assert told[0] == "Saved:"
    assert {line.removeprefix("  ✓ ") for line in told[1:]} == {str(out / name) for name in ALL}


def test_tokens_has_a_row_per_row_of_w(written: tuple[Path, Any, Ran]) -> None:
    out, found, _ = written
    table = pq.read_table(out / "tokens.parquet")
    assert {field.name: str(field.type) for field in table.schema} == {
        "token_id": "int32",
        "row_class": "int32",
        "row_class_size": "int32",
        "norm": "double",
        "sum": "double",
        "smallest": "double",
        "largest": "double",
        **dict.fromkeys(("pc1", "pc2", "pc3"), "float"),
        "logit": "double",
        "logit_class": "int32",
        "logit_class_size": "int32",
        "cosine": "double",
        "in_cluster": "bool",
        "in_modal_class": "bool",
        # Of the tokenizer there is nothing: no file of one lies beside the weights.
        "evidence": "string",
        "evidence_why": "string",
        "evidence_distance": "double",
        "evidence_share_of_way": "double",
        "evidence_offset": "double",
        "evidence_cosine": "double",
        "evidence_centred_cosine": "double",
    }
    columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    assert columns["token_id"].tolist() == list(range(V))
    assert np.flatnonzero(columns["in_cluster"]).tolist() == found["cluster"]["token_ids"]
    mode = found["logits"]["mode"]
    assert np.flatnonzero(columns["in_modal_class"]).tolist() == mode["token_ids"]
    assert set(columns["logit"][columns["in_modal_class"]]) == {mode["value"]}
    assert columns["logit_class_size"][mode["token_ids"][0]] == mode["n_tokens"]
    assert np.nanmax(columns["logit"]) == found["logits"]["max"]
    assert np.nanmin(columns["cosine"]) == found["cosines"]["min"]
    assert np.flatnonzero(np.isnan(columns["logit"])).tolist() == [90]
    same_row = [7, 80, 81, 82]
    assert len(set(columns["row_class"][same_row])) == 1
    assert columns["row_class_size"][same_row].tolist() == [4] * 4
    assert len(set(columns["row_class"])) == found["rows"]["distinct"]
    members = columns["norm"][found["cluster"]["token_ids"]]
    assert members.min() == found["centroid"]["member_norm"]["min"]
    format_ = parse_format(found["matrix"]["dtype"])
    stored = Matrix.of_values(made_up(), format_).rows(np.arange(V))
    assert np.array_equal(columns["smallest"], stored.min(axis=1), equal_nan=True)
    assert np.array_equal(columns["largest"], stored.max(axis=1), equal_nan=True)
    # Sums of a few numbers alike are as good as exact in binary64.
    sums = round_to(stored.sum(axis=1), format_)
    assert np.array_equal(columns["sum"], sums, equal_nan=True)


def test_classes_has_a_row_per_class_of_two_or_more(written: tuple[Path, Any, Ran]) -> None:
    out, found, _ = written
    table = pq.read_table(out / "classes.parquet")
    # What a list calls its items is the reader's choice, and has changed.
    types = {field.name: str(field.type) for field in table.schema if field.name != "token_ids"}
    assert types == {"relation": "string", "label": "int32", "size": "int32", "logit": "double"}
    assert str(table.schema.field("token_ids").type.value_type) == "int32"
    rows = [row for row in table.to_pylist() if row["relation"] == "row"]
    logits = [row for row in table.to_pylist() if row["relation"] == "logit"]
    assert len(rows) + len(logits) == len(table)
    assert [row["size"] for row in rows] == found["rows"]["sizes"]
    assert {row["logit"] for row in rows} == {None}
    assert all(len(row["token_ids"]) == row["size"] >= 2 for row in rows + logits)
    assert [7, 80, 81, 82] in [row["token_ids"] for row in rows]
    largest = next(
        row for row in logits if row["token_ids"] == found["logits"]["mode"]["token_ids"]
    )
    assert largest["logit"] == found["logits"]["mode"]["value"]
    held = found["logits"]["multiplicity"]
    assert len(logits) == held["2"] + held["3"] + held["4+"]


def test_the_seed_s_files_have_its_keys_dtypes_and_metadata(
    written: tuple[Path, Any, Ran],
) -> None:
    out, found, _ = written
    tensors, dtypes, metadata = read_safetensors(out / "cluster_members.safetensors")
    assert dtypes == {
        "cluster_mask": "U8",
        "cluster_token_ids": "I32",
        "cluster_cosine": "F32",
        "n_cluster_members": "I32",
    }
    ids = found["cluster"]["token_ids"]
    assert tensors["cluster_mask"].shape == (V,)
    assert np.flatnonzero(tensors["cluster_mask"]).tolist() == ids
    assert tensors["cluster_mask"].max() == 1
    assert tensors["cluster_token_ids"].tolist() == ids
    assert tensors["cluster_cosine"].tolist() == [np.float32(found["cluster"]["cosine"])]
    assert tensors["n_cluster_members"].tolist() == [len(ids)]
    assert metadata == {
        "isologit": __version__,
        "source": found["model"]["spec"],
        "revision": "",
        "tensor": "model.embed_tokens.weight",
        "matrix_sha256": found["matrix"]["sha256"],
        "arithmetic": "exact",
        "device": "none needed",
        "logit_dtype": found["matrix"]["dtype"],
    }
    tensors, dtypes, again = read_safetensors(out / "cluster_logits.safetensors")
    assert again == metadata
    assert dtypes == {
        "logit_equiv_mask": "U8",
        "logit_equiv_token_ids": "I32",
        "logit_equiv_dot_product": "F32",
        "n_logit_equiv_members": "I32",
        "cluster_centroid": found["matrix"]["dtype"].upper(),
    }
    mode = found["logits"]["mode"]
    assert np.flatnonzero(tensors["logit_equiv_mask"]).tolist() == mode["token_ids"]
    assert tensors["logit_equiv_token_ids"].tolist() == mode["token_ids"]
    assert tensors["logit_equiv_dot_product"].tolist() == [mode["value"]]
    assert tensors["n_logit_equiv_members"].tolist() == [mode["n_tokens"]]
    assert tensors["cluster_centroid"].shape == (D,)
    assert tensors["cluster_centroid"].astype(np.float64) @ tensors["cluster_centroid"].astype(
        np.float64
    ) == pytest.approx(found["state"]["norm"] ** 2, rel=0.02)


def test_the_digest_is_that_of_the_matrix_s_bytes(written: tuple[Path, Any, Ran]) -> None:
    from hashlib import sha256

    out, found, _ = written
    content = (out.parents[1] / "m" / "model.safetensors").read_bytes()
    size = V * D * (4 if found["matrix"]["dtype"] == "f32" else 2)
    start = 8 + int.from_bytes(content[:8], "little")
    # The embedding comes first: safetensors' writer sorts by dtype, then by name.
    assert found["matrix"]["sha256"] == sha256(content[start : start + size]).hexdigest()


def test_with_a_pole_the_reference_is_in_the_file(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", gaussian(60, 6, seed=3))
    assert isologit("audit", model, "--pole", "-7.288,6.941", "-o", tmp_path / "out").code == 0
    tensors, dtypes, _ = read_safetensors(tmp_path / "out" / "cluster_members.safetensors")
    assert (dtypes["ref_lat"], dtypes["ref_lon"]) == ("F32", "F32")
    assert tensors["ref_lat"].tolist() == [np.float32(-7.288)]
    assert tensors["ref_lon"].tolist() == [np.float32(6.941)]


def test_without_a_cluster_there_is_no_cluster_file(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", gaussian(60, 6, seed=3))
    assert isologit("audit", model, "-o", tmp_path / "out").code == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == ALL - {"cluster_members.safetensors"}
    table = pq.read_table(tmp_path / "out" / "tokens.parquet")
    assert "in_cluster" not in table.column_names


def test_row_classes_alone_are_three_files(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", [[1], [1], [2]])
    ran = isologit("classes", model, "-o", tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "summary.json",
        "tokens.parquet",
        "classes.parquet",
    }
    assert ran.out.startswith("2 tokens of 3")
    table = pq.read_table(tmp_path / "out" / "classes.parquet").to_pylist()
    assert table == [{"relation": "row", "label": 0, "size": 2, "token_ids": [0, 1], "logit": None}]


def test_without_classes_the_tables_are_empty_and_typed(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", [[1], [2]])
    assert isologit("classes", model, "-o", tmp_path / "out").code == 0
    table = pq.read_table(tmp_path / "out" / "classes.parquet")
    assert len(table) == 0
    assert str(table.schema.field("token_ids").type.value_type) == "int32"


def test_quiet_leaves_the_data_alone(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", [[1], [2]])
    loud = isologit("classes", model, "-o", tmp_path / "loud")
    quiet = isologit("classes", model, "-o", tmp_path / "quiet", "-q")
    assert (quiet.err, quiet.out) == ("", loud.out)
    assert loud.err != ""
    for name in ("summary.json", "tokens.parquet", "classes.parquet"):
        assert (tmp_path / "loud" / name).read_bytes() == (tmp_path / "quiet" / name).read_bytes()


def test_what_is_written_is_a_cluster_file_that_is_read(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", gaussian(20, 4))
    given = write_cluster(tmp_path / "c.safetensors", cluster_tensors([3, 5, 8], 20, 0.5))
    assert isologit("classes", model, "--members", given, "-o", tmp_path / "out").code == 0
    again = tmp_path / "out" / "cluster_members.safetensors"
    found = isologit("classes", model, "--members", again, "--json").json
    assert (found["cluster"]["token_ids"], found["cluster"]["cosine"]) == ([3, 5, 8], 0.5)
