"""``classes --explain``: the ties of a checkpoint at a state, as JSON and as a page."""

import json
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from checkpoints import write_llama, write_matrix, write_tensors
from cli.command import isologit
from isologit.claims import EXACT
from isologit.classes import classes
from isologit.demo import checkpoint_path
from isologit.numerics.stored import Matrix
from isologit.request import FileState
from isologit.subject import Settings, open_subject
from oracle import fraction_oracle as oracle

# At the state (1, 1, 1): two same rows, one permuted, one half a unit below, and a lone one.
ROWS = [
    [1.0, 2.0, 0.0],
    [1.0, 2.0, 0.0],
    [2.0, 1.0, 0.0],
    [2.0, 1.0, -0.001953125],
    [0.5, 0.0, 0.0],
    [2.0, 1.0, 2.0**-30],
]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_matrix(tmp_path / "m", ROWS)


@pytest.fixture
def ones(tmp_path: Path) -> Path:
    return state_file(tmp_path, [1.0, 1.0, 1.0])


def state_file(directory: Path, values: list[float]) -> Path:
    path = directory / "h.npy"
    np.save(path, np.array(values, dtype=np.float32))
    return path


def test_the_record_names_each_tie_its_cause_its_margin_and_its_remedy(
    model: Path, ones: Path
) -> None:
    found = isologit("classes", model, "--state", ones, "--explain", "--json").json["ties"]
    assert (found["logits_of"], found["nan"], found["device"], found["softcap"]) == (
        "exact",
        0,
        None,
        None,
    )
    assert set(found["claims"].values()) == {EXACT}
    three = found["maximum"]
    assert found["modal"] == found["top"][0] == three
    assert (three["value"], three["hex"], three["ulp"]) == (3.0, "0x1.8000000000000p+1", 2.0**-6)
    assert (three["n_tokens"], three["token_ids"]) == (5, [0, 1, 2, 3, 5])
    rows, reals = three["distinct_rows"], three["distinct_reals"]
    assert (rows, reals, three["distinct_f32"], three["distinct_logits"]) == (4, 3, 2, 1)
    assert three["ties"] == [
        tie(3, 0, "rounding", 2.0**-9 * 2**6, ends=True),
        tie(0, 5, "rounding", 2.0**-30 * 2**6, ends=False),
        tie(0, 2, "equal reals", 0.0),
        tie(0, 1, "same row", 0.0),
    ]
    assert three["closest_ulp"] == 2.0**-24
    assert three["span_ulp"] == float(Fraction(1, 8) + Fraction(1, 2**24))
    assert [(c["cause"], c["ties"], c["end_in_f32"]) for c in three["causes"]] == [
        ("same row", 1, None),
        ("equal reals", 1, None),
        ("rounding", 2, 1),
    ]
    same, equal, rounded = (c["remedy"] for c in three["causes"])
    assert same.startswith("mask all but one")
    assert equal.startswith("no arithmetic parts them: a fixed tie-break")
    assert rounded.startswith("an f32 head (logits kept in f32) ends 1 of 2")
    assert [(c["value"], c["n_tokens"], c["ties"]) for c in found["top"]] == [
        (3.0, 5, three["ties"]),
        (0.5, 1, []),
    ]


def tie(
    a: int, b: int, cause: str, margin: float | None, *, ends: bool | None = None
) -> dict[str, Any]:
    return {
        "a": a,
        "b": b,
        "cause": cause,
        "saturation": None,
        "margin_ulp": margin,
        "ends_in_f32": ends,
    }


