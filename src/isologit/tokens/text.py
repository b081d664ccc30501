"""How token text is shown: one line, nothing that a terminal or a reader could be misled by.

Token strings are hostile: control characters, line feeds, marks that reverse the direction of
text, lone surrogates. Whoever writes HTML or Markdown escapes for that besides.
"""

from isologit.checkpoint.wording import is_plain

#: Characters of a token's text where it stands on a line with others.
LONGEST_NAMED = 24

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", '"': '\\"'}


def visible(text: str, at_most: int | None = None) -> str:
    r"""Return text in double quotes, escaped as in JSON wherever it is not plainly printable.

    Two texts never look alike by their escapes: a backslash is doubled.

    Parameters
    ----------
    text
        Any string, lone surrogates included.
    at_most
        Characters of the text that are shown; the rest becomes ``…`` after the closing quote.
    """
    cut = at_most is not None and len(text) > at_most
    shown = text[:at_most] if cut else text
    # Most texts are as they are, and a picture shows many.
    if '"' in shown or "\\" in shown or not is_plain(shown):
        shown = "".join(map(_visible_character, shown))
    return f'"{shown}"' + ("…" if cut else "")


def visible_bytes(raw: bytes, at_most: int | None = None) -> str:
    r"""Return bytes as ``<E0 B8 97>``, where they are no text of their own."""
    cut = at_most is not None and len(raw) > at_most
    shown = raw[:at_most] if cut else raw
    return "<" + " ".join(f"{byte:02X}" for byte in shown) + (" …>" if cut else ">")


def visible_token(raw: bytes | None, at_most: int | None = None) -> str:
    """Return a token's text if its bytes are text, else its bytes; of no token ``no token``."""
    if raw is None:
        return "no token"
    text = text_of(raw)
    return visible_bytes(raw, at_most) if text is None else visible(text, at_most)


def text_of(raw: bytes) -> str | None:
    """Return the text that bytes are in UTF-8; None where they are not valid alone."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _visible_character(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if is_plain(character):
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
