"""Finding a model's tokenizer among its files, and opening what the user names instead."""

from collections.abc import Collection, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from isologit.checkpoint.folder import LocalFolder
from isologit.checkpoint.wording import listed, shown
from isologit.errors import TokenizerNotFoundError
from isologit.tokens.bpe_files import read_bpe_files
from isologit.tokens.byte_vocabulary import byte_tokenizer
from isologit.tokens.gguf_tokenizer import read_gguf_tokenizer
from isologit.tokens.huggingface import read_tokenizer_json
from isologit.tokens.sentencepiece_file import read_sentencepiece
from isologit.tokens.settings import Beside, TokenizerSettings, read_settings
from isologit.tokens.tiktoken_file import looks_like_tiktoken, read_tiktoken
from isologit.tokens.vocabulary import Tokenizer

# The word that stands for the 256 bytes where a tokenizer's file may be named.
BYTES = "bytes"

_LIBRARY = "tokenizer.json"
_SENTENCEPIECE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
_TIKTOKEN = "tiktoken.model"
_TIKTOKEN_SUFFIX = ".tiktoken"
_VOCABULARY, _MERGES = "vocab.json", "merges.txt"
_LOOKED_FOR = (
    *(_LIBRARY, *_SENTENCEPIECE, _TIKTOKEN, f"*{_TIKTOKEN_SUFFIX}"),
    f"{_VOCABULARY} with {_MERGES}",
)
# Tokenizers in files that are not read.
_UNREAD = {
    "tekken.json": "Mistral's own format",
    "vocab.txt": "BERT's word pieces",
    "rwkv_vocab_v20230424.txt": "RWKV's",
    "source.spm": "Marian's, which numbers the pieces by vocab.json",
}


def open_tokenizer(
    beside: Beside,
    names: Collection[str] | None = None,
    *,
    model_type: str | None = None,
    gguf: Mapping[str, Any] | None = None,
    where: str = "the model",
    settings: TokenizerSettings | None = None,
) -> Tokenizer:
    """Open a model's tokenizer: a GGUF file's own, or the first kind that is among its files.

    Parameters
    ----------
    beside
        Returns where a file of the model lies, by its name, or None. It may have to fetch the
        file, so it is asked for nothing that is not needed.
    names
        The files that there are; None where that is not known.
    model_type
        config.json's, which tells how text is cut where the tokenizer's files do not.
    gguf
        The metadata of a GGUF file's header.
    where
        What messages call the model.
    settings
        The tokenizer's config, where it has been read already.

    Raises
    ------
    TokenizerNotFoundError
        There is none, or one of a kind that is not read.
    TokenizerFileError
        The first that there is cannot be used.
    CheckpointError
        `beside` could not get a file.
    """
    if gguf is not None:
        found = read_gguf_tokenizer(gguf, f"the header of {where}")
        if found is not None:
            return found

    def find(name: str) -> Path | None:
        return beside(name) if names is None or name in names else None

    def config() -> TokenizerSettings:
        return read_settings(find) if settings is None else settings

    if path := find(_LIBRARY):
        return _opened(path, config(), model_type)
    ranks = sorted(name for name in names or () if name.endswith(_TIKTOKEN_SUFFIX))
    for name in (*_SENTENCEPIECE, _TIKTOKEN, *ranks):
        if path := find(name):
            return _opened(path, config(), model_type)
    vocabulary = find(_VOCABULARY)
    merges = find(_merges_among(names)) if vocabulary else None
    if vocabulary and merges:
        return read_bpe_files(vocabulary, merges, config(), model_type)
    raise _not_found(names, where)


def is_tokenizer_file(path: Path) -> bool:
    """Whether a file is a tokenizer's by its name."""
    return path.name.endswith(_TIKTOKEN_SUFFIX) or path.name in {
        *(_LIBRARY, *_SENTENCEPIECE, _TIKTOKEN, _VOCABULARY, _MERGES),
        *_UNREAD,
    }


def open_tokenizer_at(
    spec: str | Path,
    model_type: str | None = None,
    settings: TokenizerSettings | None = None,
) -> Tokenizer:
    """Open the tokenizer that a user names.

    Parameters
    ----------
    spec
        A file or a directory; or the word ``bytes``, which stands for the 256 bytes (a file of
        this name is ``./bytes``).
    model_type, settings
        As in `open_tokenizer`.

    Raises
    ------
    TokenizerNotFoundError
        No such path, no tokenizer there, or a file of a kind that is not read.
    TokenizerFileError
        It cannot be used.
    CheckpointError
        A GGUF file or its directory that cannot be read.
    """
    if str(spec) == BYTES:
        return byte_tokenizer()
    path = Path(spec)
    where = shown(str(spec))
    if path.is_dir():
        folder = LocalFolder(path)
        return open_tokenizer(
            folder.find, folder.names, model_type=model_type, where=where, settings=settings
        )
    if not path.is_file():
        raise TokenizerNotFoundError(
            f"{where} does not exist; give a tokenizer's file or directory, or the word {BYTES}"
        )
    if path.suffix == ".gguf":
        from isologit.checkpoint.open import open_checkpoint

        found = read_gguf_tokenizer(open_checkpoint(path).gguf or {}, str(path))
        if found is None:
            raise TokenizerNotFoundError(f"{where} holds no tokenizer; name another")
        return found
    if settings is None:
        settings = read_settings(LocalFolder(path.parent).find)
    if path.name in (_VOCABULARY, _MERGES):
        vocabulary, merges = path.with_name(_VOCABULARY), path.with_name(_MERGES)
        for each in (vocabulary, merges):
            if not each.is_file():
                raise TokenizerNotFoundError(f"{where} needs {each.name} beside it")
        return read_bpe_files(vocabulary, merges, settings, model_type)
    if path.name in _UNREAD:
        raise TokenizerNotFoundError(f"{where} is of a kind that is not read: {_UNREAD[path.name]}")
    return _opened(path, settings, model_type)


def _opened(path: Path, settings: TokenizerSettings, model_type: str | None) -> Tokenizer:
    """Open a tokenizer that is one file, by its name and by how it begins."""
    if path.suffix == ".json":
        return read_tokenizer_json(path, settings.added)
    if path.name.endswith(_TIKTOKEN_SUFFIX) or looks_like_tiktoken(path):
        return read_tiktoken(path, settings, model_type)
    named = (text for _, text in settings.named)
    return read_sentencepiece(path, settings.added, named, extra_ids=settings.extra_ids)


def _merges_among(names: Collection[str] | None) -> str:
    """Return the name of the merges: by another name than usual, if only one file can be meant."""
    alike = [name for name in names or () if fnmatch(name, "merges*.txt")]
    return alike[0] if len(alike) == 1 else _MERGES


def _not_found(names: Collection[str] | None, where: str) -> TokenizerNotFoundError:
    unread = sorted(_UNREAD.keys() & set(names or ()))
    if unread:
        kinds = listed(f"{name} ({_UNREAD[name]})" for name in unread)
        there = f"it has {kinds}, which is not read here"
        return TokenizerNotFoundError(
            f"there is no tokenizer of {where} that is read: {there}; looked for "
            f"{listed(_LOOKED_FOR)}; save it as {_LIBRARY} with AutoTokenizer, and name that with "
            "--tokenizer"
        )
    return TokenizerNotFoundError(
        f"there is no tokenizer beside {where}: looked for {listed(_LOOKED_FOR)}; name one with "
        "--tokenizer"
    )
