"""Which tokens a chat needs: those that its template writes, and those with a role of their own.

A template is read, never run: what it writes is taken from the text outside its tags and from the
string literals inside them. What it puts together from other parts (`'<|' + name + '|>'`) is not
seen, but for a message's role, which Phi 3's and 4's do put between two literals.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isologit.tokens.settings import TokenizerSettings
from isologit.tokens.vocabulary import Vocabulary

# Of messages, in published templates.
_MESSAGE_ROLES = ("system", "user", "assistant", "tool", "developer", "function")
# Every model begins, ends or pads with these; another named token counts where a template asks.
_ALWAYS = ("bos", "eos", "pad")
_MATCHED_WHOLE = ("control", "added", "user_defined", "unknown")

# gguf, constants.py, Keys.Tokenizer.
_GGUF_TOKENS, _GGUF_TEMPLATE = "tokenizer.ggml.tokens", "tokenizer.chat_template"
_GGUF_IDS = {
    "bos": "tokenizer.ggml.bos_token_id",
    "eos": "tokenizer.ggml.eos_token_id",
    "eot": "tokenizer.ggml.eot_token_id",
    "eom": "tokenizer.ggml.eom_token_id",
    "pad": "tokenizer.ggml.padding_token_id",
}
# llama.cpp's −1, which stands for no token, as an unsigned number.
_GGUF_NONE = 0xFFFFFFFF

_TAG = re.compile(r"\{[{%#]")
# Inside a tag: its end, a literal, a message's role, a name, what joins texts, anything else. A
# literal that does not end goes to the end of the template, so that no part is looked at twice.
_PART = re.compile(
    r"""(?P<end>-?[%}]\})
    |'(?P<single>(?:[^'\\]|\\.)*+)\\?(?:'|\Z)
    |"(?P<double>(?:[^"\\]|\\.)*+)\\?(?:"|\Z)
    |(?P<role>\w++(?:\[-?\d++\])?+(?:\[\s*+(?:'role'|"role")\s*+\]|\.role\b))
    |(?P<name>\w++)
    |(?P<join>[+~\s]++)
    |.""",
    re.VERBOSE | re.DOTALL,
)
_LIKE_A_TOKEN = re.compile(r"<\|[\w.:/ -]{1,40}\|>")
# In place of what is not known, which no token's text holds, and of a message's role.
_UNKNOWN, _ROLE = "\0", "\1"


@dataclass(frozen=True)
class TemplateToken:
    """A token that a chat needs.

    Parameters
    ----------
    text
        As it is written; None where only an id is known.
    token_id
        None where the tokenizer has no such token.
    roles
        ``bos``, ``eos``, ``pad``, …, by the tokenizer's config or the header.
    """

    text: str | None
    token_id: int | None
    roles: tuple[str, ...]


@dataclass(frozen=True)
class TemplateTokens:
    """The tokens that a chat needs, by id, those without one last; and how many templates said.

    `unmatched` are texts like ``<|im_strat|>`` that a template writes and no token has.
    """

    n_templates: int
    tokens: tuple[TemplateToken, ...]
    unmatched: tuple[str, ...] = ()


def template_tokens(
    vocabulary: Vocabulary,
    settings: TokenizerSettings,
    gguf: Mapping[str, Any] | None = None,
    named: Mapping[int, Sequence[str]] | None = None,
) -> TemplateTokens:
    """Find the tokens that a chat needs.

    They are the special and added tokens that a chat template writes, and the tokens named bos,
    eos and pad (a GGUF header's eot and eom too). Any other named token is one if a template asks
    for it by its variable (``sep_token``), or writes it though the tokenizer has no such token.
    Tokens of white space are not looked for.

    Parameters
    ----------
    vocabulary
        The tokenizer's ids.
    settings
        The tokenizer's config.
    gguf
        The metadata of a GGUF file's header. Where it holds a tokenizer, its templates and ids
        count, and those of the config do not.
    named
        Roles of ids by the model's own config.
    """
    header = gguf if gguf is not None and _GGUF_TOKENS in gguf else None
    templates = settings.templates if header is None else tuple(_gguf_templates(header))
    written, names = _read(templates)
    roles: dict[tuple[int | None, str | None], list[str]] = {
        (token_id, text): [] for token_id, text in _occurring(vocabulary, written)
    }
    if header is None:
        ids = _ids_of((text for _, text in settings.named), vocabulary.pieces)
        for role, text in settings.named:
            if role in _ALWAYS or f"{role}_token" in names or text in written:
                roles.setdefault((ids.get(text), text), []).append(role)
    else:
        for role, token_id in _gguf_named(header):
            piece = vocabulary.pieces[token_id] if vocabulary.has(token_id) else None
            roles.setdefault((token_id, piece), []).append(role)
    for token_id, given in (named or {}).items():
        piece = vocabulary.pieces[token_id] if vocabulary.has(token_id) else None
        roles.setdefault((token_id, piece), []).extend(given)
    tokens = [TemplateToken(text, i, tuple(dict.fromkeys(r))) for (i, text), r in roles.items()]
    tokens.sort(key=lambda each: (each.token_id is None, each.token_id or 0, each.text or ""))
    known = {piece for piece in vocabulary.pieces if piece is not None}
    unmatched = sorted(set(_LIKE_A_TOKEN.findall(written)) - known)
    return TemplateTokens(len(templates), tuple(tokens), tuple(unmatched))


def _read(templates: Iterable[str]) -> tuple[str, frozenset[str]]:
    """Return all that some templates write, and the names that are used in their tags."""
    written: list[str] = []
    names: set[str] = set()
    for template in templates:
        text = "".join(_parts(template, names))
        # Each role in its turn: literals that touch it become one text with it.
        each = [text.replace(_ROLE, role) for role in _MESSAGE_ROLES] if _ROLE in text else [text]
        written += each
    return _UNKNOWN.join(written), frozenset(names)


def _parts(template: str, names: set[str]) -> Iterator[str]:
    """Yield what a template writes, in its order, and note the names in its tags."""
    position = 0
    while tag := _TAG.search(template, position):
        yield template[position : tag.start()]
        position = tag.end()
        if tag[0] == "{#":
            end = template.find("#}", position)
            position = len(template) if end < 0 else end + 2
            continue
        yield _UNKNOWN
        while part := _PART.match(template, position):
            position = part.end()
            if part["end"]:
                break
            literal = part["single"] if part["single"] is not None else part["double"]
            if literal is not None:
                yield _unescaped(literal)
            elif part["role"]:
                yield _ROLE
            elif not part["join"]:
                if part["name"]:
                    names.add(part["name"])
                yield _UNKNOWN
        yield _UNKNOWN
    yield template[position:]


def _unescaped(literal: str) -> str:
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), literal, flags=re.S)


def _occurring(vocabulary: Vocabulary, written: str) -> Iterator[tuple[int, str]]:
    """Yield the tokens that are cut out of what is written, as the tokenizer would cut it."""
    candidates = {
        piece: token_id
        for token_id, (piece, kind) in enumerate(
            zip(vocabulary.pieces, vocabulary.types, strict=True)
        )
        if piece is not None and kind in _MATCHED_WHOLE and piece.strip() and piece in written
    }
    if not candidates:
        return
    # Of tokens that begin at one place the longest is cut out.
    longest_first = sorted(candidates, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    for piece in dict.fromkeys(pattern.findall(written)):
        yield candidates[piece], piece


def _ids_of(texts: Iterable[str], pieces: Sequence[str | None]) -> dict[str, int]:
    wanted = set(texts)
    return {piece: i for i, piece in enumerate(pieces) if piece in wanted and piece is not None}


def _gguf_templates(gguf: Mapping[str, Any]) -> Iterator[str]:
    """Yield the templates of a header: the default one, and those with a name."""
    for key in gguf:
        if key == _GGUF_TEMPLATE or key.startswith(f"{_GGUF_TEMPLATE}."):
            value = gguf[key]
            if isinstance(value, str):
                yield value


def _gguf_named(gguf: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for role, key in _GGUF_IDS.items():
        token_id = gguf.get(key)
        if type(token_id) is int and 0 <= token_id != _GGUF_NONE:
            yield role, token_id
