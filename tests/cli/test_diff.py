"""`isologit diff`: what its page and its JSON say, of the demo model and of real checkpoints."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import gaussian, write_matrix, write_tensors
from cli.command import isologit
from diff_models import FROZEN, GROWS, STAYS, ZERO, V, results_of, two
from isologit.demo import checkpoint_path

# Of the demo model's rows.
FIRST_FROZEN, JOINED, ALONE = 20, (300, 301), 2


@pytest.fixture(scope="module")
def demo_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The demo model, and a copy in which all rows moved by an ULP but the first and the padding.

    Of the copy two rows were made equal, and one was taken out of its class.
    """
    source = Path(checkpoint_path())
    later = tmp_path_factory.mktemp("demo") / "later"
    shutil.copytree(source, later)
    raw = bytearray((later / "model.safetensors").read_bytes())
    size = int.from_bytes(raw[:8], "little")
    header: dict[str, Any] = json.loads(raw[8 : 8 + size])
    entry = header["model.embed_tokens.weight"]
    n_tokens, width = entry["shape"]
    words = np.frombuffer(
        raw, np.uint16, n_tokens * width, offset=8 + size + entry["data_offsets"][0]
    ).reshape(n_tokens, width)
    words[FIRST_FROZEN : n_tokens - 16] ^= 1
    words[JOINED[0]] = words[JOINED[1]]
    words[ALONE, 0] ^= 1
    (later / "model.safetensors").write_bytes(raw)
    return source, later


def test_the_page_says_what_became_of_classes_and_rows(tmp_path: Path) -> None:
    ran = isologit("diff", *two(tmp_path))
    assert ran.code == 0, ran.err
    same = len([*STAYS, *GROWS, *FROZEN, ZERO])
    assert ran.out.splitlines()[0] == (
        f"{same} rows of {V} are the same in both, {V - same - 1} moved; row classes: 1 born, "
        "1 dissolved, 1 merged, 1 split, 1 grown, 1 persistent."
    )
    assert ran.section("Row classes [exact]")[0] == (
        "5 classes of two tokens or more before, 5 after; 1 persistent"
    )
    # A line of a table, its columns a space apart.
    merged = ran.section("Merged: 1 (of two classes before, or more)")[1]
    parts = "2 of class 0, 2 of class 23; 1 single"
    assert " ".join(merged.split()) == f"0 5 [0, 1, 30, 31, 42] {parts}"
    grown = ran.section("Grown: 1 (single tokens came)")[1]
    assert " ".join(grown.split()) == "15 → 16 3 → 4 [20, 21, 22] came: [25]"
    assert f"{same + 1} rows of the same values, where −0 equals +0" in ran.out
    assert "1 of them zero" in ran.out
    assert "Both matrices are there: rows are compared bit for bit as stored" in ran.out
    assert "no entry moved by 1 ULP" in ran.out
    assert ran.section("Zero rows [exact]") == ["1 before, 1 after, 1 in both"]
    assert "tokens are ids" in ran.section("Notes")[0]


def test_json_has_the_keys_that_others_rely_on(tmp_path: Path) -> None:
    found = isologit("diff", *two(tmp_path), "--json").json
    assert found["schema"] == "isologit.diff/1"
    keys = {"born", "dissolved", "merged", "split", "persistent", "frozen_rows", "moved"}
    assert keys | {"isologit", "from", "to", "claims", "notes"} <= set(found)
    assert found["from"]["model"]["name"] == "before"
    assert found["moved"]["histogram"][0] == {"from": 0, "to": 0, "rows": 1}
    assert found["born"] == [{"label": 4, "size": 2, "token_ids": [5, 6], "first": None}]


def test_a_series_is_a_row_a_step(tmp_path: Path) -> None:
    before, after = two(tmp_path)
    ran = isologit("diff", before, after, before)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == "2 steps"
    there, back = (line.split() for line in lines if line.startswith(("before →", "after →")))
    # Classes before and after, then born, dissolved, merged, split, other, persistent, frozen.
    assert there[3:12] == ["5", "→", "5", "1", "1", "1", "1", "1", "1"]
    assert back[3:12] == there[3:12]
    found = isologit("diff", before, after, before, "--json").json
    assert found["schema"] == "isologit.diff/1"
    assert [step["to"]["model"]["name"] for step in found["steps"]] == ["after", "before"]
    assert found["steps"][0]["frozen_rows"] == int(there[12])


