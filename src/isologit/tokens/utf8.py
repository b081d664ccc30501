"""Bytes and UTF-8: which bytes are text alone, and which are part of no text at all."""

from functools import cache

# RFC 3629, section 4: the bytes that each leading byte may be followed by, in ranges.
_TAIL = (0x80, 0xBF)
_SEQUENCES = (
    ((0x00, 0x7F),),
    ((0xC2, 0xDF), _TAIL),
    ((0xE0, 0xE0), (0xA0, 0xBF), _TAIL),
    ((0xE1, 0xEC), _TAIL, _TAIL),
    ((0xED, 0xED), (0x80, 0x9F), _TAIL),
    ((0xEE, 0xEF), _TAIL, _TAIL),
    ((0xF0, 0xF0), (0x90, 0xBF), _TAIL, _TAIL),
    ((0xF1, 0xF3), _TAIL, _TAIL, _TAIL),
    ((0xF4, 0xF4), (0x80, 0x8F), _TAIL, _TAIL),
)


def is_part_of_text(raw: bytes) -> bool:
    """Whether some text in UTF-8 holds these bytes in a row.

    Exact: the bytes are run through the grammar of RFC 3629 from every place where they may begin.
    0xC0, 0xC1 and 0xF5 to 0xFF are in no text, nor is a leading byte before another.
    """
    places = _everywhere()
    for byte in raw:
        places = _after(places, byte)
        if not places:
            return False
    return True


@cache
def _everywhere() -> frozenset[tuple[int, int]]:
    """Return every place: which sequence, and which of its bytes comes next."""
    return frozenset((n, k) for n, parts in enumerate(_SEQUENCES) for k in range(len(parts)))


@cache
def _after(places: frozenset[tuple[int, int]], byte: int) -> frozenset[tuple[int, int]]:
    """Return the places that a byte leads to."""
    found = set()
    for n, k in places:
        low, high = _SEQUENCES[n][k]
        if low <= byte <= high:
            if k + 1 < len(_SEQUENCES[n]):
                found.add((n, k + 1))
            else:
                found |= {(start, 0) for start in range(len(_SEQUENCES))}
    return frozenset(found)
