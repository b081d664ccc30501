"""`--json`: every key that others rely on, of the right type, and never a bare NaN."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import (
    gaussian,
    write_llama,
    write_matrix,
    write_tensors,
)
from cli.command import isologit
from isologit import __version__
from isologit.tokens.categories import CATEGORIES

# What counts things by names that are not known before.
COUNTS = {...: int}
# A shape is a type, a list with the shape of its items, or an object's keys; "?" ends the name of
# a key that may be null, and ... stands for any key. `float` takes a word too where the figure is
# not finite.
COUNT = {"value": float, "hex": str, "n_tokens": int}
VALUE_CLASS = {**COUNT, "token_ids": [int]}
VALUES = {
    "dtype": str,
    "min": float,
    "max": float,
    "mean": float,
    "median": float,
    "hex": {"min": str, "max": str, "mean": str, "median": str},
    "distinct": int,
    "share_of_vocabulary": float,
    "nan": int,
    "mode": VALUE_CLASS,
    "max_class": COUNT,
    "top": [COUNT],
    "multiplicity": dict.fromkeys(("1", "2", "3", "4+", "100+", "1000+"), int),
}
CLASS_TOKENS = {"size": int, "mix": COUNTS, "first": [str]}
TOKENS = {
    "rows?": int,
    "in_tokenizer": int,
    "padding?": int,
    "beyond_rows": int,
    "tokenizer": {"source": str, "kind": str},
    "categories": dict.fromkeys(CATEGORIES, int),
    "unreachable?": int,
    "causes": COUNTS,
    "scripts": COUNTS,
    "in_classes?": COUNTS,
    "special_in_classes?": [str],
    "classes": [CLASS_TOKENS],
    "cluster?": CLASS_TOKENS,
    "modal_class?": CLASS_TOKENS,
    "evidence?": {
        "grades": dict.fromkeys(("none", "weak", "likely", "strong"), int),
        "reference": COUNTS,
        "core": int,
        "why": str,
    },
}
MODEL = {"spec": str, "source": str, "revision?": str, "name": str}
MATRIX = {
    "tensor": str,
    "role": str,
    "tied?": bool,
    "shape": [int],
    "dtype": str,
    "values_dtype": str,
    "sha256": str,
    "why": str,
}
HEAD = {
    "family?": str,
    "bias?": str,
    "logit_scale?": float,
    "logit_scale_source?": str,
    "softcap?": float,
    "norm": {
        "kind": str,
        "source": str,
        "convention": str,
        "eps?": float,
        "gamma": bool,
        "beta": bool,
    },
}
ARITHMETIC = {
    "name": str,
    "logit_dtype": str,
    "device": str,
    "refined": int,
    "environment": {},
}
ROWS = {
    "distinct": int,
    "distinct_without_bias?": int,
    "distinct_values": int,
    "classes": int,
    "tokens_in_classes": int,
    "redundant": int,
    "sizes": [int],
    "by_value?": {
        **dict.fromkeys(("classes", "tokens_in_classes", "redundant"), int),
        "sizes": [int],
        "largest": [{"label": int, "size": int, "token_ids": [int]}],
    },
    "zero": int,
    "subnormal": int,
    "nonfinite": int,
    "largest": [{"label": int, "size": int, "token_ids": [int]}],
}
CLUSTER = {
    "method": str,
    "size": int,
    "excess?": float,
    "cosine?": float,
    "cosine_tokens?": int,
    "token_ids": [int],
    "others": [int],
    "why": str,
}
REFERENCE = {"kind": str, "lat_deg?": float, "lon_deg?": float, "axes?": [int]}
STATE = {
    "kind": str,
    "token_ids": [int],
    "dtype": str,
    "norm": float,
    "h_dot_h": float,
    "sha256": str,
    "reachable?": bool,
    "norm_ratio?": float,
    "rescaled_from?": float,
    "why": str,
}
CENTROID = {"norm": float, "member_norm": {"min": float, "max": float, "mean": float}}
COMPARISON = {
    **dict.fromkeys(("a", "b", "both", "only_a", "only_b"), int),
    "relation": str,
    "share_of_a": float,
    "share_of_b": float,
}
CLASS_ROWS = {
    "n_tokens": int,
    "distinct": int,
    "redundant": int,
    "mean_multiplicity": float,
    "equal_reals?": bool,
}
AXES = {
    "eigenvalues": [float],
    "variance_share": [float],
    "sine_bounds": [float],
    "rows_left_out": int,
}
PAIRWISE = {
    **dict.fromkeys(("pairs", "exactly_one", "distinct", "without"), int),
    "min": float,
}
REFINEMENT = {
    "start": str,
    "steps": [{"n_members": int, "n_class": int, "shift": float}],
    "converged": bool,
    "size": int,
    "why": str,
}
TIED_CLASS = {
    "value": float,
    "hex": str,
    "ulp": float,
    "n_tokens": int,
    "token_ids": [int],
    "first?": [str],
    **dict.fromkeys(("distinct_rows", "distinct_reals", "distinct_logits", "distinct_f32"), int),
    "distinct_without_bias?": int,
    "without_real": int,
    "span_ulp?": float,
    "closest_ulp?": float,
    "causes": [
        {"cause": str, "saturation?": str, "ties": int, "end_in_f32?": int, "remedy": str},
    ],
    "ties": [
        {
            "a": int,
            "b": int,
            "cause": str,
            "saturation?": str,
            "margin_ulp?": float,
            "ends_in_f32?": bool,
        }
    ],
}
MERGE = {
    "capped": float,
    "capped_hex": str,
    "low": float,
    "high": float,
    **dict.fromkeys(("distinct_logits", "distinct_f32", "n_tokens"), int),
}
TIES = {
    "logits_of": str,
    "top": [TIED_CLASS],
    "maximum?": TIED_CLASS,
    "modal": TIED_CLASS,
    "nan": int,
    "softcap?": {"cap": float, "modal?": MERGE, "top": [MERGE], "why?": str},
    "device?": {
        "device": str,
        "environment": {...: str},
        "observations": [
            {
                "op": str,
                "batch?": int,
                "row_offset": int,
                "differing": int,
                "largest_ulp?": float,
                "largest_token?": int,
                "observed?": float,
                "exact?": float,
                **dict.fromkeys(("split_row_classes", "unlike_first_op", "unlike_in_batch"), int),
            }
        ],
        "split": [
            {
                "label": int,
                "size": int,
                "token_ids": [int],
                "logits": [float],
                "n_tokens": [int],
            }
        ],
        **dict.fromkeys(
            (
                *("split_row_classes", "parted_logit_classes", "parted_tokens"),
                "joined_logit_classes",
            ),
            int,
        ),
    },
    "claims": {...: str},
}
STATES = {
    **dict.fromkeys(("n", "asked", "unreachable", "undecided", "pre_norm", "rounded"), int),
    "source": str,
    "file?": str,
    "seed?": int,
    "dtype": str,
    "norm": str,
    "ratio?": {"min": float, "median": float, "max": float},
    "distinct_logits?": dict.fromkeys(("n", "min", "median", "max"), int),
    "sha256": str,
}
MEET = {
    **dict.fromkeys(("states", "distinct", "distinct_rows", "classes", "tokens_in_classes"), int),
    **dict.fromkeys(("rows_classes", "joined", "last_growth"), int),
    "sizes": [int],
    "largest": [{"size": int, "distinct_rows": int, "token_ids": [int], "tokens": [str]}],
    "growth": [{"states": int, "distinct": int, "classes": int}],
    "told_apart_all": bool,
}
GREEDY = {
    "assumes": [str],
    "assumes_if_truncated": [str],
    "shares": [
        {
            "dtype": str,
            **dict.fromkeys(("states", "certain", "order_dependent", "tied", "undefined"), int),
            **dict.fromkeys(("tied_by_identical_rows", "certain_if_truncated"), int),
        }
    ],
    "states": [
        {
            "state": int,
            "top": int,
            "runner_up?": int,
            "margin_nats": float,
            "formats": {
                ...: {
                    "verdict": str,
                    "if_truncated": str,
                    "margin_ulp": float,
                    "n_top": int,
                    "top_ids": [int],
                }
            },
        }
    ],
}
AUDIT = {
    "schema": str,
    "isologit": str,
    "model": MODEL,
    "matrix": MATRIX,
    "head": HEAD,
    "arithmetic": ARITHMETIC,
    "rows": ROWS,
    "cluster?": CLUSTER,
    "reference": REFERENCE,
    "axes?": AXES,
    "state": STATE,
    "cosines": VALUES,
    "centroid": CENTROID,
    "logits": VALUES,
    "own_class?": VALUE_CLASS,
    "comparison?": COMPARISON,
    "class_rows": CLASS_ROWS,
    "pairwise?": PAIRWISE,
    "refinement?": REFINEMENT,
    "greedy?": GREEDY,
    "ties?": TIES,
    "tokens?": TOKENS,
    "claims": {...: str},
    "notes": [str],
}
CLASSES = {
    **{key: AUDIT[key] for key in ("schema", "isologit", "model", "matrix", "head", "arithmetic")},
    "rows": ROWS,
    "cluster?": CLUSTER,
    "reference?": REFERENCE,
    "axes?": AXES,
    "state?": STATE,
    "centroid?": CENTROID,
    "logits?": VALUES,
    "own_class?": VALUE_CLASS,
    "class_rows?": CLASS_ROWS,
    "comparison?": COMPARISON,
    "states?": STATES,
    "meet?": MEET,
    "greedy?": GREEDY,
    "claims": {...: str},
    "tokens?": TOKENS,
    "ties?": TIES,
    "notes": [str],
}
INSPECTION = {
    "schema": str,
    "isologit": str,
    "model": MODEL,
    "matrix": {
        **{key: kind for key, kind in MATRIX.items() if key != "sha256"},
        "bytes": int,
    },
    "head": HEAD,
    "bytes": int,
    "to_fetch": int,
    "tokenizer?": {"kind": str, "tokens": int},
    "tensors": [{"name": str, "dtype": str, "shape": [int], "bytes": int}],
    "notes": [str],
}


def faults(value: Any, shape: Any, where: str = "$") -> list[str]:
    """Return what is missing, superfluous, or of another type."""
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{where} is {type(value).__name__}, not a list"]
        return [f for n, item in enumerate(value) for f in faults(item, shape[0], f"{where}[{n}]")]
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{where} is {type(value).__name__}, not an object"]
        if ... in shape:
            shape = dict.fromkeys(value, shape[...])
        keys = {key.removesuffix("?"): key for key in shape}
        found = [f"{where} has no {key}" for key in keys if key not in value]
        found += [f"{where} has {key} besides" for key in value if key not in keys]
        for key, name in keys.items():
            if key in value and not (name.endswith("?") and value[key] is None):
                found += faults(value[key], shape[name], f"{where}.{key}")
        return found
    if shape is float:
        good = type(value) in (float, int) or value in ("nan", "inf", "-inf")
    else:
        good = type(value) is shape
    return [] if good else [f"{where} is {value!r}, not {shape.__name__}"]


def test_the_check_of_shapes_can_fail() -> None:
    shape = {"a": int, "b?": float, "c": [{"d": str}]}
    assert faults({"a": 1, "b": None, "c": [{"d": ""}]}, shape) == []
    assert faults({"a": 1, "b": "nan", "c": []}, shape) == []
    assert faults({"a": True, "b": "none", "c": [{"d": 1}], "e": 0}, shape) == [
        "$ has e besides",
        "$.a is True, not int",
        "$.b is 'none', not float",
        "$.c[0].d is 1, not str",
    ]
    assert faults({"a": None}, shape) == ["$ has no b", "$ has no c", "$.a is None, not int"]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tied Llama of 400 tokens with a cluster of 40."""
    values = gaussian(400, 16, seed=7)
    values[100:140] = 0.25 + 0.03 * gaussian(40, 16, seed=8)
    return write_llama(tmp_path_factory.mktemp("planted") / "m", values)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of NaN and infinities alone."""
    return write_matrix(tmp_path_factory.mktemp("hostile") / "m", [[np.nan, 1], [np.inf, np.nan]])


def printed(*arguments: object) -> Any:
    ran = isologit(*arguments, "--json")
    assert (ran.code, ran.err) == (0, "")
    return ran.json


def test_audit_prints_every_key(planted: Path, hostile: Path) -> None:
    found = printed("audit", planted)
    assert faults(found, AUDIT) == []
    # Nothing that this checkpoint has is null.
    present = {key for key, value in found.items() if value is not None}
    assert present == {key.removesuffix("?") for key in AUDIT} - {"tokens", "axes"}
    assert (found["schema"], found["isologit"]) == ("isologit.audit/1", __version__)
    assert found["cluster"]["method"] == "found"
    assert found["cluster"]["excess"] > 0
    poled = printed("audit", planted, "--pole", "1,2,3")
    assert faults(poled, AUDIT) == []
    assert len(poled["axes"]["eigenvalues"]) == 3
    assert max(poled["axes"]["sine_bounds"]) <= 1e-6
    nothing = printed("audit", hostile)
    assert faults(nothing, AUDIT) == []
    assert {nothing[key] for key in ("cluster", "comparison", "refinement")} == {None}
    assert (nothing["reference"]["kind"], nothing["state"]["kind"]) == ("mean", "mean")


@pytest.mark.parametrize("place", [(), ("--token", "3"), ("--pole", "1,2")])
def test_classes_prints_every_key(planted: Path, place: tuple[str, ...]) -> None:
    found = printed("classes", planted, *place)
    assert faults(found, CLASSES) == []
    assert found["schema"] == "isologit.classes/1"
    assert (found["logits"] is None) == (not place)
    assert found["ties"] is None
    assert (found["greedy"] is None) == (not place)


def test_explain_prints_every_key_of_ties(planted: Path) -> None:
    found = printed("classes", planted, "--token", "3", "--explain")
    assert faults(found, CLASSES) == []
    assert found["ties"]["device"] is None


def test_classes_at_many_states_print_every_key_and_nothing_of_one_state(planted: Path) -> None:
    found = printed("classes", planted, "--random", "12", "--seed", "3")
    assert faults(found, CLASSES) == []
    of_one = {"state", "logits", "own_class", "class_rows", "comparison", "centroid", "cluster"}
    assert {found[key] for key in of_one} == {None}
    assert found["states"]["seed"] == 3
    assert len(found["greedy"]["states"]) == 12
    assert set(found["claims"]) == {
        "rows",
        "states",
        "meet",
        "meet.growth",
        "greedy",
        "greedy.shares",
    }


def test_inspect_prints_every_key(planted: Path) -> None:
    found = printed("inspect", planted)
    assert faults(found, INSPECTION) == []
    assert found["schema"] == "isologit.inspect/1"
    assert found["matrix"]["shape"] == [400, 16]
    assert found["matrix"]["bytes"] == 400 * 16 * 2


def test_audit_prints_the_summary_with_or_without_a_directory(
    planted: Path, tmp_path: Path
) -> None:
    alone = isologit("audit", planted, "--json").out
    beside = isologit("audit", planted, "--json", "-o", tmp_path / "out").out
    assert alone == beside == (tmp_path / "out" / "summary.json").read_text(encoding="utf-8")


def test_figures_are_given_as_hex_floats_that_parse_back(planted: Path) -> None:
    found = printed("audit", planted)
    checked = 0

    def check(text: str, value: float) -> None:
        nonlocal checked
        checked += 1
        assert float.fromhex(text) == value
        # "1.0" would parse back too, and be no hex float.
        assert text == float(value).hex()

    def walk(value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, dict):
            if isinstance(value.get("hex"), str):
                check(value["hex"], value["value"])
            elif isinstance(value.get("hex"), dict):
                for name, text in value["hex"].items():
                    check(text, value[name])
            for item in value.values():
                walk(item)

    walk(found)
    # Four figures, a mode, a maximum and ten of the top, of cosines and of logits; an own class;
    # and of ties the largest logit, twice, and the modal one.
    assert checked == 2 * (4 + 1 + 1 + 10) + 1 + 3


def test_no_figure_is_a_bare_nan(hostile: Path) -> None:
    found = printed("audit", hostile)
    logits = found["logits"]
    assert [logits[name] for name in ("min", "max", "mean", "median")] == ["nan"] * 4
    assert logits["hex"]["mean"] == "nan"
    assert (logits["nan"], logits["distinct"]) == (2, 0)
    assert logits["mode"] == {"value": "nan", "hex": "nan", "n_tokens": 2, "token_ids": [0, 1]}
    assert found["centroid"]["member_norm"]["max"] == "nan"
    assert "2 rows with an infinity or a NaN" in found["notes"]


def test_infinite_figures_are_words_with_their_sign(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", [[np.inf], [-np.inf], [1], [2]])
    logits = printed("classes", model, "--token", 2)["logits"]
    assert (logits["min"], logits["max"]) == ("-inf", "inf")
    assert float.fromhex(logits["hex"]["min"]) == -np.inf


def test_names_are_escaped_in_json_as_json_escapes(tmp_path: Path) -> None:
    name = 'a"\\\n\x1b<b>é'
    model = write_tensors(tmp_path / "m", {name: np.ones((2, 2))})
    found = printed("inspect", model, "--tensor", name)
    assert found["matrix"]["tensor"] == name


def test_a_path_that_is_no_utf8_is_printed_with_escapes(tmp_path: Path) -> None:
    model = tmp_path / b"mod\xe8le".decode("utf-8", "surrogateescape")
    try:
        write_matrix(model, [[1], [2]])
    except (OSError, UnicodeError):
        pytest.skip("this file system takes UTF-8 alone")
    ran = isologit("audit", model, "--json", "-o", tmp_path / "out")
    assert ran.code == 0
    assert ran.json["model"]["name"] == r"mod\udce8le"
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["model"]["name"]
