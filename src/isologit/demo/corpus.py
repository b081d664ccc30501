"""The text of the demo: what its tokenizer learns on, what its model trains on, what is held out.

All of it comes with Python: the source of the standard library, the names of the Unicode
characters, the code tables of the codecs. None of it is stored here. The tokenizer learns on
more than the model ever trains on, so some tokens are made for text that never comes, which is
how such tokens arise in large models too. Nothing here imports torch.
"""

from __future__ import annotations

import encodings.aliases
import sysconfig
import tokenize
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

__all__ = [
    "END_OF_TEXT",
    "HELD_OUT_FILES",
    "SPECIAL_TOKENS",
    "held_out_documents",
    "learn_tokenizer",
    "token_stream",
    "tokenizer_documents",
    "training_documents",
]

END_OF_TEXT = "<|endoftext|>"

# Every family of models reserves names that its pre-training text does not hold.
SPECIAL_TOKENS = (
    END_OF_TEXT,
    "<|pad|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
)

# Modules that every supported Python has, of several kinds: algorithms, text, files, the network.
HELD_OUT_FILES = (
    "argparse.py",
    "bisect.py",
    "configparser.py",
    "fractions.py",
    "heapq.py",
    "json/decoder.py",
    "logging/handlers.py",
    "queue.py",
    "shutil.py",
    "textwrap.py",
    "urllib/request.py",
)

_TRAINING_PACKAGES = (
    "asyncio",
    "collections",
    "concurrent",
    "ctypes",
    "email",
    "html",
    "http",
    "importlib",
    "json",
    "logging",
    "multiprocessing",
    "re",
    "sqlite3",
    "tomllib",
    "unittest",
    "urllib",
    "wsgiref",
    "xml",
    "xmlrpc",
    "zoneinfo",
)

# What the model never reads: an editor, a parser generator, help topics, and a GUI toolkit.
_TOKENIZER_PACKAGES = ("idlelib", "lib2to3", "pydoc_data", "tkinter")

# So many copies that letters earn tokens of their own, as they do from text written in them.
_CODE_TABLE_COPIES = 80
_NAME_TABLE_COPIES = 1

# Half a row of Hiragana and half a row of Hangul, three times each: as often as a letter of a
# script that three one-byte codecs hold, such as Thai.
_TWO_BYTE_ROWS = 3 * (("euc_jp", 0xA4), ("euc_kr", 0xB0))

_TEST_FOLDERS = frozenset({"test", "tests", "idle_test"})

_STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))


def training_documents() -> list[str]:
    """Sources that the model trains on: the library's modules and some of its packages."""
    # What a build writes about itself differs between two installations of one version.
    paths = [
        path
        for path in sorted(_STANDARD_LIBRARY.glob("*.py"))
        if not path.name.startswith("_sysconfigdata")
    ]
    for package in _TRAINING_PACKAGES:
        paths += _sources(package)
    held_out = {_STANDARD_LIBRARY / name for name in HELD_OUT_FILES}
    return _read([path for path in paths if path not in held_out])


def held_out_documents() -> list[str]:
    """Sources of the same kind that neither the model nor its tokenizer sees."""
    return _read([_STANDARD_LIBRARY / name for name in HELD_OUT_FILES])


def tokenizer_documents() -> list[str]:
    """The wider text: the training documents, further packages, and the Unicode tables."""
    documents = training_documents()
    for package in _TOKENIZER_PACKAGES:
        documents += _read(_sources(package))
    documents += ["\n".join(_character_names())] * _NAME_TABLE_COPIES
    documents += ["\n".join(_code_tables())] * _CODE_TABLE_COPIES
    return documents


def learn_tokenizer(documents: list[str], *, vocab_size: int) -> Tokenizer:
    """Learn a byte-level BPE of `vocab_size` tokens, `SPECIAL_TOKENS` first, all 256 bytes next."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return tokenizer


def token_stream(tokenizer: Tokenizer, documents: list[str]) -> NDArray[np.int64]:
    """Ids of all documents, each followed by `END_OF_TEXT`, as one array."""
    end = tokenizer.get_vocab()[END_OF_TEXT]
    ids: list[int] = []
    for encoding in tokenizer.encode_batch(documents):
        ids += encoding.ids
        ids.append(end)
    return np.array(ids, dtype=np.int64)


def _sources(package: str) -> list[Path]:
    """Sources of a package in a fixed order, without its tests, whose text may be broken."""
    paths = sorted((_STANDARD_LIBRARY / package).rglob("*.py"))
    return [
        path
        for path in paths
        if _TEST_FOLDERS.isdisjoint(path.relative_to(_STANDARD_LIBRARY).parts)
    ]


def _read(paths: list[Path]) -> list[str]:
    documents = []
    for path in paths:
        with tokenize.open(path) as source:
            documents.append(source.read())
    return documents


def _character_names() -> Iterator[str]:
    """Lines "character NAME" for the named characters of the basic plane.

    Han and Hangul are left out: their names are their code points or their spelling, and either
    would be a third of the table.
    """
    for code in range(0xA0, 0x10000):
        character = chr(code)
        name = unicodedata.name(character, "")
        if name and not name.startswith(("CJK UNIFIED", "CJK COMPAT", "HANGUL SYLLABLE")):
            yield f"{character} {name}"


def _code_tables() -> Iterator[str]:
    """Letters of every codec's upper half, one codec a line; then the two-byte rows."""
    for codec in sorted(set(encodings.aliases.aliases.values())):
        try:
            row = "".join(bytes([byte]).decode(codec, "ignore") for byte in range(128, 256))
        except (LookupError, TypeError, ValueError):
            continue  # codecs from text to text or bytes to bytes, and those of another system
        letters = [character for character in row if character.isalpha()]
        if letters:
            yield " ".join(letters)
    for codec, lead in _TWO_BYTE_ROWS:
        row = b"".join(bytes([lead, trail]) for trail in range(0xA1, 0xD1)).decode(codec, "ignore")
        yield " ".join(row)
