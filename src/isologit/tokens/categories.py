"""One category a row of W: the first of seven that applies."""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from isologit.tokens.names import is_reserved_name
from isologit.tokens.reachability import Reachability
from isologit.tokens.vocabulary import TOKEN_TYPES, Vocabulary

Category = Literal[
    "padding", "special", "byte", "partial_utf8", "reserved", "unreachable", "ordinary"
]
CATEGORIES: tuple[Category, ...] = get_args(Category)
PADDING, SPECIAL, BYTE, PARTIAL_UTF8, RESERVED, UNREACHABLE, ORDINARY = range(len(CATEGORIES))

_TYPE_CODES: dict[str | None, int] = {None: -1, **{kind: n for n, kind in enumerate(TOKEN_TYPES)}}
# How the names of reserved tokens begin (`is_reserved_name`).
_OPEN = frozenset("<[>|｜")


def categories_of(
    vocabulary: Vocabulary,
    reachability: Reachability | None,
    reserved: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int8]:
    """Return the category of each row, ``[V]`` int8, an index into `CATEGORIES`.

    In this order: ``padding``, no token has the id; ``special``, declared a control or the unknown
    token; ``byte``, a letter of the byte alphabet (a byte fallback's ``<0x0A>``, or a piece of one
    byte where text is made of bytes first); ``partial_utf8``, its bytes are no text alone;
    ``reserved``, declared unused or named so; ``unreachable``, it does not survive a round trip
    and no text is known that is encoded with it; ``ordinary``.

    Parameters
    ----------
    vocabulary
        The tokenizer's ids; those beyond the rows are left out.
    reachability
        None where it was not checked: then no row is called unreachable.
    reserved
        ``[V]`` from `reserved_rows`.
    """
    n_rows = len(reserved)
    n = min(n_rows, len(vocabulary))
    types, raw = vocabulary.types[:n], vocabulary.token_bytes[:n]
    kinds = np.array([_TYPE_CODES[kind] for kind in types], dtype=np.int8)
    one_byte = np.array([each is not None and len(each) == 1 for each in raw], dtype=np.bool_)
    no_text = np.array([text is None for text in vocabulary.texts[:n]], dtype=np.bool_)
    normal = kinds == _TYPE_CODES["normal"]
    # From the last to the first, so that an earlier one overwrites.
    marks = (
        (UNREACHABLE, None if reachability is None else reachability.reachable[:n] == 0),
        (RESERVED, reserved[:n]),
        (PARTIAL_UTF8, no_text),
        (BYTE, (kinds == _TYPE_CODES["byte"]) | (vocabulary.byte_level & normal & one_byte)),
        (SPECIAL, np.isin(kinds, [_TYPE_CODES["control"], _TYPE_CODES["unknown"]])),
        (PADDING, kinds == _TYPE_CODES[None]),
    )
    found = np.full(n_rows, PADDING, dtype=np.int8)
    found[:n] = ORDINARY
    for category, mask in marks:
        if mask is not None:
            found[:n][mask] = category
    return found


def reserved_rows(vocabulary: Vocabulary, n_rows: int) -> npt.NDArray[np.bool_]:
    """Return which rows are of tokens declared unused, or named reserved or unused, ``[n_rows]``.

    Special tokens can be among them: Llama 3's reserved ones are.
    """
    n = min(n_rows, len(vocabulary))
    found = np.zeros(n_rows, dtype=np.bool_)
    # Most pieces are no names: they have no bracket to begin with.
    found[:n] = [
        kind == "unused" or (piece is not None and piece[:1] in _OPEN and is_reserved_name(piece))
        for piece, kind in zip(vocabulary.pieces[:n], vocabulary.types[:n], strict=True)
    ]
    return found