def test_of_results_the_page_says_what_they_show(tmp_path: Path) -> None:
    models = two(tmp_path)
    ran = isologit("diff", *(results_of(each) for each in models))
    assert ran.code == 0, ran.err
    assert ran.out.startswith("At least ")
    assert "Before: before (its results): model.embed_tokens.weight [60, 16] bf16" in ran.out
    section = ran.section("Rows that moved, at least [certified bound]")
    assert section[-1].startswith("A result directory holds no rows")
    assert "Frozen rows" not in ran.out
    ran = isologit("diff", results_of(models[0]), *models)
    assert "≥: at least, as results show" not in ran.out  # the first step has one digest
    ran = isologit("diff", *models, results_of(models[0]))
    assert "≥: at least, as results show [certified bound]" in ran.out
    ran = isologit("diff", results_of(models[0]), models[0])
    assert ran.out.startswith(f"All {V} rows are the same in both")


def test_biases_and_widths_have_their_lines(tmp_path: Path) -> None:
    one, other = (
        write_tensors(
            tmp_path / name,
            {"lm_head.weight": gaussian(8, 4), "lm_head.bias": np.arange(8.0) * factor},
            "f32",
        )
        for name, factor in (("one", 1), ("other", 2))
    )
    ran = isologit("diff", one, other)
    assert ran.section("Biases [exact]") == ["1 the same, 7 moved, by up to 8,388,608 ULP of f32"]
    assert "8 rows whatever their biases" in ran.out
    ran = isologit("diff", results_of(one), results_of(other))
    assert ran.out.startswith("All 8 rows are the same in both, biases aside")
    narrow = write_tensors(tmp_path / "narrow", {"lm_head.weight": gaussian(8, 3)}, "f32")
    ran = isologit("diff", one, narrow)
    assert ran.section("Rows")[0].startswith("The matrices are [8, 4] and [8, 3]: rows of")
    assert ran.out.startswith("Rows of 8 tokens were not compared; there are no row classes")


def test_rows_that_a_factor_explains_are_told(tmp_path: Path) -> None:
    rows = gaussian(20, 40)
    one = write_matrix(tmp_path / "one", rows, "f32")
    other = write_matrix(tmp_path / "other", rows.astype(np.float32) * 0.75, "f32")
    ran = isologit("diff", one, other)
    assert "20 rows of them are what they were times one positive factor each" in ran.out
    low, high = isologit("diff", one, other, "--json").json["moved"]["scaled"]["common"]
    assert 0.75 - 1e-7 < low <= 0.75 <= high < 0.75 + 1e-7


def test_frozen_tokens_are_told_by_category(demo_pair: tuple[Path, Path]) -> None:
    ran = isologit("diff", *demo_pair)
    assert ran.code == 0, ran.err
    table = {
        line.rsplit(maxsplit=2)[0]: line.split()[-2:] for line in ran.section("Frozen rows [exact]")
    }
    assert table["padding"] == ["16", "16"]
    assert table["special"] == ["4", "5"]  # but for the one that was taken out of its class
    found = isologit("diff", *demo_pair, "--json").json
    frozen = found["frozen"]
    assert frozen["token_ids"] == [*(i for i in range(20) if i != ALONE), *range(4080, 4096)]
    assert sum(frozen["categories"].values()) == found["frozen_rows"] == 35
    assert sum(frozen["of"].values()) == 4096
    assert found["tokenizer"]["kind"].startswith("byte-level")
    # Every entry but those of three rows moved by one step.
    assert found["moved"]["quantiles"]["p99"] == 1
    assert found["moved"]["rows"] == 4096 - 35
    assert found["moved"]["most"][0]["token_id"] == JOINED[0]
    assert found["moved"]["most"][0]["token"] is not None
    assert list(JOINED) in [each["token_ids"] for each in found["born"]]