def test_the_page_says_the_same(model: Path, ones: Path) -> None:
    ran = isologit("classes", model, "--state", ones, "--explain")
    assert (ran.code, ran.err) == (0, "")
    assert "Why tokens tie [exact]" in ran.out.splitlines()
    start = ran.out.index("The maximum, 3.00000000 (1 ULP = 0.01562):")
    lines = [line.rstrip() for line in ran.out[start:].splitlines()]
    assert lines[1:8] == [
        "  5 tokens: 4 distinct rows, 3 distinct reals",
        "  1 tie by the same row, bit for bit",
        "    remedy: mask all but one (isologit export): no arithmetic parts them",
        "  1 tie by equal reals of different rows",
        "    remedy: no arithmetic parts them: a fixed tie-break (lowest id), or mask all but one "
        "(isologit export)",
        "  2 ties by rounding; the reals span 0.125 ULP, the closest two differ by 5.96e-08 ULP",
        "    remedy: an f32 head (logits kept in f32) ends 1 of 2; the others tie in f32 too",
    ]
    pairs = [line.split() for line in lines[8:12]]
    assert pairs[0] == ["3", "=", "0", "rounding", "0.125", "ULP", "ends", "in", "f32"]
    assert pairs[1] == ["0", "=", "5", *["rounding", "5.96e-08", "ULP", "ties", "in", "f32", "too"]]
    assert pairs[2] == ["0", "=", "2", "equal", "reals", "0", "ULP"]
    assert pairs[3] == ["0", "=", "1", "same", "row", "0", "ULP"]
    assert "--enable-fp32-lm-head" in ran.out


def test_without_explain_nothing_is_explained(model: Path, ones: Path) -> None:
    ran = isologit("classes", model, "--state", ones)
    assert "Why tokens tie" not in ran.out
    explained = isologit("classes", model, "--state", ones, "--explain")
    before, rest = explained.out.split("Why tokens tie")
    after = rest[rest.index("Greedy certificate") :]
    assert before + after == ran.out
    assert isologit("classes", model, "--state", ones, "--json").json["ties"] is None


