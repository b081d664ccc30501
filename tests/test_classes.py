"""`classes` and `audit` at a state, in exact arithmetic, against rational numbers."""

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from checkpoints import (
    cluster_tensors,
    gaussian,
    write_cluster,
    write_llama,
    write_matrix,
    write_tensors,
)
from cli.command import isologit
from isologit.classes import classes
from isologit.errors import StateError, TokenIdError
from isologit.numerics.formats import BF16, F32
from isologit.request import FileState, Members, Pole
from isologit.subject import Settings
from oracle import fraction_oracle as oracle

V, D = 90, 7


def made_up() -> Any:
    """Return rows with a close group (20 to 39), duplicates in it, a −0 and a zero row."""
    values = gaussian(V, D, seed=4)
    values[20:40] = 0.5 + 0.01 * gaussian(20, D, seed=5)
    values[30:35] = values[20]
    values[50] = 0
    values[51] = -0.0
    return values


@pytest.fixture(params=["bf16", "f16", "f32"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str, Any]:
    """A checkpoint, its format, and its rows as rational numbers."""
    model = write_matrix(tmp_path / "m", made_up(), request.param)
    array = load_file(model / "W.safetensors")["W"]
    words = array.view(np.uint32 if request.param == "f32" else np.uint16)
    rows = [[oracle.decode(int(w), request.param) for w in row] for row in words]
    return model, request.param, rows


def check_values(facts: dict[str, Any], expected: list[Fraction], dtype: str) -> None:
    """Hold every figure of one rounded number a token against the numbers themselves."""
    numbers = sorted(expected)
    counts = Counter(numbers)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    mode, held = ranked[0]
    assert facts["dtype"] == dtype
    assert Fraction(facts["min"]) == numbers[0]
    assert Fraction(facts["max"]) == numbers[-1]
    assert Fraction(facts["median"]) == numbers[(len(numbers) - 1) // 2]
    assert Fraction(facts["mean"]) == oracle.mean(numbers, dtype)
    assert facts["distinct"] == len(counts)
    assert facts["share_of_vocabulary"] == len(counts) / V
    assert facts["max_class"]["n_tokens"] == counts[numbers[-1]]
    assert facts["mode"]["token_ids"] == [n for n, x in enumerate(expected) if x == mode]
    assert (Fraction(facts["mode"]["value"]), facts["mode"]["n_tokens"]) == (mode, held)
    assert [(Fraction(t["value"]), t["n_tokens"]) for t in facts["top"]] == ranked[:10]
    multiplicities = {str(n): sum(c == n for c in counts.values()) for n in (1, 2, 3)}
    multiplicities |= {f"{n}+": sum(c >= n for c in counts.values()) for n in (4, 100, 1000)}
    assert facts["multiplicity"] == multiplicities


@pytest.mark.parametrize("logit_dtype", ["bf16", "f16", "f32"])
def test_the_seed_s_cluster_file_gives_the_correctly_rounded_figures(
    stored: tuple[Path, str, Any], tmp_path: Path, logit_dtype: str
) -> None:
    model, dtype, rows = stored
    ids = list(range(18, 42))
    path = tmp_path / "1.4a_cluster_members.safetensors"
    write_cluster(path, cluster_tensors(ids, V, 0.84375))
    ran = isologit("classes", model, "--members", path, "--dtype", logit_dtype, "--json")
    assert (ran.code, ran.err) == (0, "")
    found = ran.json

    centroid = [oracle.mean([rows[i][k] for i in ids], dtype) for k in range(D)]
    logits = [oracle.nearest(oracle.dot(row, centroid), logit_dtype) for row in rows]
    check_values(found["logits"], logits, logit_dtype)  # type: ignore[arg-type]
    mode = set(found["logits"]["mode"]["token_ids"])
    own = oracle.nearest(oracle.dot(centroid, centroid), logit_dtype)
    assert found["own_class"]["token_ids"] == [n for n, x in enumerate(logits) if x == own]
    assert Fraction(found["state"]["h_dot_h"]) == own
    assert Fraction(found["state"]["norm"]) == oracle.norm(centroid, dtype)
    assert found["state"]["token_ids"] == ids

    norms = [oracle.norm(rows[i], dtype) for i in ids]
    member_norm = found["centroid"]["member_norm"]
    assert Fraction(member_norm["min"]) == min(norms)  # type: ignore[type-var]
    assert Fraction(member_norm["max"]) == max(norms)  # type: ignore[type-var]
    assert Fraction(member_norm["mean"]) == oracle.mean(norms, dtype)

    both = len(mode & set(ids))
    assert found["comparison"] == {
        "a": len(ids),
        "b": len(mode),
        "both": both,
        "only_a": len(ids) - both,
        "only_b": len(mode) - both,
        "relation": found["comparison"]["relation"],
        "share_of_a": both / len(ids),
        "share_of_b": both / len(mode),
    }
    distinct = len({tuple(map(str, rows[n])) for n in mode})
    assert found["class_rows"]["distinct"] == distinct
    assert found["class_rows"]["redundant"] == len(mode) - distinct
    assert found["class_rows"]["mean_multiplicity"] == len(mode) / distinct


def test_the_audit_s_cosines_are_correctly_rounded(
    stored: tuple[Path, str, Any], tmp_path: Path
) -> None:
    model, dtype, rows = stored
    ids = list(range(20, 40))
    path = write_cluster(tmp_path / "c.safetensors", cluster_tensors(ids, V))
    found = isologit("audit", model, "--members", path, "--json").json
    centroid = [oracle.mean([rows[i][k] for i in ids], dtype) for k in range(D)]
    cosines = [oracle.cosine(row, centroid, dtype) for row in rows]
    assert found["cosines"]["nan"] == 2  # the zero rows have none
    real = [x for x in cosines if isinstance(x, Fraction)]
    assert Fraction(found["cosines"]["min"]) == min(real)
    assert Fraction(found["cosines"]["mean"]) == oracle.mean(real, dtype)
    assert found["cosines"]["distinct"] == len(set(real))
    mode = Fraction(found["cosines"]["mode"]["value"])
    assert found["cosines"]["mode"]["token_ids"] == [n for n, x in enumerate(cosines) if x == mode]
    assert found["reference"] == {
        "kind": "centroid",
        "lat_deg": None,
        "lon_deg": None,
        "axes": None,
    }


def test_without_a_state_there_are_row_classes_alone(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", made_up(), "f32")
    found = isologit("classes", model, "--json").json
    parts = ("state", "logits", "centroid", "cluster", "comparison", "class_rows", "own_class")
    assert {found[part] for part in parts} == {None}
    assert found["rows"]["sizes"] == [6]
    assert found["rows"]["largest"] == [{"label": 20, "size": 6, "token_ids": [20, *range(30, 35)]}]
    assert found["arithmetic"]["refined"] == 0


def test_tokens_of_one_row_give_one_state_and_one_class(tmp_path: Path) -> None:
    model = str(write_matrix(tmp_path / "m", made_up()))
    first, _ = classes(model, at=20)
    second, _ = classes(model, at=33)
    assert first.logits == second.logits
    assert first.state is not None
    assert second.state is not None
    assert first.state.sha256 == second.state.sha256
    assert (first.state.token_ids, second.state.token_ids) == ([20], [33])
    assert first.own_class is not None
    assert {20, *range(30, 35)} <= set(first.own_class.token_ids)


def test_a_bias_splits_rows_but_not_logits(tmp_path: Path) -> None:
    tensors = {
        "lm_head.weight": np.array([[1.0], [1.0], [1.0]]),
        "lm_head.bias": np.array([0.0, 0.0, 5.0]),
    }
    config = {"model_type": "phi", "tie_word_embeddings": False}
    found, _ = classes(str(write_tensors(tmp_path / "m", tensors, config=config)), at=0)
    assert (found.rows.distinct, found.rows.sizes) == (2, [2])
    assert found.logits is not None
    assert found.logits.mode.n_tokens == 3
    assert any("before the head's bias" in note for note in found.notes)


class TestStatesFromFiles:
    """A hidden state of the user's own."""

    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        return write_matrix(tmp_path / "m", [[1, 0], [0, 1], [1, 1]])

    @pytest.mark.parametrize("name", ["h.npy", "h.safetensors"])
    def test_one_of_several_is_chosen_by_its_index(
        self, model: Path, tmp_path: Path, name: str
    ) -> None:
        states = np.array([[1, 0], [0, 3]], dtype=np.float32)
        path = tmp_path / name
        if path.suffix == ".npy":
            np.save(path, states)
        else:
            save_file({"hidden_states": states}, path)
        found = isologit("classes", model, "--state", path, "--index", 1, "--json").json
        assert (found["state"]["kind"], found["logits"]["mode"]["value"]) == ("file", 3)
        assert found["logits"]["mode"]["token_ids"] == [1, 2]
        both = isologit("classes", model, "--state", path, "--json").json
        assert (both["state"], both["logits"]) == (None, None)
        assert (both["states"]["n"], both["states"]["file"]) == (2, str(path))

    def test_it_is_rounded_once_to_the_compute_format(self, model: Path) -> None:
        # 1 + 2^-8 + 2^-30 is nearer to 1 + 2^-7 in bf16; through binary32 it would be a tie.
        values = np.array([1 + 2.0**-8 + 2.0**-30, 0])
        found, _ = classes(str(model), Settings(logit_format=F32), at=FileState(values, "test"))
        assert found.logits is not None
        assert found.logits.max == 1 + 2.0**-7

    def test_of_another_width_it_is_refused(self, model: Path) -> None:
        with pytest.raises(
            StateError, match="a state of 3 values; this model's hidden state has 2"
        ):
            classes(str(model), at=FileState(np.ones(3), "h.npy"))


class TestPoles:
    """A state on the sphere of principal axes."""

    def test_without_a_distance_it_is_as_long_as_the_class_there(self, tmp_path: Path) -> None:
        model = write_matrix(tmp_path / "m", gaussian(200, 12, seed=9), "f32")
        settings = Settings(logit_format=BF16)
        found, _ = classes(str(model), settings, at=Pole(20.0, -35.0))
        assert found.cluster is not None
        assert found.centroid is not None
        assert found.state is not None
        assert found.cluster.method == "pole"
        # Rounded in each coordinate, hence not exactly as long.
        assert found.state.norm == pytest.approx(found.centroid.member_norm.mean, rel=1e-6)
        assert found.reference is not None
        assert (found.reference.kind, found.reference.axes) == ("pole", [2, 1, 3])

    def test_flipping_an_axis_mirrors_the_place(self, tmp_path: Path) -> None:
        model = str(write_matrix(tmp_path / "m", gaussian(200, 12, seed=9)))
        here, _ = classes(model, at=Pole(20.0, -35.0, 1.0, (2, 1, 3)))
        mirrored, _ = classes(model, at=Pole(-20.0, 35.0, 1.0, (-2, 1, -3)))
        elsewhere, _ = classes(model, at=Pole(20.0, -35.0, 1.0, (2, 1, -3)))
        assert here.state is not None
        assert mirrored.state is not None
        assert elsewhere.state is not None
        assert here.state.sha256 == mirrored.state.sha256 != elsewhere.state.sha256

    def test_a_state_at_a_pole_is_no_longer_than_asked(self, tmp_path: Path) -> None:
        model = write_llama(tmp_path / "m", gaussian(60, 4, seed=2), "f32")
        found = isologit("classes", model, "--pole", "0,0,3", "--json").json
        assert found["state"]["norm"] == pytest.approx(3, rel=1e-6)
        assert found["state"]["reachable"] is False
        assert found["state"]["norm_ratio"] == pytest.approx(1.5, rel=1e-6)


def test_members_in_any_order_are_one_set(tmp_path: Path) -> None:
    model = str(write_matrix(tmp_path / "m", made_up()))
    first, _ = classes(model, at=Members([3, 1, 2], "here"))
    second, _ = classes(model, at=Members(np.array([1, 2, 3]), "here"))
    assert first == second


def test_ids_outside_are_refused_before_anything_is_computed(tmp_path: Path) -> None:
    model = str(write_matrix(tmp_path / "m", made_up()))
    steps: list[str] = []
    with pytest.raises(TokenIdError):
        classes(model, at=Members([1, V], "here"), progress=steps.append)
    assert not steps
