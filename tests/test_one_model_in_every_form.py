"""One real model in every form that people publish: one head, one answer.

The quantised forms are held against gguf's own dequantiser and numpy.
"""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize
from safetensors import safe_open

from cli.command import isologit
from isologit.audit import audit
from isologit.checkpoint.head import find_head
from isologit.checkpoint.open import open_checkpoint
from isologit.inspection import inspect
from isologit.numerics.formats import BF16, F16, F32, round_to
from isologit.output.json_text import to_json

# Each form, the format of its values, and whether the file says what family it is of.
FORMS = {
    "llama2xs-hf-f32": F32,
    "llama2xs-hf-bf16": BF16,
    "llama2xs-hf-bf16-untied-sharded": BF16,
    "llama2xs-BF16.gguf": BF16,
    "llama2xs-F16.gguf": F16,
}


@pytest.fixture
def exact(shared: Path) -> Any:
    """The head of the f32 checkpoint, which the others are rounded from, ``[V, d]``."""
    path = shared / "checkpoints" / "llama2xs-hf-f32" / "model.safetensors"
    with safe_open(path, "np") as file:
        return file.get_tensor("model.embed_tokens.weight").astype(np.float64)


@pytest.mark.parametrize("form", FORMS)
def test_every_plain_form_holds_the_same_head(shared: Path, exact: Any, form: str) -> None:
    head = find_head(open_checkpoint(shared / "checkpoints" / form))
    assert head.matrix.format is FORMS[form]
    np.testing.assert_array_equal(
        head.matrix.rows(range(head.matrix.n_tokens)), round_to(exact, FORMS[form])
    )
    assert head.norm.kind == "rms"
    assert head.norm.eps == pytest.approx(1e-5, rel=1e-7)
    assert head.norm.gamma is not None
    # A GGUF file keeps norms in f32, whatever the matrices are.
    norm_format = F32 if form.endswith(".gguf") else FORMS[form]
    whole = find_head(open_checkpoint(shared / "checkpoints" / "llama2xs-hf-f32")).norm.gamma
    assert whole is not None
    np.testing.assert_array_equal(head.norm.gamma, round_to(whole, norm_format))


# What names the file, and how it says that it is tied.
# The GGUF file's tokenizer has other names for bos and eos, and no scores.
OF_THE_FILE = ("model", "matrix", "head", "state", "tokens", "notes")


def test_a_bf16_gguf_has_the_figures_of_the_bf16_safetensors(shared: Path) -> None:
    first, second = (
        json.loads(to_json(audit(str(shared / "checkpoints" / name))[0]))
        for name in ("llama2xs-hf-bf16", "llama2xs-BF16.gguf")
    )
    for key in ("shape", "dtype", "values_dtype", "sha256", "tied", "role"):
        assert first["matrix"][key] == second["matrix"][key], key
    for key in ("kind", "norm", "h_dot_h", "sha256", "reachable", "token_ids"):
        assert first["state"][key] == second["state"][key], key
    assert first["head"]["norm"]["kind"] == second["head"]["norm"]["kind"] == "rms"
    for key in first.keys() - set(OF_THE_FILE):
        assert first[key] == second[key], key


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0"])
def test_a_quantised_head_is_what_gguf_itself_makes_of_it(shared: Path, name: str) -> None:
    path = shared / "checkpoints" / f"llama2xs-{name}.gguf"
    (stored,) = (t for t in gguf.GGUFReader(path).tensors if t.name == "token_embd.weight")
    values = dequantize(stored.data, stored.tensor_type).astype(np.float64)
    found = json.loads(to_json(audit(str(path))[0]))
    assert found["matrix"]["dtype"] == name.lower()
    assert found["matrix"]["values_dtype"] == found["arithmetic"]["logit_dtype"] == "f32"
    blocks = [row.tobytes() for row in np.asarray(stored.data)]
    assert found["rows"]["distinct"] == len(set(blocks))
    assert found["rows"]["distinct_values"] == len({row.tobytes() for row in values + 0.0})
    # Sums in binary64 of products that are exact there: off by far less than half of an f32's ulp
    # nearly everywhere, so that the extremes are the same numbers.
    members = found["cluster"]["token_ids"]
    centroid = values[members].mean(axis=0).astype(np.float32).astype(np.float64)
    logits = (values @ centroid).astype(np.float32)
    assert found["logits"]["min"] == pytest.approx(float(logits.min()), rel=2.0**-23)
    assert found["logits"]["max"] == pytest.approx(float(logits.max()), rel=2.0**-23)
    assert found["logits"]["mean"] == pytest.approx(float(logits.mean()), rel=1e-6)


