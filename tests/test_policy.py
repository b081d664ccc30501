"""Policies: what is read, what is misuse, and what is of the wrong kind."""

from decimal import Decimal
from pathlib import Path

import pytest

from isologit.errors import PolicyError
from isologit.policy import Policy, read_policy
from isologit.rules import RULES

WHOLE = """
[rules]
template-tokens-trained = true
max-padding-rows = 267
ordinary-tokens-share-no-row = true
no-new-row-classes-since = "org/base@rev"
max-redundant-rows-percent = 0.57
no-nonfinite-rows = true
tokenizer-ids-have-rows = false

[allow]
template-tokens-trained = [151643, 151645]

[when-unknown]
template-tokens-trained = "pass"
max-padding-rows = "fail"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "policy.toml"


def read(path: Path, text: str) -> Policy:
    path.write_text(text, encoding="utf-8")
    return read_policy(path)


def test_a_policy_is_the_rules_that_are_on_with_their_values(path: Path) -> None:
    policy = read(path, WHOLE)
    assert list(policy.rules) == list(RULES)[:-1]
    settings = {name: asked.setting for name, asked in policy.rules.items()}
    assert settings["max-padding-rows"] == 267
    assert settings["no-nonfinite-rows"] is True
    assert policy.rules["template-tokens-trained"].allow == {151643, 151645}
    assert policy.rules["no-nonfinite-rows"].allow == frozenset()
    assert policy.pass_unknown == {"template-tokens-trained"}
    assert policy.base == "org/base@rev"
    assert policy.of_evidence


def test_rules_are_told_in_one_order_whatever_the_order_of_the_file(path: Path) -> None:
    policy = read(path, "[rules]\nno-nonfinite-rows = true\nmax-padding-rows = 0\n")
    assert list(policy.rules) == ["max-padding-rows", "no-nonfinite-rows"]
    assert policy.base is None
    assert not policy.of_evidence


def test_a_percentage_is_the_decimals_that_are_written(path: Path) -> None:
    asked = read(path, WHOLE).rules["max-redundant-rows-percent"]
    assert asked.setting == Decimal("0.57")
    whole = read(path, "[rules]\nmax-redundant-rows-percent = 2\n")
    assert whole.rules["max-redundant-rows-percent"].setting == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[rules]\nmax-paddign-rows = 1", "did you mean max-padding-rows? known are"),
        ("[rules]\nmax_padding_rows = 1", "did you mean max-padding-rows?"),
        ("[rules]\nNO-NONFINITE-ROWS = true", "did you mean no-nonfinite-rows?"),
        ("[rules]\nzebra = 1", "there is no rule zebra for rules; known are template-tokens-tra"),
        ("[rule]\nmax-padding-rows = 1", "rule is no part of a policy; did you mean rules?"),
        ("max-padding-rows = 1", "it is a rule, and belongs under [rules]"),
        ("[allow]\nno-nonfinite-row = [1]", "did you mean no-nonfinite-rows?"),
        ("[when-unknown]\nx = 'pass'", "there is no rule x for when-unknown; known are"),
        ("[allow]\nmax-padding-rows = [1]", "has a limit of its own in place of allow"),
        ("[allow]\nmax-redundant-rows-percent = []", "has a limit of its own in place of allow"),
        ("", "a gate that checks nothing lets everything through; rules are template-tokens-"),
        ("[rules]\nmax-padding-rows = false", "no rule that is on"),
        ("[allow]\nno-nonfinite-rows = [1]", "no rule that is on"),
    ],
)
def test_misuse_is_told_with_what_is_known(path: Path, text: str, told: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read(path, text)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)
    assert not isinstance(caught.value, PolicyError)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[rules", "is no TOML: "),
        ("[rules]\nmax-padding-rows = 1\nmax-padding-rows = 2", "is no TOML: "),
        ("[rules]\nx = " + "[" * 2000, "no policy needs"),
        ("[rules]\nx = " + "9" * 5000, "no policy needs"),
        ("rules = 3", "rules is 3; expected a table, [rules]"),
        ("[rules]\nmax-padding-rows = true", "rules.max-padding-rows is true; expected an integer"),
        ("[rules]\nmax-padding-rows = -1", "is -1; expected an integer from 0 on, or false"),
        ("[rules]\nmax-padding-rows = 1.0", "is 1.0; expected an integer"),
        ('[rules]\nmax-padding-rows = "1"', 'is "1"; expected an integer'),
        ("[rules]\nmax-redundant-rows-percent = 101", "is 101; expected a number from 0 to 100"),
        ("[rules]\nmax-redundant-rows-percent = nan", "expected a number from 0 to 100"),
        ("[rules]\nmax-redundant-rows-percent = inf", "expected a number from 0 to 100"),
        ("[rules]\nmax-redundant-rows-percent = true", "is true; expected a number"),
        ("[rules]\nno-nonfinite-rows = 1", "is 1; expected true or false"),
        ('[rules]\nno-nonfinite-rows = "yes"', 'is "yes"; expected true or false'),
        ("[rules]\nno-new-row-classes-since = true", "is true; expected the name of a model"),
        ('[rules]\nno-new-row-classes-since = " "', "expected the name of a model"),
        ("[allow]\nno-nonfinite-rows = 3", "allow.no-nonfinite-rows is 3; expected a list of tok"),
        ("[allow]\nno-nonfinite-rows = [true]", "expected a list of token ids"),
        ("[allow]\nno-nonfinite-rows = [-1]", "expected a list of token ids"),
        ("[when-unknown]\nno-nonfinite-rows = true", 'is true; expected "fail" or "pass"'),
        ('[when-unknown]\nno-nonfinite-rows = "warn"', 'is "warn"; expected "fail" or "pass"'),
    ],
    ids=lambda value: value[:40],
)
def test_a_value_of_the_wrong_kind_is_an_error_of_the_policy(
    path: Path, text: str, told: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        read(path, text)
    assert told in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_policy_that_cannot_be_read_is_an_error_of_the_policy(path: Path) -> None:
    with pytest.raises(PolicyError, match="No such file or directory"):
        read_policy(path)
    with pytest.raises(PolicyError, match="cannot be read: Is a directory"):
        read_policy(path.parent)
    path.write_bytes(b"\xff")
    with pytest.raises(PolicyError, match="is not UTF-8"):
        read_policy(path)
