"""What a tokenizer's config says beside the vocabulary: added and named tokens, templates."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isologit.checkpoint.config import read_config
from isologit.checkpoint.wording import counted, shown
from isologit.errors import CheckpointError, TokenizerFileError

Beside = Callable[[str], Path | None]

_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")
# transformers, SpecialTokensMixin.SPECIAL_TOKENS_ATTRIBUTES; extra_ is its name from version 5 on.
_NAMED = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_MORE_NAMED = ("additional_special_tokens", "extra_special_tokens")
_MAX_TEMPLATE_BYTES = 4 << 20
_ID = re.compile("[0-9]{1,20}")
_LARGEST_ID = 1 << 24
_MOST_EXTRA_IDS = 10_000


@dataclass(frozen=True)
class AddedToken:
    """A token that stands beside the model's vocabulary.

    Parameters
    ----------
    token_id
        By the config.
    content
        The text that it is matched with.
    special
        Whether decoding may leave it out.
    flags
        How it is matched, by the library's own names; what is absent has the library's default.
    """

    token_id: int
    content: str
    special: bool
    flags: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class TokenizerSettings:
    """A tokenizer's config, as far as it is asked for here.

    Parameters
    ----------
    tokenizer_class
        The class of transformers, or None.
    added
        Added tokens with their ids.
    named
        The texts of tokens with a role (bos, eos, pad, …), by role.
    templates
        Chat templates, in Jinja's language.
    extra_ids
        How many sentinels T5's class puts behind the pieces; 0 for other classes.
    notes
        What could not be used, and why.
    """

    tokenizer_class: str | None = None
    added: tuple[AddedToken, ...] = ()
    named: tuple[tuple[str, str], ...] = ()
    templates: tuple[str, ...] = ()
    extra_ids: int = 0
    notes: tuple[str, ...] = ()


def read_settings(beside: Beside) -> TokenizerSettings:
    """Read `tokenizer_config.json`, `added_tokens.json` and `chat_template.jinja`, where they are.

    None of them is needed; one that cannot be used is told in the notes.

    Parameters
    ----------
    beside
        Returns where a file of the model lies, by its name, or None where there is none.
    """
    notes: list[str] = []

    def config_of(name: str) -> Mapping[str, Any]:
        try:
            path = beside(name)
            return {} if path is None else read_config(path)
        except CheckpointError as error:
            notes.append(f"{name} is left out: {error}")
            return {}

    config = config_of("tokenizer_config.json")
    more = config_of("added_tokens.json")
    given = [
        *_from_added_file(more),
        *_from_decoder(config.get("added_tokens_decoder")),
    ]
    usable = [token for token in given if _is_usable(token)]
    if odd := len(given) - len(usable):
        notes.append(f"{counted(odd, 'added token')} left out: no text, or an id beyond all others")
    templates = list(_templates(config.get("chat_template")))
    try:
        path = beside("chat_template.jinja")
        if path is not None:
            if (size := path.stat().st_size) > _MAX_TEMPLATE_BYTES:
                raise OSError(f"it has {size:,} bytes, and up to {_MAX_TEMPLATE_BYTES:,} are read")
            templates.append(path.read_text(encoding="utf-8"))
    except (CheckpointError, OSError, UnicodeDecodeError) as error:
        notes.append(f"chat_template.jinja is left out: {shown(str(error))}")
    name = config.get("tokenizer_class")
    return TokenizerSettings(
        tokenizer_class=name if isinstance(name, str) else None,
        added=tuple({token.token_id: token for token in usable}.values()),
        named=tuple(_named(config)),
        templates=tuple(templates),
        extra_ids=_extra_ids(name, config.get("extra_ids")),
        notes=tuple(notes),
    )


def read_vocab_json(path: Path) -> dict[str, int]:
    """Return a `vocab.json`: ids by piece.

    Raises
    ------
    TokenizerFileError
        It is not a JSON object of integers.
    """
    where = shown(str(path))
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TokenizerFileError(f"{where} cannot be read: {shown(str(error))}") from error
    if not isinstance(found, dict) or not all(type(number) is int for number in found.values()):
        raise TokenizerFileError(f"{where} is not a vocabulary; expected an id for each piece")
    return found


def _from_decoder(found: Any) -> Iterator[AddedToken]:
    if not isinstance(found, dict):
        return
    for text_id, entry in found.items():
        content = entry.get("content") if isinstance(entry, dict) else None
        if isinstance(content, str) and _ID.fullmatch(text_id):
            flags = {name: entry[name] for name in _FLAGS if isinstance(entry.get(name), bool)}
            yield AddedToken(int(text_id), content, entry.get("special") is True, flags)


def _extra_ids(tokenizer_class: Any, given: Any) -> int:
    # transformers, tokenization_t5.py: 100 where the config does not say.
    if not isinstance(tokenizer_class, str) or not tokenizer_class.startswith("T5Tokenizer"):
        return 0
    return given if type(given) is int and 0 <= given <= _MOST_EXTRA_IDS else 100


def _is_usable(token: AddedToken) -> bool:
    """Whether the library can take a token: a lone surrogate is no text to it."""
    try:
        token.content.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return token.token_id <= _LARGEST_ID


def _from_added_file(found: Mapping[str, Any]) -> Iterator[AddedToken]:
    for content, token_id in found.items():
        if type(token_id) is int and token_id >= 0:
            yield AddedToken(token_id, content, special=False)


def _named(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for role in _NAMED:
        if text := _text_of(config.get(f"{role}_token")):
            yield role, text
    for key in _MORE_NAMED:
        found = config.get(key)
        each = list(found.values()) if isinstance(found, dict) else found
        for entry in each if isinstance(each, list) else []:
            if text := _text_of(entry):
                yield "additional", text


def _text_of(entry: Any) -> str | None:
    text = entry.get("content") if isinstance(entry, dict) else entry
    return text if isinstance(text, str) and text else None


def _templates(found: Any) -> Iterator[str]:
    if isinstance(found, str):
        yield found
    elif isinstance(found, dict):
        yield from (text for text in found.values() if isinstance(text, str))
    elif isinstance(found, list):
        for entry in found:
            if isinstance(entry, dict) and isinstance(entry.get("template"), str):
                yield entry["template"]