def test_a_directory_tells_who_its_tokens_are(demo_pair: tuple[Path, Path], tmp_path: Path) -> None:
    before, later = demo_pair
    results = tmp_path / "results"
    assert isologit("audit", before, "-o", results, "-q").code == 0
    whole, found = (isologit("diff", later, each, "--json").json for each in (before, results))
    for name in ("born", "dissolved", "shrunk", "grown", "classes", "tokenizer"):
        assert found[name] == whole[name]


def test_another_tokenizer_can_be_named(tmp_path: Path) -> None:
    models = two(tmp_path)
    for pair in (models, tuple(results_of(each) for each in models)):
        found = isologit("diff", *pair, "--tokenizer", "bytes", "--json").json
        assert found["born"][0]["first"] == ['"\\u0005"', '"\\u0006"']


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing argument"),
        (("A",), "give two checkpoints, or more"),
        (("A", "B", "--dtype", "f64"), "--dtype"),
    ],
)
def test_what_cannot_be_compared_is_a_usage_error(arguments: tuple[str, ...], message: str) -> None:
    ran = isologit("diff", *arguments)
    assert ran.code == 2
    assert message in ran.err
    assert ran.out == ""


def test_a_damaged_directory_is_one_line(tmp_path: Path) -> None:
    model, _ = two(tmp_path)
    results = results_of(model)
    (results / "tokens.parquet").write_bytes(b"PAR1")
    ran = isologit("diff", results, model)
    assert ran.code == 40
    assert ran.err.count("\n") == 1
    assert ran.out == ""
    assert isologit("diff", model, tmp_path / "nothing").code == 3
    assert isologit("diff", model, tmp_path / ("n" * 5000)).code == 4


class TestRealCheckpoints:
    """One model in several formats."""

    @pytest.mark.parametrize("name", ["llama2xs-hf-bf16", "llama2xs-BF16.gguf"])
    def test_a_rounded_copy_is_within_an_ulp(self, shared: Path, name: str) -> None:
        models = shared / "checkpoints"
        found = isologit("diff", models / "llama2xs-hf-f32", models / name, "--json").json
        assert (found["moved"]["rows"], found["moved"]["below_ulp"]) == (0, 512)
        assert found["moved"]["format"] == "bf16"

    @pytest.mark.parametrize("name", ["llama2xs-Q8_0.gguf", "llama2xs-Q4_0.gguf"])
    def test_a_quantised_copy_is_as_far_as_its_values_are(self, shared: Path, name: str) -> None:
        gguf = pytest.importorskip("gguf")
        models = shared / "checkpoints"
        tensors = {each.name: each for each in gguf.GGUFReader(models / name).tensors}
        stored = tensors["token_embd.weight"]
        values = gguf.dequantize(stored.data, stored.tensor_type).astype(np.float32)
        raw = (models / "llama2xs-hf-f32" / "model.safetensors").read_bytes()
        size = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + size])
        begin, end = header["model.embed_tokens.weight"]["data_offsets"]
        exact = np.frombuffer(raw[8 + size + begin : 8 + size + end], np.float32).reshape(512, 64)
        words = [each.view(np.int32).astype(np.int64) for each in (exact, values)]
        numbers = [np.where(each < 0, -(each & 0x7FFFFFFF), each) for each in words]
        largest = np.abs(numbers[0] - numbers[1]).max(axis=1)
        found = isologit("diff", models / "llama2xs-hf-f32", models / name, "--json").json
        assert found["frozen"]["by"] == "values"
        assert found["moved"]["format"] == "f32"
        assert found["moved"]["rows"] == int((largest > 0).sum())
        assert found["moved"]["quantiles"]["max"] == int(largest.max())
        assert found["moved"]["scaled"] is None

    def test_one_matrix_under_two_names_is_the_same(self, shared: Path) -> None:
        models = shared / "checkpoints"
        names = ("llama2xs-hf-bf16", "llama2xs-hf-bf16-untied-sharded", "llama2xs-BF16.gguf")
        found = isologit("diff", *(models / name for name in names), "--json").json
        assert [step["frozen_rows"] for step in found["steps"]] == [512, 512]
