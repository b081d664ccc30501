"""A record as JSON text: what ``--json`` prints and ``summary.json`` holds.

JSON has no NaN and no infinities; words stand in their place, so that no figure becomes null. What
a terminal or a reader could be misled by (marks that turn the direction of text, separators that
cannot be seen) is written as JSON's own escapes, which every parser undoes.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from isologit.checkpoint.wording import is_plain
from isologit.record import Record
from isologit.token_findings import TokenFacts, TokenListing

_NOT_ASCII = re.compile(r"[^\x00-\x7e]+")


def to_json(record: Record) -> str:
    """Return a record as indented JSON; non-finite figures become words."""
    plain = _representable(msgspec.to_builtins(record))
    text = msgspec.json.format(msgspec.json.encode(plain), indent=2).decode()
    return _NOT_ASCII.sub(_printable, text)


def listing_to_json(record: TokenListing) -> str:
    """Return a listing as JSON with a token a line: as `to_json`, in a fraction of the time."""
    head = to_json(msgspec.structs.replace(record, tokens=[]))
    if not record.tokens:
        return head
    encode = msgspec.json.Encoder().encode
    lines = ",\n".join([_one_line(token, encode) for token in record.tokens])
    # Only the listing's own key has this indent.
    before, after = head.split('\n  "tokens": []', 1)
    return f'{before}\n  "tokens": [\n{_NOT_ASCII.sub(_printable, lines)}\n  ]{after}'


def _one_line(token: TokenFacts, encode: Callable[[object], bytes]) -> str:
    try:
        return f"    {encode(token).decode()}"
    except UnicodeEncodeError:
        # A lone surrogate, which UTF-8 cannot hold.
        return f"    {encode(_representable(msgspec.to_builtins(token))).decode()}"


def write_json(path: Path, record: Record) -> None:
    """Write a record to a file."""
    path.write_text(to_json(record) + "\n", encoding="utf-8")


def utf8(text: str) -> str:
    """Return text with what UTF-8 cannot hold, as in a path of other bytes, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _printable(match: re.Match[str]) -> str:
    text = match.group()
    return text if is_plain(text) else "".join(c if is_plain(c) else _escape(c) for c in text)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _representable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, dict):
        return {utf8(key): _representable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_representable(item) for item in value]
    return utf8(value) if isinstance(value, str) else value
