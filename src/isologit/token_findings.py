"""The records of who the tokens are: in numbers, part of every job; one by one, of ``tokens``."""

from typing import Any

from isologit.record import Model, Record

TOKENS_SCHEMA = "isologit.tokens/1"


class TokenizerSource(Record, frozen=True, kw_only=True):
    """Where the tokenizer was read from, and what it is.

    ``named`` is how the user named it; null where it is the model's own.
    """

    source: str
    kind: str
    named: str | None


class ClassTokens(Record, frozen=True, kw_only=True):
    """What the tokens of a class are: ``mix`` counts them by script, or by category.

    A token counts by its script where it is ordinary or unreachable, else by its category;
    ``first`` shows the first of them, escaped.
    """

    size: int
    mix: dict[str, int]
    first: list[str]


class EvidenceFacts(Record, frozen=True, kw_only=True):
    """Traces of training: how many rows have each grade, and what they are held against."""

    grades: dict[str, int]
    reference: dict[str, int]
    core: int
    why: str


class TokensFacts(Record, frozen=True, kw_only=True):
    """Who the rows of W are, by the tokenizer.

    ``unreachable`` counts the tokens with a row that do not survive a round trip through their
    text (null where that could not be checked), and ``causes`` why; the category of the same name
    leaves out those that are something else first. ``rows`` and ``padding`` are null where nothing
    says how many rows W has; ``beyond_rows`` counts ids that W has no row for. ``classes`` are
    those of ``rows.largest``, in its order, and ``in_classes`` all tokens that share their row with
    another; ``special_in_classes`` names the special ones of these.
    """

    rows: int | None
    in_tokenizer: int
    padding: int | None
    beyond_rows: int
    tokenizer: TokenizerSource
    categories: dict[str, int]
    unreachable: int | None
    causes: dict[str, int]
    scripts: dict[str, int]
    in_classes: dict[str, int] | None
    special_in_classes: list[str] | None
    classes: list[ClassTokens]
    cluster: ClassTokens | None
    modal_class: ClassTokens | None
    evidence: EvidenceFacts | None


class TokenFacts(Record, frozen=True, kw_only=True):
    """Who one row is.

    ``text`` is null where the token's bytes (in hexadecimal) are no text alone, and for padding.
    ``survives`` says whether encode(decode([id])) is [id]; where not, ``cause`` and ``reencoded``
    say why and what comes out instead (``reencoded_tokens``, escaped). ``reachable`` is true where
    a text is known that is encoded with the token (``witness``, if its own is not), null where what
    stands around it decides.
    ``row_class``, ``evidence`` (the grade), ``evidence_flags`` and ``evidence_why`` are there where
    W was read.
    """

    id: int
    piece: str | None
    text: str | None
    bytes: str | None
    type: str | None
    category: str
    reserved_name: bool
    survives: bool | None
    reachable: bool | None
    cause: str | None
    reencoded: list[int] | None
    reencoded_tokens: list[str] | None
    witness: str | None
    script: str | None
    row_class: int | None
    evidence: str | None
    evidence_flags: list[str] | None
    evidence_why: list[str] | None


class TokenListing(Record, frozen=True, kw_only=True):
    """The tokens that every filter keeps, and all of them in numbers."""

    schema: str = TOKENS_SCHEMA
    isologit: str
    model: Model
    tensor: str | None
    summary: TokensFacts
    filters: dict[str, Any]
    matched: int
    tokens: list[TokenFacts]
    notes: list[str]
