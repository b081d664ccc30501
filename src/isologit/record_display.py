"""How a record is shown where somebody looks at it: as HTML in a notebook, and on a line.

The HTML is a tree that opens and closes, without scripts and without colours, so that it reads in
a light notebook and in a dark one, and where a page shows what was stored. What stands in a record
may come out of anyone's file: it is escaped, and what could mislead a reader is written as an
escape. Nothing here takes longer for a longer list: of many entries some are shown, all counted.
"""

from collections.abc import Iterable, Mapping
from html import escape
from itertools import islice
from typing import Any, TypeGuard

import msgspec

from isologit.checkpoint.wording import counted, is_plain
from isologit.claims import tagged

# Of a list of numbers or texts, of a list of records, and of an object's keys.
_NUMBERS_SHOWN = 8
_RECORDS_SHOWN = 10
_KEYS_SHOWN = 20
_LONGEST_TEXT = 300
_LONGEST_IN_BRIEF = 40
_FIELDS_IN_BRIEF = 3
# Deeper than any record; what is given from outside may be nested without end.
_DEEPEST = 12

_LEFT = ' style="text-align:left;vertical-align:top"'


def record_html(record: msgspec.Struct) -> str:
    """Return a record as a list of its fields, of which those that have parts can be opened.

    Where the record says under ``claims`` what kind of claim a figure is, that stands behind the
    figure's name.
    """
    return (
        f"<details open><summary><b>{_kind(record)}</b></summary>{_fields(record, {}, 0)}</details>"
    )


def record_line(record: msgspec.Struct) -> str:
    """Return a record on one line, its parts named and its lists cut."""
    fields = ", ".join(f"{name}={_in_brief(value)}" for name, value in _named(record))
    return f"{_kind(record)}({fields})"


def plain(value: str, at_most: int = _LONGEST_TEXT) -> str:
    """Return text with escapes in place of what a reader could not see; cut where it is long."""
    text = value[:at_most]
    if not is_plain(text):
        text = "".join(c if is_plain(c) else ascii(c)[1:-1] for c in text)
    if len(value) <= at_most:
        return text
    return f"{text}…" if at_most <= _LONGEST_IN_BRIEF else f"{text}… ({len(value):,} characters)"


def _kind(value: msgspec.Struct) -> str:
    # An identifier of this package's, and so fit for HTML.
    return type(value).__name__


def _named(value: msgspec.Struct | Mapping[Any, Any]) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(str(key), item) for key, item in islice(value.items(), _KEYS_SHOWN)]
    return [(name, getattr(value, name)) for name in value.__struct_fields__]


def _is_record(value: object) -> TypeGuard[msgspec.Struct | Mapping[Any, Any]]:
    return isinstance(value, msgspec.Struct | Mapping)


def _is_list(value: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, list | tuple)


def _fields(
    value: msgspec.Struct | Mapping[Any, Any], claims: Mapping[str, str], depth: int
) -> str:
    """Return a list of names and values."""
    own = getattr(value, "claims", None)
    if isinstance(own, dict):
        claims = {**claims, **own}
    named = _named(value)
    # Each stands behind its figure; one of no figure that is here stays in sight.
    told = {name for name, _ in named} >= {each.partition(".")[0] for each in claims}
    items = [
        _item(_heading(name, claims), item, _below(claims, name), depth + 1)
        for name, item in named
        if not (name == "claims" and item is own and told)
    ]
    if isinstance(value, Mapping) and len(value) > len(named):
        items.append(f"… ({len(value):,} in all)")
    return _list(items)


def _list(items: Iterable[str]) -> str:
    return f'<ul style="list-style:none">{"".join(f"<li>{item}</li>" for item in items)}</ul>'


def _heading(name: str, claims: Mapping[str, str]) -> str:
    shown = f"<b>{escape(plain(name))}</b>"
    return tagged(shown, escape(plain(claims[name]))) if name in claims else shown


def _below(claims: Mapping[str, str], name: str) -> dict[str, str]:
    """Return the claims about parts of a figure: ``greedy.shares`` is one of ``greedy``."""
    start = f"{name}."
    return {key.removeprefix(start): claims[key] for key in claims if key.startswith(start)}


def _item(heading: str, value: object, claims: Mapping[str, str], depth: int) -> str:
    """Return a value behind its heading, to be opened where it has parts."""
    if depth > _DEEPEST:
        return f"{heading} …"
    if _is_record(value) and _named(value):
        inside, summary = _fields(value, claims, depth), _summary(value)
    elif _is_list(value) and value and (_is_record(value[0]) or _is_list(value[0])):
        inside, summary = _many(value, depth), _in_brief(value)
    else:
        return f"{heading} {escape(_in_brief(value, _LONGEST_TEXT))}".lstrip()
    shown = f"{heading} · {escape(summary)}" if heading else escape(summary)
    return f"<details><summary>{shown}</summary>{inside}</details>"


def _many(value: list[Any] | tuple[Any, ...], depth: int) -> str:
    """Return a list of records as a table with a column a field, as far as they are alike."""
    shown, first = value[:_RECORDS_SHOWN], value[0]
    rest = f"<p>… ({len(value):,} in all)</p>" if len(value) > len(shown) else ""
    if not isinstance(first, msgspec.Struct):
        return _list(_item("", item, {}, depth + 1) for item in shown) + rest
    names = first.__struct_fields__
    heads = "".join(f'<th scope="col"{_LEFT}>{name}</th>' for name in names)
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td{_LEFT}>{_item('', getattr(item, name, None), {}, depth + 1)}</td>"
            for name in names
        )
        + "</tr>"
        for item in shown
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>{rest}"


def _summary(value: msgspec.Struct | Mapping[Any, Any]) -> str:
    """Return what a closed part says of itself: its first figures, or what there is inside."""
    named = _named(value)
    shown = [
        f"{plain(name, _LONGEST_IN_BRIEF)} {_in_brief(item)}"
        for name, item in named
        if item is not None and not _is_record(item) and not _is_list(item)
    ] or [plain(name, _LONGEST_IN_BRIEF) for name, _ in named]
    first = shown[:_FIELDS_IN_BRIEF]
    whole = len(value) if isinstance(value, Mapping) else len(named)
    return ", ".join([*first, "…"] if whole > len(first) else first)


def _in_brief(value: object, at_most: int = _LONGEST_IN_BRIEF) -> str:
    """Return any value on a line: of a long one what fits, and how long it is."""
    if isinstance(value, str):
        return plain(value, at_most) or '""'
    if isinstance(value, msgspec.Struct):
        return f"{_kind(value)}(…)"
    if isinstance(value, Mapping):
        return f"{{{counted(len(value), 'key')}}}" if value else "{}"
    if not _is_list(value):
        return plain(str(value), at_most)
    if value and isinstance(value[0], msgspec.Struct):
        return f"{len(value):,} {_kind(value[0])}"
    if value and (_is_list(value[0]) or _is_record(value[0])):
        return f"{len(value):,} lists"
    shown = [_in_brief(item) for item in value[:_NUMBERS_SHOWN]]
    rest = len(value) > len(shown)
    return f"[{', '.join([*shown, '…'] if rest else shown)}]" + (
        f" ({len(value):,})" if rest else ""
    )
