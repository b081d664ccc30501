"""Each rule, kept and broken, on small models as they are published, and on the embedded one."""

import json
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken

from chat_models import (
    CONFIG,
    END,
    EXTRA,
    N_PADDING,
    N_ROWS,
    ORDINARY,
    START,
    UNREACHABLE,
    Rows,
    rows,
    write_chat_model,
)
from checkpoints import gaussian, write_llama, write_tensors
from cli.command import isologit
from isologit import checking
from isologit.checking import Check, check
from isologit.demo import checkpoint_path, load_training_record
from isologit.errors import CheckpointError, CheckpointNotFoundError, ResultsError, TokenizerError
from isologit.policy import Policy
from isologit.rule_facts import Asked, RuleResult, Setting
from isologit.rules import RULES
from isologit.subject import Settings
from tokens.small_tokenizers import byte_level, save


def policy_of(
    name: str,
    setting: Setting = True,
    *,
    allow: tuple[int, ...] = (),
    pass_unknown: bool = False,
    beside: Path = Path(),
) -> Policy:
    asked = {name: Asked(setting, frozenset(allow))}
    return Policy(beside / "policy.toml", asked, frozenset([name] if pass_unknown else []))


def judged(model: Path, name: str, setting: Setting = True, **options: Any) -> RuleResult:
    """Return what became of one rule."""
    found = check(str(model), policy_of(name, setting, **options))
    (result,) = found.rules
    assert (result.rule, result.setting) == (
        name,
        float(setting) if isinstance(setting, Decimal) else setting,
    )
    assert found.passed is result.passed
    return result


def ids(result: RuleResult) -> list[int | None]:
    return [token.id for token in result.tokens]


def with_equal(*groups: tuple[int, ...], n_rows: int = N_ROWS) -> Rows:
    """Return rows of which some groups are equal."""
    values = rows(n_rows)
    for first, *others in groups:
        values[others] = values[first]
    return values


