"""What transformers makes of a `generation_config.json`, of a mask, and of rows without a token.

What docs/masking-and-reusing-ids.md says of transformers is held here.
"""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from documentation.blocks import the_block
from exportables import PADDING, V, columns, small
from isologit.checkpoint.open import open_checkpoint
from isologit.exportable import generation_config
from isologit.output.exports import FORMATS, Request
from isologit.selection import select

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PROMPT = [1, 320, 275]


@pytest.fixture
def model(shared: Path, tmp_path: Path) -> Path:
    """A copy of a real model, to which files may be added."""
    return Path(shutil.copytree(shared / "checkpoints" / "llama2xs-hf-bf16", tmp_path / "m"))


def suppressing(ids: str, **config: Any) -> str:
    """Return a config that suppresses some ids of the model, whose rows are 512."""
    of = small(columns())
    selection = select(of.columns, [ids])
    text: Any = FORMATS["transformers"].write(Request(of, selection, config))
    return str(text)


def loaded(model: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(model)


def scores(network: Any, **settings: Any) -> Any:
    """Return the scores of the first token that a model generates, ``[V]``."""
    found = network.generate(
        torch.tensor([PROMPT]),
        max_new_tokens=1,
        do_sample=False,
        pad_token_id=0,
        output_scores=True,
        return_dict_in_generate=True,
        **settings,
    )
    return found.scores[0][0]


def test_the_processor_forbids_exactly_what_was_selected() -> None:
    config = json.loads(suppressing("padding"))
    processor = transformers.SuppressTokensLogitsProcessor(config["suppress_tokens"])
    logits = torch.linspace(-2, 2, V)[None]
    found = processor(torch.tensor([[1]]), logits)
    assert torch.isneginf(found[0]).nonzero().flatten().tolist() == PADDING
    assert torch.equal(found[0, :64], logits[0, :64])


def test_a_model_never_generates_what_its_config_suppresses(model: Path) -> None:
    network = loaded(model)
    favourite = int(scores(network).argmax())
    current = generation_config(open_checkpoint(str(model)))
    (model / "generation_config.json").write_text(suppressing("id:5-69", **current))
    network = loaded(model)
    found = scores(network)
    assert torch.isneginf(found).nonzero().flatten().tolist() == list(range(5, 70))
    assert int(found.argmax()) == favourite
    # The model still knows where its text ends.
    assert network.generation_config.eos_token_id == 2


def test_a_config_with_nothing_else_in_it_hides_where_text_ends(model: Path) -> None:
    assert loaded(model).generation_config.eos_token_id == 2
    (model / "generation_config.json").write_text(suppressing("id:5"))
    assert loaded(model).generation_config.eos_token_id is None


def test_what_a_model_s_own_config_has_is_kept(model: Path) -> None:
    path = model / "generation_config.json"
    own = {"eos_token_id": [2, 7], "max_new_tokens": 3, "suppress_tokens": [511], "top_k": 7}
    path.write_text(json.dumps(own))
    path.write_text(suppressing("id:5", **generation_config(open_checkpoint(str(model)))))
    found = transformers.GenerationConfig.from_pretrained(model)
    assert found.suppress_tokens == [5, 511]
    assert (found.eos_token_id, found.max_new_tokens, found.top_k) == ([2, 7], 3, 7)


def test_a_mask_of_bits_forbids_what_was_selected() -> None:
    """By shifts, as the grammar backends' torch code does it."""
    of = small()
    raw: Any = FORMATS["bitmask"].write(Request(of, select(of.columns, ["padding"])))
    words = torch.from_numpy(np.load(io.BytesIO(raw)))
    bits = (words.repeat_interleave(32, dim=1) >> torch.arange(32).repeat(words.shape[1])) & 1
    assert (bits[0, :V] == 0).nonzero().flatten().tolist() == PADDING


class TestForGood:
    """What ends the problem, and what does not."""

    def test_resizing_to_the_tokenizer_removes_the_rows_and_the_config_follows(
        self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        network = loaded(model)
        before = network.lm_head.weight[:500].detach().clone()
        block = the_block("docs/masking-and-reusing-ids.md", "python")
        monkeypatch.chdir(tmp_path)
        exec(compile(block.text, block.page, "exec"), {"model": network, "next_new_id": 500})
        config = json.loads((tmp_path / "cut" / "config.json").read_text())
        assert config["vocab_size"] == 500
        again = loaded(tmp_path / "cut")
        assert torch.equal(again.lm_head.weight, before)
        assert scores(again).shape == (500,)

    def test_a_smaller_vocab_size_alone_does_not_load(self, model: Path) -> None:
        path = model / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"vocab_size": 500}))
        with pytest.raises(RuntimeError, match="mismatch"):
            loaded(model)

    def test_new_tokens_take_the_rows_behind_the_tokenizer_in_order(self) -> None:
        tokenizer = _tokenizer({"a": 0, "b": 1, "<unk>": 2})
        tokenizer.add_tokens(["x", "a", "y"])
        assert tokenizer.convert_tokens_to_ids(["x", "a", "y"]) == [3, 0, 4]

    def test_new_tokens_of_a_vocabulary_with_holes_can_take_an_id_that_is_in_use(self) -> None:
        # Three entries, so it counts from 3, which c has.
        tokenizer = _tokenizer({"a": 0, "<unk>": 1, "c": 3})
        tokenizer.add_tokens(["x"])
        assert tokenizer.convert_tokens_to_ids(["x", "c"]) == [3, 3]


def _tokenizer(vocabulary: dict[str, int]) -> Any:
    from tokenizers import Tokenizer, models

    library = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=library, unk_token="<unk>")