def test_the_summary_in_a_directory_has_the_ties_too(
    model: Path, ones: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ran = isologit("classes", model, "--state", ones, "--explain", "--json", "-o", out, "-q")
    assert (out / "summary.json").read_text() == ran.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--explain"], "--explain says why tokens tie at a state; give one of --token"),
        (["--top", 3, "--token", 0], "--top says how many logits to --explain"),
        (["--explain", "--top", 0, "--token", 0], "0 is not in the range x>=1"),
    ],
)
def test_what_cannot_be_explained_is_a_usage_error(
    model: Path, options: list[object], said: str
) -> None:
    ran = isologit("classes", model, *options)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_top_says_how_many_of_the_largest_logits(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", np.arange(40.0)[:, None])
    for options, expected in (([], 10), (["--top", 3], 3), (["--top", 99], 40)):
        ran = isologit("classes", model, "--token", 1, "--explain", *options, "--json")
        values = [each["value"] for each in ran.json["ties"]["top"]]
        assert values == [float(n) for n in range(39, 39 - expected, -1)]


def test_overflow_and_underflow_are_named(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", [[2.0**15], [2.0**14], [2.0**-24], [2.0**-23]], "f16")
    state = state_file(tmp_path, [4.0])
    ran = isologit("classes", model, "--state", state, "--explain")
    assert "1 tie by saturation (overflow: they are beyond the largest number)" in ran.out
    found = isologit("classes", model, "--state", state, "--explain", "--json").json["ties"]
    assert (found["maximum"]["value"], found["maximum"]["ulp"]) == ("inf", 32.0)
    assert found["maximum"]["causes"][0]["saturation"] == "overflow"
    state = state_file(tmp_path, [2.0**-4])
    found = isologit("classes", model, "--state", state, "--explain", "--json").json["ties"]
    assert found["modal"]["value"] == 0.0
    assert [(c["saturation"], c["remedy"]) for c in found["modal"]["causes"]] == [
        ("underflow", "an f32 head (logits kept in f32) ends them")
    ]


def test_logits_without_a_number_are_one_class_and_said_so(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", [[np.nan, 0], [np.inf, 0], [1, 1]])
    state = state_file(tmp_path, [0.0, np.nan])
    ran = isologit("classes", model, "--state", state, "--explain")
    assert ran.code == 0
    assert "3 tokens without a number (NaN) are taken as one class" in ran.out
    found = isologit("classes", model, "--state", state, "--explain", "--json").json["ties"]
    assert (found["nan"], found["maximum"], found["top"]) == (3, None, [])
    assert (found["modal"]["value"], found["modal"]["n_tokens"]) == ("nan", 3)
    assert [(c["cause"], c["ties"]) for c in found["modal"]["causes"]] == [("non-finite", 2)]


def test_tokens_that_a_bias_parts_do_not_tie_by_the_same_row(tmp_path: Path) -> None:
    tensors = {"lm_head.weight": np.ones((4, 2)), "lm_head.bias": np.array([0.0, 0.0, 1.0, 2.0])}
    config = {"model_type": "phi", "vocab_size": 4, "hidden_size": 2, "tie_word_embeddings": False}
    model = write_tensors(tmp_path / "m", tensors, "f32", config=config)
    ran = isologit("classes", model, "--token", 0, "--explain")
    found = isologit("classes", model, "--token", 0, "--explain", "--json").json["ties"]["maximum"]
    assert [(c["cause"], c["ties"]) for c in found["causes"]] == [
        ("same row", 1),
        ("equal reals", 2),
    ]
    assert (found["distinct_rows"], found["distinct_without_bias"]) == (3, 1)
    assert "the head's bias, which is not applied here, parts the tokens" in ran.out


def write_gemma(directory: Path, values: list[list[float]], cap: float | None = 30.0) -> Path:
    return write_tensors(
        directory,
        {
            "model.embed_tokens.weight": np.array(values),
            "model.norm.weight": np.zeros(len(values[0])),
        },
        config={
            "model_type": "gemma2",
            "vocab_size": len(values),
            "hidden_size": len(values[0]),
            "tie_word_embeddings": True,
            "final_logit_softcapping": cap,
        },
    )


def test_what_a_softcap_merges_is_said_of_the_largest_and_of_the_modal_class(
    tmp_path: Path,
) -> None:
    # tanh(120/30) is 1 to more digits than bf16 has; tanh(1/3) is not.
    model = write_gemma(tmp_path / "m", [[150.0], [120.0], [120.0], [10.0], [9.0], [-120.0]])
    state = state_file(tmp_path, [1.0])
    found = isologit("classes", model, "--state", state, "--explain", "--json").json["ties"]
    merged = {
        "capped": 30.0,
        "capped_hex": (30.0).hex(),
        "low": 120.0,
        "high": 150.0,
        "distinct_logits": 2,
        "distinct_f32": 2,
        "n_tokens": 3,
    }
    assert found["softcap"] == {"cap": 30.0, "modal": merged, "top": [merged], "why": None}
    assert found["claims"]["softcap"] == EXACT
    page = isologit("classes", model, "--state", state, "--explain").out
    assert "2 distinct logits from 120.00000000 to 150.00000000 become 30.00000000" in page
    none = write_gemma(tmp_path / "none", [[3.0], [2.0], [1.0]])
    ran = isologit("classes", none, "--state", state, "--explain")
    assert "merges none of the largest logits with another" in ran.out
    assert "merges nothing with the modal class's logit" in ran.out
    off = write_gemma(tmp_path / "off", [[3.0], [2.0], [1.0]], cap=None)
    ran = isologit("classes", off, "--state", state, "--explain", "--json")
    assert ran.json["ties"]["softcap"] is None
    assert "softcap" not in ran.json["ties"]["claims"]


def test_a_softcap_behind_a_bias_or_a_scale_is_not_looked_at(tmp_path: Path) -> None:
    state = state_file(tmp_path, [1.0])
    model = write_gemma(tmp_path / "biased", [[150.0], [120.0]])
    tensors = load_file(model / "model.safetensors")
    embedding = tensors.pop("model.embed_tokens.weight")
    tensors |= {"lm_head.weight": embedding, "lm_head.bias": embedding[:, 0].copy()}
    save_file(tensors, model / "model.safetensors")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    found = isologit("classes", model, "--state", state, "--explain", "--json").json
    assert found["head"]["bias"] == "lm_head.bias"
    assert found["ties"]["softcap"]["top"] == []
    assert "the head's bias or scale comes before its softcap" in found["ties"]["softcap"]["why"]


def test_of_f32_logits_an_f32_head_is_no_remedy(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", [[1.0, 0.0], [1.0, 2.0**-30]], "f32")
    ran = isologit("classes", model, "--state", state_file(tmp_path, [1.0, 1.0]), "--explain")
    assert "remedy: the logits are f32 already: a fixed tie-break" in ran.out
    assert "enable-fp32-lm-head" not in ran.out


REAL = ["demo", "llama2xs-hf-bf16", "llama2xs-hf-f32", "rwkv-4v0-660K-fp16", "llama2xs-Q4_0.gguf"]


@pytest.mark.parametrize("name", REAL)
def test_on_real_checkpoints_every_figure_is_the_oracles(shared: Path, name: str) -> None:
    spec = checkpoint_path() if name == "demo" else shared / "checkpoints" / name
    record, _ = classes(str(spec), at=2, explain_top=5)
    assert record.ties is not None
    matrix = open_subject(str(spec), Settings()).head.matrix
    to = record.arithmetic.logit_dtype
    state = words_of(matrix, 2)
    for found in (*record.ties.top, record.ties.modal):
        reals = [oracle.dot(words_of(matrix, token), state) for token in found.token_ids]
        assert all(oracle.nearest(real, to) == Fraction(found.value) for real in reals)
        if found.n_tokens > len(found.token_ids):
            continue
        distinct = sorted(set(reals))  # type: ignore[type-var]
        assert found.distinct_reals == len(distinct)
        assert found.distinct_f32 == len({oracle.nearest(real, "f32") for real in distinct})
        assert sum(cause.ties for cause in found.causes) == found.n_tokens - 1
        if len(distinct) > 1:
            span = (distinct[-1] - distinct[0]) / Fraction(found.ulp)  # type: ignore[operator]
            assert found.span_ulp == float(span)
            assert span <= 1


def words_of(matrix: Matrix, token: int) -> list[oracle.Real]:
    """Return a row as the oracle reads its words."""
    row = matrix.row(token)
    return [oracle.decode(int(word), row.format.name) for word in row.words]


def test_a_state_of_one_s_own_is_explained_through_the_library(tmp_path: Path) -> None:
    model = write_llama(tmp_path / "m", np.ones((3, 2)))
    record, _ = classes(str(model), at=FileState(np.ones(2), "here"), explain_top=1)
    assert record.ties is not None
    assert [(t.a, t.b, t.cause) for t in record.ties.modal.ties] == [
        (0, 1, "same row"),
        (0, 2, "same row"),
    ]
    assert classes(str(model), explain_top=1)[0].ties is None


def test_every_tie_of_a_long_class_is_listed(tmp_path: Path) -> None:
    values = np.ones((300, 2))
    values[150:, 1] += np.arange(150) * 2.0**-16
    save_file({"W": values.astype(np.float32)}, tmp_path / "W.safetensors")
    assert load_file(tmp_path / "W.safetensors")["W"].shape == (300, 2)
    state = state_file(tmp_path, [1.0, 1.0])
    ran = isologit("classes", tmp_path, "--state", state, "--dtype", "bf16", "--explain", "--json")
    found = ran.json["ties"]["modal"]
    assert (found["n_tokens"], found["distinct_rows"], found["distinct_reals"]) == (300, 150, 150)
    assert [(c["cause"], c["ties"]) for c in found["causes"]] == [
        ("same row", 150),
        ("rounding", 149),
    ]
    # Every tie is listed, but by an audit, which counts them all the same.
    assert Counter(each["cause"] for each in found["ties"]) == {"same row": 150, "rounding": 149}
    assert len(found["token_ids"]) == 300
    brief = isologit("audit", tmp_path, "--dtype", "bf16", "--json").json["ties"]["modal"]
    assert brief["n_tokens"] == 300
    assert len(brief["ties"]) == len(brief["token_ids"]) == 50
    assert sum(cause["ties"] for cause in brief["causes"]) == 299
    assert found["span_ulp"] == 149 * 2.0**-16 * 2**6
    page = isologit("classes", tmp_path, "--state", state, "--dtype", "bf16", "--explain").out
    assert "… and 289 more ties" in page