class TestTemplateTokens:
    """No special token of the chat template is duplicated, untrained or padding."""

    NAME = "template-tokens-trained"

    def test_distinct_rows_like_all_others_keep_it(self, tmp_path: Path) -> None:
        result = judged(write_chat_model(tmp_path / "m"), self.NAME)
        assert (result.passed, result.evaluated, result.tokens) == (True, True, [])
        assert result.message.startswith("of 2 tokens that a chat needs each has a row of its own")

    def test_a_duplicate_breaks_it(self, tmp_path: Path) -> None:
        model = write_chat_model(tmp_path / "m", with_equal((5, START, 7), (6, EXTRA)))
        result = judged(model, self.NAME)
        assert (result.passed, ids(result)) == (False, [START])
        assert result.tokens[0].token == '"<|start|>"'
        assert (result.tokens[0].why or "").startswith("duplicated: 2 other tokens with its row")
        assert result.message.startswith("of 2 tokens that a chat needs 1 is duplicated")

    def test_an_untrained_row_breaks_it_and_says_why(self, tmp_path: Path) -> None:
        model = self.embedded(tmp_path, chat_template="<|fim_prefix|>{{ eos_token }}")
        result = judged(model, self.NAME)
        assert (result.passed, ids(result)) == (False, [1, 2])
        for token, who in zip(result.tokens, ("pad: ", ""), strict=True):
            assert (token.why or "").startswith(f"{who}duplicated: ")
            assert "; untrained (strong): " in (token.why or "")
        assert "<|fim_prefix|>" in (result.tokens[1].token or "")

    def test_an_untrained_row_of_its_own_breaks_it_too(self, tmp_path: Path) -> None:
        never_seen = load_training_record().never_seen_ids
        model = self.embedded(tmp_path, chat_template="")
        weights = model / "model.safetensors"
        content = bytearray(weights.read_bytes())
        # The last bit of one number makes the padding token's row unlike every other.
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        offset = start + header["model.embed_tokens.weight"]["data_offsets"][0] + 1 * 96 * 2
        content[offset] ^= 1
        weights.write_bytes(content)
        result = judged(model, self.NAME)
        assert 1 in never_seen
        assert ids(result) == [1]
        assert "untrained" in (result.tokens[0].why or "")
        assert "duplicated" not in (result.tokens[0].why or "")

    def embedded(self, tmp_path: Path, *, chat_template: str) -> Path:
        """Copy the embedded checkpoint, and give it a chat template."""
        model = tmp_path / "m"
        shutil.copytree(checkpoint_path(), model)
        path = model / "tokenizer_config.json"
        config = json.loads(path.read_text()) | {"chat_template": chat_template}
        path.write_text(json.dumps(config))
        return model

    def test_a_token_that_the_tokenizer_lacks_breaks_it(self, tmp_path: Path) -> None:
        model = write_chat_model(tmp_path / "m", config=CONFIG | {"pad_token": "<|pad|>"})
        result = judged(model, self.NAME)
        assert [(t.id, t.token, t.why) for t in result.tokens] == [
            (None, '"<|pad|>"', "pad: the tokenizer has no such token")
        ]
        assert not result.passed

    def test_a_token_beyond_the_rows_breaks_it(self, tmp_path: Path) -> None:
        model = write_chat_model(tmp_path / "m", rows(END))
        result = judged(model, self.NAME)
        assert [(t.id, t.token, t.why) for t in result.tokens] == [
            (END, '"<|end|>"', f"eos: W has no row for it; the last is {END - 1}")
        ]

    def test_tokens_that_the_policy_allows_do_not_break_it(self, tmp_path: Path) -> None:
        model = write_chat_model(tmp_path / "m", with_equal((START, END)))
        assert ids(judged(model, self.NAME)) == [START, END]
        one = judged(model, self.NAME, allow=(START,))
        assert (one.passed, ids(one), one.allowed) == (False, [END], [START])
        both = judged(model, self.NAME, allow=(START, END))
        assert (both.passed, both.tokens, both.allowed) == (True, [], [START, END])
        assert both.message.endswith('; allowed by the policy: 258 "<|start|>", 259 "<|end|>"')

    def test_without_a_template_it_cannot_be_told(self, tmp_path: Path) -> None:
        model = write_chat_model(tmp_path / "m", config={"eos_token": "<|end|>"})
        result = judged(model, self.NAME)
        assert (result.passed, result.evaluated) == (False, False)
        assert result.message == "cannot be told: there is no chat template"
        lenient = judged(model, self.NAME, pass_unknown=True)
        assert (lenient.passed, lenient.evaluated) == (True, False)
        assert lenient.message.endswith("; the policy lets that pass")

    def test_a_template_without_a_token_leaves_it_untold(self, tmp_path: Path) -> None:
        config = {"chat_template": "{% for m in messages %}### {{ m.role }}{% endfor %}"}
        result = judged(write_chat_model(tmp_path / "m", config=config), self.NAME)
        assert (result.passed, result.evaluated) == (False, False)
        assert result.message == (
            "cannot be told: the chat template writes no special token that is seen, and bos, eos "
            "and pad are not named"
        )

    def test_without_a_template_the_end_of_text_can_break_it_all_the_same(
        self, tmp_path: Path
    ) -> None:
        values = with_equal((5, END))
        model = write_chat_model(tmp_path / "m", values, {"eos_token": "<|end|>"})
        result = judged(model, self.NAME, pass_unknown=True)
        assert (result.passed, result.evaluated, ids(result)) == (False, True, [END])
        assert "there is no chat template" in result.message


