"""A policy: which rules a model has to keep, as a TOML file says it.

    [rules]
    max-padding-rows = 267
    template-tokens-trained = true

    [allow]                                # ids that are known, and not held against a rule
    template-tokens-trained = [151643]

    [when-unknown]                         # "fail", unless it says "pass"
    template-tokens-trained = "pass"

A rule that is false, or not there, is off. docs/gate-a-release.md explains each.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from isologit.checkpoint.wording import listed, shown
from isologit.errors import PolicyError
from isologit.rule_facts import Asked, Setting
from isologit.rules import RULES, Kind

_TABLES = ("rules", "allow", "when-unknown")
_ANSWERS = ("fail", "pass")
_EXPECTED: dict[Kind, str] = {
    "switch": "true or false",
    "count": "an integer from 0 on, or false",
    "percent": "a number from 0 to 100, or false",
    "base": "the name of a model or of a directory that isologit audit wrote, or false",
}


@dataclass(frozen=True)
class Policy:
    """Which rules a model has to keep.

    Parameters
    ----------
    path
        The file; a BASE that is a path is looked for beside it.
    rules
        What is asked, by rule, in the order of `RULES`; those that are off are not there.
    pass_unknown
        The rules that pass where it cannot be told whether they hold.
    """

    path: Path
    rules: Mapping[str, Asked]
    pass_unknown: frozenset[str]

    @property
    def base(self) -> str | None:
        """The BASE that row classes are held against, as the policy names it."""
        settings = (asked.setting for asked in self.rules.values())
        return next((each for each in settings if isinstance(each, str)), None)

    @property
    def of_evidence(self) -> bool:
        """Whether a rule needs the signs of no training."""
        return any(RULES[name].of_evidence for name in self.rules)


def read_policy(path: Path) -> Policy:
    """Read a policy.

    Raises
    ------
    PolicyError
        There is no such file, it is no TOML, or a value is of the wrong kind.
    ValueError
        It has a rule or a setting that is not known, or no rule that is on: a misuse, which the
        message explains.
    """
    where = shown(str(path))
    content = _toml(path, where)
    for name in content:
        _require_known(name, _TABLES, f"{where}: {shown(name)} is no part of a policy")
    tables = {name: _table(content.get(name, {}), name, where) for name in _TABLES}
    for table, entries in tables.items():
        for name in entries:
            _require_known(name, RULES, f"{where}: there is no rule {shown(name)} for {table}")
    allow = {name: _ids(value, name, where) for name, value in tables["allow"].items()}
    answers = {name: _answer(value, name, where) for name, value in tables["when-unknown"].items()}
    rules = {}
    for name, rule in RULES.items():
        setting = _setting(tables["rules"].get(name, False), name, rule.kind, where)
        if setting is not False:
            rules[name] = Asked(setting, allow.get(name, frozenset()))
    if not rules:
        raise ValueError(
            f"{where} has no rule that is on, and a gate that checks nothing lets everything "
            f"through; rules are {listed(RULES)}"
        )
    return Policy(path, rules, frozenset(n for n, answer in answers.items() if answer == "pass"))


def _toml(path: Path, where: str) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PolicyError(
            f"{where} cannot be read: {error.strerror or error}; expected a policy in TOML"
        ) from error
    except UnicodeDecodeError as error:
        raise PolicyError(f"{where} is not UTF-8; expected a policy in TOML") from error
    try:
        # Decimals stay as they are written: 0.1 % is one row of a thousand, and not less.
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{where} is no TOML: {shown(str(error))}") from error
    except (InvalidOperation, RecursionError, ValueError) as error:
        raise PolicyError(f"{where} holds a value that no policy needs; see its rules") from error


def _require_known(name: str, known: Mapping[str, Any] | tuple[str, ...], problem: str) -> None:
    if name in known:
        return
    if name in RULES:
        raise ValueError(f"{problem}; it is a rule, and belongs under [rules]")
    near = get_close_matches(name.replace("_", "-").lower(), known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ValueError(f"{problem}; {hint}known are {listed(known)}")


def _table(value: Any, name: str, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(name, value, f"a table, [{name}]", where)
    return value


def _setting(value: Any, name: str, kind: Kind, where: str) -> Setting:
    """Return a rule's value, of the type that its kind has."""
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    if value is False or (kind == "switch" and value is True):
        return bool(value)
    if kind == "count" and isinstance(value, int) and is_number and value >= 0:
        return value
    # A NaN of Decimal's cannot be compared.
    if kind == "percent" and is_number and Decimal(value).is_finite() and 0 <= value <= 100:
        return Decimal(value)
    if kind == "base" and isinstance(value, str) and value.strip():
        return value
    raise _wrong(f"rules.{name}", value, _EXPECTED[kind], where)


def _ids(value: Any, name: str, where: str) -> frozenset[int]:
    if not RULES[name].by_token:
        raise ValueError(f"{where}: {name} has a limit of its own in place of allow; raise that")
    if not isinstance(value, list) or not all(type(i) is int and i >= 0 for i in value):
        raise _wrong(f"allow.{name}", value, "a list of token ids, like [151643]", where)
    return frozenset(value)


def _answer(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str) or value not in _ANSWERS:
        raise _wrong(f"when-unknown.{name}", value, '"fail" or "pass"', where)
    return value


def _wrong(name: str, value: Any, expected: str, where: str) -> PolicyError:
    written = {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
    kind = f'"{written}"' if isinstance(value, str) else written
    return PolicyError(f"{where}: {name} is {shown(kind)}; expected {expected}")