def test_the_torch_pickle_holds_the_same_head(shared: Path, exact: Any) -> None:
    pytest.importorskip("torch")
    checkpoint = open_checkpoint(shared / "checkpoints" / "llama2xs-torch")
    head = find_head(checkpoint)
    assert head.tied
    assert "share one storage" in head.why
    np.testing.assert_array_equal(head.matrix.rows(range(512)), exact)


def test_arrays_of_numpy_hold_the_same_head(shared: Path, exact: Any, tmp_path: Path) -> None:
    expected = audit(str(shared / "checkpoints" / "llama2xs-hf-f32"))[0]
    np.save(tmp_path / "W.npy", exact.astype(np.float32))
    np.savez(tmp_path / "W.npz", W=exact.astype(np.float32), other=np.zeros(3, np.float32))
    np.savez_compressed(tmp_path / "packed.npz", head=exact.astype(np.float32))
    for name in ("W.npy", "W.npz", "packed.npz"):
        found = audit(str(tmp_path / name))[0]
        assert found.logits == expected.logits
        assert found.matrix.sha256 == expected.matrix.sha256


def test_binary64_is_rounded_once_and_compared_by_its_own_bits(
    shared: Path, exact: Any, tmp_path: Path
) -> None:
    wide = exact.copy()
    wide[3, 0] = np.nextafter(wide[2, 0], 9.0)
    wide[3, 1:] = wide[2, 1:]
    np.save(tmp_path / "W.npy", wide)
    found = audit(str(tmp_path / "W.npy"))[0]
    assert (found.matrix.dtype, found.matrix.values_dtype) == ("f64", "f32")
    assert (found.rows.distinct, found.rows.distinct_values) == (512, 511)
    assert found.rows.by_value is not None
    assert [group.token_ids for group in found.rows.by_value.largest] == [[2, 3]]
    assert any("figures are of its values rounded once to f32" in note for note in found.notes)


def test_inspect_leaves_the_matrix_as_the_seed_s_notebooks_load_it(
    shared: Path, tmp_path: Path
) -> None:
    for form in FORMS:
        target = tmp_path / form
        ran = isologit("inspect", shared / "checkpoints" / form, "--fetch", "-o", target)
        assert ran.code == 0, ran.err
        with safe_open(target / "W.safetensors", "np") as file:
            assert list(file.keys()) == ["W"]
            assert file.metadata()["stored_as"] == FORMS[form].name
        own = audit(str(target))[0]
        assert own.logits == audit(str(shared / "checkpoints" / form))[0].logits


def test_inspect_decodes_a_quantised_matrix(shared: Path, tmp_path: Path) -> None:
    path = shared / "checkpoints" / "llama2xs-Q4_0.gguf"
    assert isologit("inspect", path, "--fetch", "-o", tmp_path / "W").code == 0
    head = find_head(open_checkpoint(path))
    with safe_open(tmp_path / "W" / "W.safetensors", "np") as file:
        np.testing.assert_array_equal(file.get_tensor("W"), head.matrix.rows(range(512)))


def test_inspect_says_the_same_of_every_form(shared: Path) -> None:
    for form in FORMS:
        found = inspect(str(shared / "checkpoints" / form))
        assert found.matrix is not None
        assert found.head is not None
        assert found.matrix.shape == [512, 64]
        assert found.to_fetch == 0
        assert found.head.norm.gamma