class TestPaddingRows:
    """Padding rows are at most n."""

    NAME = "max-padding-rows"

    def test_the_limit_itself_keeps_it_and_one_less_does_not(self, tmp_path: Path) -> None:
        model = write_chat_model(tmp_path / "m")
        kept = judged(model, self.NAME, N_PADDING)
        assert (kept.passed, kept.tokens) == (True, [])
        assert kept.message == "3 padding rows, where up to 3 may be"
        broken = judged(model, self.NAME, N_PADDING - 1)
        assert (broken.passed, ids(broken)) == (False, list(range(EXTRA + 1, N_ROWS)))
        assert broken.tokens[0].token == "no token"


class TestOrdinaryTokens:
    """No ordinary reachable token shares a row."""

    NAME = "ordinary-tokens-share-no-row"

    def test_others_may_share_theirs(self, tmp_path: Path) -> None:
        values = with_equal((3, UNREACHABLE, START, N_ROWS - 1))
        assert judged(write_chat_model(tmp_path / "m", values), self.NAME).passed

    def test_an_ordinary_one_may_not(self, tmp_path: Path) -> None:
        model = write_chat_model(tmp_path / "m", with_equal((ORDINARY, UNREACHABLE)))
        result = judged(model, self.NAME)
        assert (result.passed, ids(result)) == (False, [ORDINARY])
        assert result.tokens[0].why == "1 other token with its row"
        assert result.message == "1 ordinary token with the row of another"
        assert judged(model, self.NAME, allow=(ORDINARY,)).passed

    def test_the_embedded_checkpoint_breaks_it_with_tokens_it_never_saw(self) -> None:
        result = judged(checkpoint_path(), self.NAME)
        assert not result.passed
        assert set(ids(result)) <= set(load_training_record().never_seen_ids)

    def test_a_model_of_distinct_rows_keeps_it(self, shared: Path) -> None:
        assert judged(shared / "checkpoints" / "llama2xs-hf-bf16", self.NAME).passed
        assert judged(shared / "checkpoints" / "llama2xs-Q8_0.gguf", self.NAME).passed


