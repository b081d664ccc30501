"""Names that say reserved or unused, as published vocabularies write them, and others."""

import pytest

from isologit.tokens.names import is_reserved_name


@pytest.mark.parametrize(
    "name",
    [
        *("[unused0]", "<unused99>", "<|unused_7|>", "<unused_0>", "[UNUSED_TOKEN_145]"),
        *(">>UNUSED_221<<", "<|reserved_special_token_250|>", "<|reserved_200017|>"),
        *("<reserved_106>", "<|reserved_token_163602|>", "<|placeholder1|>", "<|dummy_85|>"),
        *("<｜place▁holder▁no▁0｜>", "<|place_holder_no_799|>", "<|extra_0|>", "<EXTRA_0>"),
        *("<|EXTRA_0_TOKEN|>", "<SPECIAL_20>", "[control_8]", "<[PLHD12_never_used]>"),
        "<|vision_reserved_special_token_1|>",
    ],
)
def test_reserved_names_are_known(name: str) -> None:
    assert is_reserved_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("unused", " unused", "Ġreserved", "<s>", "</s>", "<|im_start|>", "<think>", "[INST]"),
        *("<extra_id_0>", "<0x0A>", "<|endoftext|>", "<pad>", "[MASK]", "<unk>", "", "<", "<>"),
        *("<|fim_prefix|>", "<special>", "<control>", "(unused)", "<unused", "unused>"),
        *("<html class=unused>x", "<tool_call>", "<|vision_start|>", "<unus\ned>"),
    ],
)
def test_other_names_are_not(name: str) -> None:
    assert not is_reserved_name(name)
