"""What the rules of a policy judge by, and the records of what became of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isologit.record import Record
from isologit.tokens.text import visible_token

if TYPE_CHECKING:
    # For annotations alone: these bring the compiler with them, and a policy is read without it.
    from isologit.equivalence.partition import Partition
    from isologit.equivalence.rows import RowClasses
    from isologit.tokens.evidence import Evidence
    from isologit.tokens.table import TokenTable
    from isologit.tokens.template import TemplateTokens

Setting = bool | int | Decimal | str

# Characters of a token's text that are told.
LONGEST_SHOWN = 60


class TokenAtFault(Record, frozen=True, kw_only=True):
    """A token that breaks a rule: ``token`` is its text, escaped.

    ``id`` is null of a token that the tokenizer lacks, ``token`` where its text is not known,
    ``why`` where the rule says it all.
    """

    id: int | None
    token: str | None
    why: str | None


class RuleResult(Record, frozen=True, kw_only=True):
    """What became of a rule: ``setting`` is the policy's, ``message`` one sentence.

    ``evaluated`` is false where it could not be told whether the rule holds; then ``passed`` is
    what the policy's ``when-unknown`` says. ``allowed`` lists the ids that would be among
    ``tokens``, had the policy not allowed them.
    """

    rule: str
    setting: bool | int | float | str
    passed: bool
    evaluated: bool
    tokens: list[TokenAtFault]
    allowed: list[int]
    message: str


@dataclass(frozen=True, eq=False)
class Facts:
    """What the rules judge by.

    Parameters
    ----------
    rows
        Row classes; a row counts with its bias.
    finite
        ``[V]`` bool, rows that hold neither an infinity nor a NaN, and whose bias is none.
    tokens
        Who the rows are; None where that is not known.
    no_tokens
        Why not.
    template
        The tokens that a chat needs; None without a tokenizer.
    evidence
        Signs of no training; None where no rule asks for them.
    base
        The row classes of BASE; None where no rule asks for them.
    """

    rows: "RowClasses"
    finite: npt.NDArray[np.bool_]
    tokens: "TokenTable | None" = None
    no_tokens: str = "there is no tokenizer"
    template: "TemplateTokens | None" = None
    evidence: "Evidence | None" = None
    base: "Partition | None" = None

    @property
    def n_rows(self) -> int:
        """V."""
        return self.rows.bits.n_tokens

    @cached_property
    def n_others(self) -> npt.NDArray[np.int64]:
        """How many other tokens have each token's row, ``[V]``."""
        return self.rows.bits.n_others()

    def at_fault(self, token_id: int, why: str | None = None) -> TokenAtFault:
        """Return a token at fault, with its text where that is known."""
        shown = None
        if self.tokens is not None:
            known = self.tokens.tokenizer.vocabulary
            raw = known.token_bytes[token_id] if known.has(token_id) else None
            shown = visible_token(raw, LONGEST_SHOWN)
        return TokenAtFault(id=token_id, token=shown, why=why)


@dataclass(frozen=True)
class Asked:
    """What a policy says of one rule: its value, and the ids that are not held against it."""

    setting: Setting
    allow: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Found:
    """What a rule found: `broken` is None where it cannot be told, and `message` says why."""

    message: str
    broken: bool | None
    tokens: Sequence[TokenAtFault] = ()
    allowed: Sequence[int] = ()
