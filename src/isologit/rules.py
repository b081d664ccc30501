"""The rules that a policy may hold a model to: each a function from facts to what it found.

A rule that cannot be told, for want of a tokenizer or a chat template, never passes by itself: it
says why, and the policy decides (`when-unknown`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import numpy as np

from isologit.checkpoint.wording import counted, listed
from isologit.rule_facts import LONGEST_SHOWN, Asked, Facts, Found, RuleResult, TokenAtFault
from isologit.tokens.categories import ORDINARY, PADDING
from isologit.tokens.text import visible

if TYPE_CHECKING:
    from isologit.tokens.template import TemplateToken

Kind = Literal["switch", "count", "percent", "base"]

# From this grade of evidence on a row counts as untrained.
_LEAST_GRADE = "likely"


@dataclass(frozen=True)
class Rule:
    """A rule: what its value in a policy is, how it is judged, and what has to be read for it.

    Parameters
    ----------
    kind
        ``switch`` (true), ``count`` (an integer from 0), ``percent`` (0 to 100), or ``base`` (a
        model or a result directory).
    judge
        From facts and a value to what was found.
    by_token
        Whether it is about tokens one by one, so that some may be allowed.
    of_evidence
        Whether it needs the signs of no training.
    """

    kind: Kind
    judge: Callable[[Facts, Asked], Found]
    by_token: bool = True
    of_evidence: bool = False


def evaluate(name: str, facts: Facts, asked: Asked, *, pass_unknown: bool = False) -> RuleResult:
    """Hold a model to one of `RULES`.

    Parameters
    ----------
    name
        The rule.
    facts
        What is known of the model.
    asked
        The rule's value, and the ids that are allowed.
    pass_unknown
        Whether it passes where it cannot be told.
    """
    found = RULES[name].judge(facts, asked)
    message, setting = found.message, asked.setting
    if found.broken is None:
        message = f"cannot be told: {message}"
        message += "; the policy lets that pass" if pass_unknown else ""
    if found.allowed:
        named = (f"{i} {facts.at_fault(i).token or ''}".rstrip() for i in found.allowed)
        message += f"; allowed by the policy: {listed(named, at_most=4)}"
    return RuleResult(
        rule=name,
        setting=float(setting) if isinstance(setting, Decimal) else setting,
        passed=pass_unknown if found.broken is None else not found.broken,
        evaluated=found.broken is not None,
        tokens=list(found.tokens),
        allowed=list(found.allowed),
        message=message,
    )


def _template_tokens_trained(facts: Facts, asked: Asked) -> Found:
    if facts.tokens is None or facts.template is None:
        return Found(facts.no_tokens, None)
    each = facts.template.tokens
    of = f"{counted(len(each), 'token')} that a chat needs"
    found = _judged(
        [fault for token in each if (fault := _unfit(facts, token)) is not None],
        asked,
        good=f"of {of} each has a row of its own, and none looks untrained",
        bad=lambda n: f"of {of} {n} {'is' if n == 1 else 'are'} duplicated, untrained or padding",
    )
    if not each and facts.template.n_templates:
        unseen = "the chat template writes no special token that is seen, and bos, eos and pad"
        return Found(f"{unseen} are not named", None)
    if facts.template.n_templates:
        return found
    if not found.broken:
        return Found("there is no chat template", None, allowed=found.allowed)
    alone = "there is no chat template, so that bos, eos and pad alone were looked at"
    return replace(found, message=f"{found.message}; {alone}")


def _unfit(facts: Facts, token: "TemplateToken") -> TokenAtFault | None:
    """Return a token of a chat that cannot do its work, with every reason; None of one that can."""
    assert facts.tokens is not None
    shown = None if token.text is None else visible(token.text, LONGEST_SHOWN)
    role = f"{' and '.join(token.roles)}: " if token.roles else ""
    token_id, reasons = token.token_id, []
    if token_id is None:
        reasons.append("the tokenizer has no such token")
    elif token_id >= facts.n_rows:
        reasons.append(f"W has no row for it; the last is {facts.n_rows - 1}")
    else:
        if not facts.tokens.tokenizer.vocabulary.has(token_id):
            reasons.append("a padding row, which no token has")
        if n := int(facts.n_others[token_id]):
            reasons.append(f"duplicated: {_others(n)}")
        reasons += _untrained(facts, token_id)
    if not reasons:
        return None
    return TokenAtFault(id=token_id, token=shown, why=role + "; ".join(reasons))


def _untrained(facts: Facts, token_id: int) -> list[str]:
    """Return the grade of a token that looks untrained, and the first reason for it."""
    from isologit.tokens.evidence import GRADES

    assert facts.evidence is not None
    grade = int(facts.evidence.grades[token_id])
    if grade < GRADES.index(_LEAST_GRADE):
        return []
    return [f"untrained ({GRADES[grade]}): {facts.evidence.reasons(token_id)[0]}"]


def _max_padding_rows(facts: Facts, asked: Asked) -> Found:
    if facts.tokens is None:
        return Found(facts.no_tokens, None)
    ids = np.flatnonzero(facts.tokens.categories == PADDING).tolist()
    assert isinstance(asked.setting, int)
    return _limited(
        facts,
        ids,
        f"{counted(len(ids), 'padding row')}, where up to {asked.setting:,} may be",
        broken=len(ids) > asked.setting,
    )


def _max_redundant_rows_percent(facts: Facts, asked: Asked) -> Found:
    bits = facts.rows.bits
    first = np.zeros(bits.n_tokens, dtype=np.bool_)
    first[bits.firsts()] = True
    ids = np.flatnonzero(~first).tolist()
    assert isinstance(asked.setting, Decimal)
    share = Decimal(100 * len(ids)) / bits.n_tokens
    redundant = counted(len(ids), "redundant row")
    return _limited(
        facts,
        ids,
        f"{redundant} of {bits.n_tokens:,}: {share:.4g} %, where up to {asked.setting} % may be",
        # As the policy wrote it, in decimals: 0.57 % of 10,000 rows are 57.
        broken=Decimal(100 * len(ids)) > asked.setting * bits.n_tokens,
    )


def _ordinary_tokens_share_no_row(facts: Facts, asked: Asked) -> Found:
    if facts.tokens is None:
        return Found(facts.no_tokens, None)
    ids = np.flatnonzero((facts.n_others > 0) & (facts.tokens.categories == ORDINARY)).tolist()
    # Without that check no token is called unreachable, and the rule is the stricter for it.
    unchecked = "" if facts.tokens.reachability else " (reachability was not checked)"
    return _judged(
        [facts.at_fault(i, _others(int(facts.n_others[i]))) for i in ids],
        asked,
        good="no ordinary reachable token shares its row",
        bad=lambda n: f"{counted(n, 'ordinary token')} with the row of another{unchecked}",
    )


def _no_new_row_classes_since(facts: Facts, asked: Asked) -> Found:
    assert facts.base is not None
    now = facts.rows.bits
    # A row beyond BASE's was together with none: its own id is above every label of BASE's.
    then = np.arange(now.n_tokens, dtype=np.int64)
    n_both = min(facts.base.n_tokens, now.n_tokens)
    then[:n_both] = facts.base.labels[:n_both]
    faults = []
    for ids in now.groups():
        labels, counts = np.unique(then[ids], return_counts=True)
        if len(labels) > 1:
            # The largest part that was one class in BASE is no news, what came to it is.
            old = labels[np.argmax(counts)] if counts.max() > 1 else None
            new = ids if old is None else ids[then[ids] != old]
            faults += [facts.at_fault(i, _others(len(ids) - 1)) for i in new.tolist()]
    faults.sort(key=lambda each: each.id or 0)
    return _judged(
        faults,
        asked,
        good="no row class is new since BASE, or has grown",
        bad=lambda n: f"{counted(n, 'token')} new to a row class since BASE",
    )


def _no_nonfinite_rows(facts: Facts, asked: Asked) -> Found:
    return _judged(
        [facts.at_fault(i) for i in np.flatnonzero(~facts.finite).tolist()],
        asked,
        good="no row holds an infinity or a NaN",
        bad=lambda n: f"{counted(n, 'row')} with an infinity or a NaN",
    )


def _tokenizer_ids_have_rows(facts: Facts, asked: Asked) -> Found:
    if facts.tokens is None:
        return Found(facts.no_tokens, None)
    pieces = facts.tokens.tokenizer.vocabulary.pieces[facts.n_rows :]
    ids = [facts.n_rows + i for i, piece in enumerate(pieces) if piece is not None]
    return _judged(
        [facts.at_fault(i) for i in ids],
        asked,
        good="W has a row for each id of the tokenizer",
        bad=lambda n: (
            f"{counted(n, 'id')} of the tokenizer beyond the last row of W, {facts.n_rows - 1}"
        ),
    )


def _judged(
    faults: Sequence[TokenAtFault], asked: Asked, *, good: str, bad: Callable[[int], str]
) -> Found:
    """Return a rule as broken by each token at fault that is not allowed."""
    left = [each for each in faults if each.id not in asked.allow]
    allowed = [each.id for each in faults if each.id is not None and each.id in asked.allow]
    return Found(bad(len(left)) if left else good, bool(left), left, allowed)


def _limited(facts: Facts, token_ids: Iterable[int], message: str, *, broken: bool) -> Found:
    """Return a rule that counts; its tokens are told only if it is broken."""
    return Found(message, broken, [facts.at_fault(i) for i in token_ids] if broken else ())


def _others(n_others: int) -> str:
    return f"{counted(n_others, 'other token')} with its row"


# By the name in a policy, in the order in which results are told.
RULES: dict[str, Rule] = {
    "template-tokens-trained": Rule("switch", _template_tokens_trained, of_evidence=True),
    "max-padding-rows": Rule("count", _max_padding_rows, by_token=False),
    "ordinary-tokens-share-no-row": Rule("switch", _ordinary_tokens_share_no_row),
    "no-new-row-classes-since": Rule("base", _no_new_row_classes_since),
    "max-redundant-rows-percent": Rule("percent", _max_redundant_rows_percent, by_token=False),
    "no-nonfinite-rows": Rule("switch", _no_nonfinite_rows),
    "tokenizer-ids-have-rows": Rule("switch", _tokenizer_ids_have_rows),
}