class TestNewRowClasses:
    """No row class is new since BASE."""

    NAME = "no-new-row-classes-since"

    @pytest.fixture
    def base(self, tmp_path: Path) -> Path:
        return write_chat_model(tmp_path / "base", with_equal((1, 2, 3), (8, 9)))

    @pytest.fixture(params=["model", "directory"])
    def named(self, request: pytest.FixtureRequest, tmp_path: Path, base: Path) -> str:
        """Return BASE as a model, and as what an audit of it wrote."""
        if request.param == "model":
            return str(base)
        assert isologit("audit", base, "-o", tmp_path / "results").code == 0
        return str(tmp_path / "results")

    @pytest.mark.parametrize(
        ("groups", "new"),
        [
            ([(1, 2, 3), (8, 9)], []),
            # Classes that shrank, or are gone.
            ([(1, 3)], []),
            ([], []),
            ([(20, 21)], [20, 21]),
            # A class that grew: what came to it.
            ([(1, 2, 3, 50)], [50]),
            # Two that became one: the smaller is what came.
            ([(1, 2, 3, 8, 9)], [8, 9]),
            ([(1, 2, 8, 9)], [8, 9]),
            # One of each.
            ([(1, 8)], [1, 8]),
            ([(20, 21), (9, 30, 31)], [9, 20, 21, 30, 31]),
        ],
    )
    def test_what_came_together_since_is_new(
        self, tmp_path: Path, named: str, groups: list[tuple[int, ...]], new: list[int]
    ) -> None:
        model = write_chat_model(tmp_path / "m", with_equal(*groups))
        result = judged(model, self.NAME, named)
        assert (result.passed, ids(result)) == (not new, new)

    def test_rows_beyond_those_of_base_were_with_none(self, tmp_path: Path, base: Path) -> None:
        values = with_equal((N_ROWS, N_ROWS + 1), (1, 2, N_ROWS + 2), n_rows=N_ROWS + 4)
        result = judged(write_chat_model(tmp_path / "m", values), self.NAME, str(base))
        assert ids(result) == [N_ROWS, N_ROWS + 1, N_ROWS + 2]
        assert result.message == "3 tokens new to a row class since BASE"

    def test_the_first_row_beyond_is_not_taken_for_the_last_of_base(self, tmp_path: Path) -> None:
        base = write_chat_model(tmp_path / "distinct")
        values = with_equal((N_ROWS - 1, N_ROWS), n_rows=N_ROWS + 1)
        result = judged(write_chat_model(tmp_path / "m", values), self.NAME, str(base))
        assert ids(result) == [N_ROWS - 1, N_ROWS]

    def test_of_a_model_with_fewer_rows_those_that_are_left_count(
        self, tmp_path: Path, base: Path
    ) -> None:
        values = with_equal((1, 2), (20, 21), n_rows=100)
        result = judged(write_llama(tmp_path / "m", values, "f32"), self.NAME, str(base))
        assert ids(result) == [20, 21]

    def test_what_is_allowed_does_not_break_it(self, tmp_path: Path, base: Path) -> None:
        model = write_chat_model(tmp_path / "m", with_equal((20, 21)))
        assert ids(judged(model, self.NAME, str(base), allow=(20,))) == [21]
        assert judged(model, self.NAME, str(base), allow=(20, 21)).passed

    def test_base_is_looked_for_beside_the_policy(
        self, tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = write_chat_model(tmp_path / "m", with_equal((1, 2, 3), (8, 9)))
        monkeypatch.chdir(tmp_path.parent)
        assert judged(model, self.NAME, "base", beside=tmp_path).passed
        assert judged(model, self.NAME, f"./{base.name}", beside=tmp_path).passed

    def test_a_base_that_cannot_be_read_is_an_error_and_no_verdict(self, tmp_path: Path) -> None:
        model = write_chat_model(tmp_path / "m")
        with pytest.raises(CheckpointNotFoundError, match=r"^BASE of .*policy.toml: "):
            judged(model, self.NAME, str(tmp_path / "nowhere"))
        for name in ("x" * 5000, "x\0y"):
            with pytest.raises(CheckpointError, match=r"^BASE of "):
                judged(model, self.NAME, name)
        damaged = tmp_path / "results"
        damaged.mkdir()
        (damaged / "summary.json").write_text("{}")
        (damaged / "tokens.parquet").write_bytes(b"PAR1")
        with pytest.raises(ResultsError, match=r"^BASE of "):
            judged(model, self.NAME, str(damaged))

    def test_results_of_the_other_matrix_are_none_to_compare_with(
        self, tmp_path: Path, base: Path
    ) -> None:
        assert isologit("audit", base, "--role", "input", "-o", tmp_path / "results").code == 0
        with pytest.raises(ResultsError, match=r"is of the input matrix.* --role output$"):
            judged(base, self.NAME, str(tmp_path / "results"))

    def test_it_needs_no_tokenizer(self, tmp_path: Path, base: Path) -> None:
        model = write_llama(tmp_path / "m", with_equal((1, 2)), "f32")
        assert judged(model, self.NAME, str(base)).passed


class TestRedundantRows:
    """Redundant rows are at most x %."""

    NAME = "max-redundant-rows-percent"

    def test_the_limit_itself_keeps_it_and_less_does_not(self, tmp_path: Path) -> None:
        model = write_llama(tmp_path / "m", with_equal((0, 1, 2), (7, 9), n_rows=100))
        kept = judged(model, self.NAME, Decimal(3))
        assert (kept.passed, kept.tokens) == (True, [])
        assert kept.message == "3 redundant rows of 100: 3 %, where up to 3 % may be"
        broken = judged(model, self.NAME, Decimal("2.99"))
        assert (broken.passed, ids(broken)) == (False, [1, 2, 9])
        assert not judged(model, self.NAME, Decimal(0)).passed

    def test_the_limit_is_taken_in_decimals(self, tmp_path: Path) -> None:
        # In binary 0.57 · 10,000 is 5,699.999…, and 57 rows would be too many.
        values = gaussian(10_000, 4)
        values[1:58] = values[0]
        model = write_llama(tmp_path / "m", values, "f32")
        assert judged(model, self.NAME, Decimal("0.57")).passed
        assert not judged(model, self.NAME, Decimal("0.5699")).passed


class TestNonfiniteRows:
    """No row holds a NaN or an infinity."""

    NAME = "no-nonfinite-rows"

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_each_breaks_it(self, tmp_path: Path, value: float) -> None:
        values = rows()
        values[START, 3] = values[7, 0] = value
        result = judged(write_chat_model(tmp_path / "m", values), self.NAME)
        assert (result.passed, ids(result)) == (False, [7, START])
        assert result.message == "2 rows with an infinity or a NaN"
        assert judged(tmp_path / "m", self.NAME, allow=(7, START)).passed

    def test_finite_ones_keep_it_and_no_tokenizer_is_needed(self, tmp_path: Path) -> None:
        assert judged(write_llama(tmp_path / "m", rows()), self.NAME).passed

    def test_a_row_counts_with_its_bias(self, tmp_path: Path) -> None:
        bias = np.zeros(30)
        bias[4] = np.nan
        tensors = {"lm_head.weight": gaussian(30, 4), "lm_head.bias": bias}
        config = {"model_type": "phi", "vocab_size": 30, "tie_word_embeddings": False}
        model = write_tensors(tmp_path / "m", tensors, "f32", config=config)
        assert ids(judged(model, self.NAME)) == [4]


class TestTokenizerIds:
    """Each id of the tokenizer has a row."""

    NAME = "tokenizer-ids-have-rows"

    def test_as_many_rows_keep_it_and_fewer_do_not(self, tmp_path: Path) -> None:
        assert judged(write_chat_model(tmp_path / "m", rows(EXTRA + 1)), self.NAME).passed
        result = judged(write_chat_model(tmp_path / "n", rows(END)), self.NAME)
        assert (result.passed, ids(result)) == (False, [END, EXTRA])
        assert [token.token for token in result.tokens] == ['"<|end|>"', '"<|extra|>"']
        assert judged(tmp_path / "n", self.NAME, allow=(END, EXTRA)).passed


OF_TOKENS: dict[str, Setting] = {
    "template-tokens-trained": True,
    "max-padding-rows": 10**6,
    "ordinary-tokens-share-no-row": True,
    "tokenizer-ids-have-rows": True,
}


class TestWithoutATokenizer:
    """What cannot be told never passes by itself."""

    @pytest.mark.parametrize(("name", "setting"), OF_TOKENS.items())
    def test_a_rule_that_needs_one_fails_and_says_why(
        self, tmp_path: Path, name: str, setting: Setting
    ) -> None:
        model = write_llama(tmp_path / "m", rows())
        result = judged(model, name, setting)
        assert (result.passed, result.evaluated, result.tokens) == (False, False, [])
        assert result.message.startswith("cannot be told: there is no tokenizer beside ")
        lenient = judged(model, name, setting, pass_unknown=True)
        assert (lenient.passed, lenient.evaluated) == (True, False)
        assert lenient.message.endswith("; the policy lets that pass")

    @pytest.mark.parametrize(("name", "setting"), OF_TOKENS.items())
    def test_one_that_is_damaged_is_as_good_as_none(
        self, tmp_path: Path, name: str, setting: Setting
    ) -> None:
        model = write_llama(tmp_path / "m", rows())
        (model / "tokenizer.json").write_text("{}")
        result = judged(model, name, setting)
        assert (result.passed, result.evaluated) == (False, False)
        assert "tokenizer.json" in result.message

    def test_one_that_the_user_names_has_to_be_there(self, tmp_path: Path) -> None:
        model = write_chat_model(tmp_path / "m")
        settings = Settings(tokenizer=str(write_llama(tmp_path / "other", rows())))
        with pytest.raises(TokenizerError):
            check(str(model), policy_of("max-padding-rows", 3), settings)

    def test_rules_that_need_none_are_told(self, tmp_path: Path) -> None:
        told = {name for name in RULES if name not in OF_TOKENS}
        model = write_llama(tmp_path / "m", rows())
        settings: dict[str, Setting] = {
            "no-new-row-classes-since": str(model),
            "no-nonfinite-rows": True,
        }
        for name in told:
            assert judged(model, name, settings.get(name, Decimal(5))).evaluated


def test_a_tokenizer_that_the_user_names_brings_its_own_template(tmp_path: Path) -> None:
    model = write_chat_model(tmp_path / "m", with_equal((5, EXTRA)))
    special = [AddedToken(text, special=True) for text in ("<|a|>", "<|b|>", "<|extra|>")]
    other = save(byte_level(["ab", "cd"], [("a", "b")], added=special), tmp_path / "other")
    (other / "tokenizer_config.json").write_text(json.dumps({"chat_template": "<|extra|>"}))
    policy = policy_of("template-tokens-trained")
    assert check(str(model), policy).passed
    (result,) = check(str(model), policy, Settings(tokenizer=str(other))).rules
    assert ids(result) == [EXTRA]


def test_a_header_does_not_speak_for_a_tokenizer_that_the_user_names(
    tmp_path: Path, shared: Path
) -> None:
    model = shared / "checkpoints" / "llama2xs-BF16.gguf"
    other = write_chat_model(tmp_path / "other")
    (result,) = check(
        str(model), policy_of("template-tokens-trained"), Settings(tokenizer=str(other))
    ).rules
    assert result.evaluated
    # The header has no template, and names the ids 1 and 2.
    assert "no chat template" not in result.message
    assert set(ids(result)) <= {START, END}


def test_a_gguf_header_tells_its_tokens(shared: Path) -> None:
    model = shared / "checkpoints" / "llama2xs-BF16.gguf"
    assert judged(model, "max-padding-rows", 0).passed
    assert judged(model, "tokenizer-ids-have-rows").passed
    assert "no chat template" in judged(model, "template-tokens-trained").message


def test_signs_of_no_training_are_looked_for_only_where_a_rule_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError

    model = write_chat_model(tmp_path / "m")
    monkeypatch.setattr(checking, "find_clusters", fail)
    assert judged(model, "max-padding-rows", 3).passed
    with pytest.raises(AssertionError):
        judged(model, "template-tokens-trained")


def test_ids_that_need_no_allowance_are_noted(tmp_path: Path) -> None:
    model = write_chat_model(tmp_path / "m", with_equal((START, END)))
    policy = policy_of("template-tokens-trained", allow=(START, END, 7, 99999))
    found = check(str(model), policy)
    assert found.passed
    assert found.notes == [
        "allow.template-tokens-trained holds ids that need no allowance: 7, 99999"
    ]


def test_one_broken_rule_of_many_breaks_the_policy(tmp_path: Path) -> None:
    model = write_chat_model(tmp_path / "m", with_equal((5, START)))
    every: dict[str, Setting] = {
        **OF_TOKENS,
        "no-new-row-classes-since": str(model),
        "max-redundant-rows-percent": Decimal(1),
        "no-nonfinite-rows": True,
    }
    asked = {name: Asked(every[name]) for name in RULES}
    found: Check = check(str(model), Policy(Path("policy.toml"), asked, frozenset()))
    assert not found.passed
    assert [result.rule for result in found.rules] == list(RULES)
    assert [result.rule for result in found.rules if not result.passed] == [
        "template-tokens-trained"
    ]
    assert (found.schema, found.policy) == ("isologit.check/1", "policy.toml")
    assert found.matrix.shape == [N_ROWS, 16]
