"""What ``check`` prints: a page, and the same with annotations, for the log of GitHub Actions.

The runner obeys whatever a job prints: a line that begins with ``::``, after white space, and
``##[`` anywhere in a line (actions/runner, src/Runner.Common/ActionCommand.cs). Token text is
hostile, so nothing that is printed for it holds either, but for the annotations themselves.
"""

import re

from rich.console import Group, RenderableType

from isologit.checking import Check
from isologit.checkpoint.wording import counted
from isologit.output.parts import lines, notes_section, text
from isologit.rule_facts import RuleResult, TokenAtFault

# Tokens of a rule that the page and an annotation show; --json lists them all.
_ON_THE_PAGE = 10
_IN_AN_ANNOTATION = 5

# The last sign of the older prefix, whatever invisible ones may stand inside of it.
_OLDER_PREFIX = re.compile(r"#(?=[^\x00-\x7f]*\[)")


def check_page(check: Check) -> RenderableType:
    """Return whether the policy is kept, each rule with its tokens, and the notes."""
    parts: list[RenderableType] = [text(_verdict(check), "bold")]
    for result in check.rules:
        parts += ["", text(_rule(result), _style(result)), *lines(_indented(result))]
    return Group(*parts, *notes_section(check.notes))


def github_log(check: Check) -> str:
    """Return the page as the runner takes it for text, and the annotations behind it."""
    told = [_verdict(check)]
    for result in check.rules:
        told += ["", _rule(result), *_indented(result)]
    if check.notes:
        told += ["", "Notes", *(f"• {note}" for note in check.notes)]
    return "\n".join([*map(_inert, told), *github_annotations(check), ""])


def github_annotations(check: Check) -> list[str]:
    """Return a workflow command for each rule that is broken, a line each.

    A step may have ten errors, and there are fewer rules.
    """
    commands = []
    for result in check.rules:
        if not result.passed:
            message = "\n".join(_inert(line) for line in _told(result, _IN_AN_ANNOTATION))
            title = _inert(f"isologit: {check.model.name} breaks {_named(result)}")
            commands.append(f"::error title={_property(title)}::{_data(message)}")
    return commands


def _verdict(check: Check) -> str:
    n, of = len(check.rules), f"of {check.policy}"
    if check.passed:
        untold = sum(not result.evaluated for result in check.rules)
        but = f", {untold} of which could not be told" if untold else ""
        return f"✓ {check.model.name} keeps {counted(n, 'rule')} {of}{but}"
    broken = sum(not result.passed for result in check.rules)
    return f"✗ {check.model.name} breaks {broken} of {counted(n, 'rule')} {of}"


def _rule(result: RuleResult) -> str:
    sign = "✓" if result.evaluated else "–"
    return f"{sign if result.passed else '✗'} {_named(result)}"


def _style(result: RuleResult) -> str:
    return ("green" if result.evaluated else "yellow") if result.passed else "red"


def _named(result: RuleResult) -> str:
    """Return a rule as the policy has it; of one that is only on or off its name."""
    if result.setting is True:
        return result.rule
    value = result.setting
    return f"{result.rule} = {value:g}" if isinstance(value, float) else f"{result.rule} = {value}"


def _indented(result: RuleResult) -> list[str]:
    return [f"  {line}" for line in _told(result, _ON_THE_PAGE)]


def _told(result: RuleResult, at_most: int) -> list[str]:
    """Return what a rule found, and the first of its tokens."""
    told = [result.message, *(f"  {_token(each)}" for each in result.tokens[:at_most])]
    if len(result.tokens) > at_most:
        told.append(f"  … and {len(result.tokens) - at_most:,} more (--json lists them all)")
    return told


def _token(token: TokenAtFault) -> str:
    who = " ".join(filter(None, [None if token.id is None else str(token.id), token.token]))
    return f"{who}: {token.why}" if token.why else who


def _inert(line: str) -> str:
    """Return a line without what the runner would obey, or a terminal."""
    plain = _OLDER_PREFIX.sub(r"\\u0023", text(line).plain)
    return re.sub(r"^(\s*):(?=:)", r"\1\\u003a", plain)


def _data(message: str) -> str:
    return message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")
