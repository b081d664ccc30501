"""Small matrices on which rounding is hard, drawn the same way every time.

A draw is words and formats; nothing here is imported from `isologit`. Values that must be exact are
cast by numpy and ml_dtypes and compared after the cast.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from math import isqrt

import ml_dtypes
import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.unsignedinteger]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Range:
    """What a format can hold: its significant bits, smallest and largest exponent."""

    precision: int
    quantum_exponent: int
    max_exponent: int
    word: type[np.unsignedinteger]
    native: npt.DTypeLike


RANGES = {
    "bf16": Range(8, -133, 127, np.uint16, ml_dtypes.bfloat16),
    "f16": Range(11, -24, 15, np.uint16, np.float16),
    "f32": Range(24, -149, 127, np.uint32, np.float32),
}
FORMAT_TRIPLES = tuple(product(RANGES, RANGES, RANGES))


@dataclass(frozen=True)
class Draw:
    """A matrix ``[V, d]``, a state ``[d]`` and the format that logits are rounded to."""

    family: str
    matrix_format: str
    state_format: str
    logit_format: str
    words: Words
    state: Words

    def __str__(self) -> str:
        formats = f"{self.matrix_format}·{self.state_format}→{self.logit_format}"
        return f"{self.family} {formats} W={self.words.tolist()} h={self.state.tolist()}"


def cast(values: npt.ArrayLike, format_name: str) -> Words:
    """Return values as words, rounded to the format by numpy or ml_dtypes."""
    native = RANGES[format_name].native
    with np.errstate(over="ignore"):
        narrow = np.asarray(values, dtype=np.float64).astype(native)
    return narrow.view(RANGES[format_name].word)


def cast_exactly(values: npt.ArrayLike, format_name: str) -> Words:
    """Return values as words, and refuse any that the format cannot hold."""
    wide = np.asarray(values, dtype=np.float64)
    words = cast(wide, format_name)
    if not np.array_equal(words.view(RANGES[format_name].native).astype(np.float64), wide):
        raise ValueError(f"{format_name} cannot hold all of {wide.tolist()}")
    return words


def rows_that_lose_all_they_can() -> Values:
    """Return two f32 rows, ``[2, 128]``, whose sums of squares lose half a unit at each rounding.

    For sums in binary32 over four chunks of 32, each of two halves of 16 lanes. A lane's first half
    has a square whose product is rounded and three that are lost beside it; its second half has one
    that is lost where the halves meet. A fused multiply-add spares one of the first two products,
    the compiler's choice: so one row has the large entry in the first chunk, one in the second.
    """
    small = 2.0**-12 * (1 - 2.0**-23)
    rows = np.zeros((2, 4, 2, 16))
    rows[:, :, 0] = small
    rows[:, 0, 1] = small
    rows[0, 0, 0] = rows[1, 1, 0] = 1 + 2047 * 2.0**-23
    return rows.reshape(2, -1)


def finite_words(rng: np.random.Generator, shape: tuple[int, ...], format_name: str) -> Words:
    """Return random bit patterns, those of NaN and Inf replaced by smaller exponents."""
    word = RANGES[format_name].word
    words = rng.integers(0, int(np.iinfo(word).max) + 1, shape).astype(word)
    finite = np.isfinite(words.view(RANGES[format_name].native).astype(np.float32))
    top_exponent_bit = word(1 << (np.iinfo(word).bits - 2))
    return np.where(finite, words, words & ~top_exponent_bit).astype(word)


def _n_rows(rng: np.random.Generator) -> int:
    return int(rng.integers(1, 9))


def _chunks(number: int, bits: int) -> list[int]:
    """Split a positive integer into parts of at most so many significant bits."""
    parts = []
    while number:
        excess = max(number.bit_length() - bits, 0)
        part = number >> excess << excess
        parts.append(part)
        number -= part
    return parts


def _targets(
    rng: np.random.Generator,
    n_rows: int,
    odds: list[int],
    exponent: int,
    near: bool,
    names: list[str],
) -> tuple[Words, Words]:
    """Return rows whose real dot products are ``odd · 2^exponent``, plus a tiny term if ``near``.

    The exponent is moved where the formats cannot reach it. Pairs of large terms that cancel, and
    the order of dimensions, are drawn.
    """
    matrix, state = RANGES[names[0]], RANGES[names[1]]
    longest = max(odd.bit_length() for odd in odds)
    # Where W holds the target, as odd · 2^(exponent - b), h is 2^b throughout.
    lowest = matrix.quantum_exponent + state.quantum_exponent
    highest = matrix.max_exponent + state.max_exponent - longest
    exponent = min(max(exponent, lowest), highest)
    b_low = max(state.quantum_exponent, exponent + longest - matrix.max_exponent)
    b_high = min(state.max_exponent, exponent - matrix.quantum_exponent)
    b = int(rng.integers(b_low, b_high + 1))

    n_chunks = -(-longest // matrix.precision)
    n_pairs = int(rng.integers(0, 3))
    W = np.zeros((n_rows, n_chunks + 1 + 2 * n_pairs))
    h = np.full(W.shape[1], 2.0**b)
    for row, odd in zip(W, odds, strict=True):
        parts = _chunks(odd, matrix.precision)
        row[: len(parts)] = np.ldexp(np.array(parts, dtype=np.float64), exponent - b)
        row[:n_chunks] *= rng.choice([-1.0, 1.0])

    if near:
        # 2^-70 of the target where the formats reach so low, else the smallest that they do.
        tiny = max(exponent + longest - int(rng.choice([70, 60, 40])), lowest)
        tiny_b = max(state.quantum_exponent, tiny - matrix.max_exponent)
        tiny_b = max(tiny_b, min(state.max_exponent, (tiny - matrix.quantum_exponent) // 2))
        tiny_b = min(tiny_b, tiny - matrix.quantum_exponent)
        h[n_chunks] = 2.0**tiny_b
        W[:, n_chunks] = rng.choice([-1.0, 0.0, 1.0], n_rows) * 2.0 ** (tiny - tiny_b)
    for pair in range(n_pairs):
        at = n_chunks + 1 + 2 * pair
        h[at : at + 2] = 2.0 ** int(rng.integers(state.quantum_exponent, state.max_exponent + 1))
        size = 2.0 ** int(rng.integers(matrix.quantum_exponent, matrix.max_exponent + 1))
        W[:, at] = size * rng.choice([-1.0, 1.0], n_rows)
        W[:, at + 1] = -W[:, at]
    order = rng.permutation(W.shape[1])
    return cast_exactly(W[:, order], names[0]), cast_exactly(h[order], names[1])


def _odds(rng: np.random.Generator, n_rows: int, bits: int) -> list[int]:
    """Return odd integers of exactly so many bits: midpoints of numbers of one bit less."""
    return [int(x) | 1 for x in rng.integers(2 ** (bits - 1), 2**bits, n_rows)]


def _ties(rng: np.random.Generator, names: list[str]) -> tuple[Words, Words]:
    n_rows, logit = _n_rows(rng), RANGES[names[2]]
    odds = _odds(rng, n_rows, logit.precision + 1)
    return _targets(rng, n_rows, odds, int(rng.integers(-30, 5)), False, names)


def _near_ties(rng: np.random.Generator, names: list[str]) -> tuple[Words, Words]:
    n_rows, logit = _n_rows(rng), RANGES[names[2]]
    odds = _odds(rng, n_rows, logit.precision + 1)
    return _targets(rng, n_rows, odds, int(rng.integers(-30, 5)), True, names)


def _subnormal_logits(rng: np.random.Generator, names: list[str]) -> tuple[Words, Words]:
    n_rows, logit = _n_rows(rng), RANGES[names[2]]
    odds = [int(rng.integers(0, 2 ** int(rng.integers(1, logit.precision)))) * 2 + 1]
    odds += [2 * int(rng.integers(0, 4)) + 1 for _ in range(n_rows - 1)]
    return _targets(rng, n_rows, odds, logit.quantum_exponent - 1, bool(rng.integers(2)), names)


def _overflow(rng: np.random.Generator, names: list[str]) -> tuple[Words, Words]:
    n_rows, logit = _n_rows(rng), RANGES[names[2]]
    boundary = 2 ** (logit.precision + 1) - 1  # halfway from the largest number to the next power
    odds = [boundary - int(rng.integers(0, 3)) for _ in range(n_rows)]
    exponent = logit.max_exponent - logit.precision
    return _targets(rng, n_rows, odds, exponent, bool(rng.integers(2)), names)


def _cancellation(rng: np.random.Generator, names: list[str]) -> tuple[Words, Words]:
    """Pairs (x·y, −x·y) of any exponent around one small product."""
    n_rows, n_pairs = _n_rows(rng), int(rng.integers(1, 6))
    left = finite_words(rng, (n_rows, n_pairs), names[0])
    sign = RANGES[names[0]].word(1 << (np.iinfo(RANGES[names[0]].word).bits - 1))
    state = finite_words(rng, (n_pairs,), names[1])
    rest = cast(rng.standard_normal((n_rows, 1)) * 2.0 ** rng.integers(-20, 10), names[0])
    one = cast_exactly(np.ones(1), names[1])
    order = rng.permutation(2 * n_pairs + 1)
    words = np.concatenate([left, left ^ sign, rest], axis=1)[:, order]
    return words, np.concatenate([state, state, one])[order]


def _subnormal_inputs(rng: np.random.Generator, names: list[str]) -> tuple[Words, Words]:
    n_rows, d = _n_rows(rng), int(rng.integers(1, 13))
    both = bool(rng.integers(2))
    W = rng.integers(-40, 41, (n_rows, d)) * 2.0 ** RANGES[names[0]].quantum_exponent
    state = RANGES[names[1]]
    h_exponent = state.quantum_exponent if both else int(rng.integers(-3, 4))
    return cast_exactly(W, names[0]), cast_exactly(
        rng.integers(-9, 10, d) * 2.0**h_exponent, names[1]
    )


def _integers(rng: np.random.Generator, names: list[str]) -> tuple[Words, Words]:
    d = int(rng.integers(1, 13))
    W = rng.integers(-99, 100, (_n_rows(rng), d))
    return cast_exactly(W, names[0]), cast_exactly(rng.integers(-99, 100, d), names[1])


def _zeros_and_duplicates(rng: np.random.Generator, names: list[str]) -> tuple[Words, Words]:
    n_rows, d = 2 * int(rng.integers(1, 5)), int(rng.integers(1, 13))
    W = cast(rng.standard_normal((n_rows, d)), names[0])
    W[n_rows // 2 :] = W[: n_rows // 2]
    W[0] = cast_exactly(np.where(rng.integers(2, size=d), 0.0, -0.0), names[0])
    h = np.where(rng.integers(3, size=d), rng.standard_normal(d), -0.0)
    return W, cast(h, names[1])


def _powers_of_two(rng: np.random.Generator, names: list[str]) -> tuple[Words, Words]:
    n_rows, d = _n_rows(rng), int(rng.integers(1, 13))
    shape: tuple[int, ...]
    words = []
    for name, shape in ((names[0], (n_rows, d)), (names[1], (d,))):
        limits = RANGES[name]
        low, high = max(-24, limits.quantum_exponent), min(16, limits.max_exponent + 1)
        signs = rng.choice([-1.0, 1.0], shape)
        words.append(cast_exactly(signs * 2.0 ** rng.integers(low, high, shape), name))
    return words[0], words[1]


def _any_exponents(rng: np.random.Generator, names: list[str]) -> tuple[Words, Words]:
    """Normal significands, exponents spread over some 40 binades around 1."""
    n_rows, d = _n_rows(rng), int(rng.integers(1, 13))
    W = rng.standard_normal((n_rows, d)) * 2.0 ** rng.integers(-30, 10, (n_rows, d))
    h = rng.standard_normal(d) * 2.0 ** rng.integers(-30, 10, d)
    return cast(W, names[0]), cast(h, names[1])


def _any_patterns(rng: np.random.Generator, names: list[str]) -> tuple[Words, Words]:
    n_rows, d = _n_rows(rng), int(rng.integers(1, 13))
    return finite_words(rng, (n_rows, d), names[0]), finite_words(rng, (d,), names[1])


def _neighbours(rng: np.random.Generator, names: list[str]) -> tuple[Words, Words]:
    """Rows that differ by one in the last place: their means are midpoints."""
    d = int(rng.integers(1, 9))
    below = cast(rng.standard_normal(d) + 3.0, names[0])
    W = np.stack([below, below + 1, below, below + 1]).astype(below.dtype)
    return W[: 2 * int(rng.integers(1, 3))], cast(rng.standard_normal(d), names[1])


def _wide(rng: np.random.Generator, names: list[str]) -> tuple[Words, Words]:
    d = int(rng.integers(65, 301))
    W = rng.standard_normal((2, d)) * 2.0 ** rng.integers(-8, 8, (2, d))
    return cast(W, names[0]), cast(rng.standard_normal(d), names[1])


FAMILIES: dict[str, Callable[[np.random.Generator, list[str]], tuple[Words, Words]]] = {
    "ties": _ties,
    "near ties": _near_ties,
    "subnormal logits": _subnormal_logits,
    "overflow": _overflow,
    "cancellation": _cancellation,
    "subnormal inputs": _subnormal_inputs,
    "integers": _integers,
    "zeros and duplicates": _zeros_and_duplicates,
    "powers of two": _powers_of_two,
    "any exponents": _any_exponents,
    "any patterns": _any_patterns,
    "neighbours": _neighbours,
}


def finite_draws(per_family: int) -> Iterator[Draw]:
    """Draw so many matrices of every family in each of the 27 triples of formats."""
    for f, (family, make) in enumerate(FAMILIES.items()):
        for t, triple in enumerate(FORMAT_TRIPLES):
            rng = np.random.default_rng([f, t])
            for _ in range(per_family):
                words, state = make(rng, list(triple))
                yield Draw(family, *triple, words, state)


def wide_draws(per_triple: int) -> Iterator[Draw]:
    """Draw matrices of 65 to 300 dimensions, where several lanes of a vector unit are summed."""
    for t, triple in enumerate(FORMAT_TRIPLES):
        rng = np.random.default_rng([100, t])
        for _ in range(per_triple):
            yield Draw("wide", *triple, *_wide(rng, list(triple)))


def nonfinite_draws(per_triple: int) -> Iterator[Draw]:
    """Draw ordinary numbers among which a fifth are ±Inf, NaN (quiet and signalling) or zero."""
    for t, triple in enumerate(FORMAT_TRIPLES):
        rng = np.random.default_rng([200, t])
        for _ in range(per_triple):
            d = int(rng.integers(1, 6))
            words = []
            shape: tuple[int, ...]
            for name, shape in ((triple[0], (_n_rows(rng), d)), (triple[1], (d,))):
                ordinary = cast(rng.standard_normal(shape), name)
                infinity = int(cast(np.array(np.inf), name))
                sign = 1 << (np.iinfo(RANGES[name].word).bits - 1)
                odd = [infinity, infinity | sign, infinity, infinity | sign, infinity + 1, 0, sign]
                odd.append(int(cast(np.array(np.nan), name)))
                chosen = rng.choice(np.array(odd, dtype=RANGES[name].word), shape)
                words.append(np.where(rng.random(shape) < 0.2, chosen, ordinary))
            yield Draw("non-finite", *triple, words[0], words[1])


def square_filling(rest: int, bits: int) -> list[int]:
    """Return integers of few bits whose squares add up to ``rest``."""
    parts = []
    while rest:
        root = isqrt(rest)
        excess = max(root.bit_length() - bits, 0)
        root = root >> excess << excess
        parts.append(root)
        rest -= root * root
    return parts


def cosine_tie_draws(per_triple: int) -> Iterator[Draw]:
    """Draw single rows whose real cosine is exactly a midpoint of the logit format.

    The reference is (1, 1, 1, 1, 0, …), of norm 2. The row's first four dimensions add up to an odd
    n of p + 1 bits, and its squares to 4^(p + 1), so the cosine is n / 2^(p + 2).
    """
    for t, triple in enumerate(FORMAT_TRIPLES):
        rng = np.random.default_rng([300, t])
        bits = RANGES[triple[0]].precision
        p = RANGES[triple[2]].precision
        for _ in range(per_triple):
            (odd,) = _odds(rng, 1, p + 1)
            parts = _chunks(odd, bits)
            parts += [0] * (4 - len(parts))
            parts += square_filling(4 ** (p + 1) - sum(part**2 for part in parts), bits)
            row = rng.choice([-1.0, 1.0]) * np.array([parts], dtype=np.float64)
            # f16 cannot hold integers of 25 bits: 2^(p - 24 + 15) at most, and 2^-24 at least.
            row *= 2.0 ** (10 - p)
            reference = np.zeros(len(parts))
            reference[:4] = 1
            order = rng.permutation(len(parts))
            words = cast_exactly(row[:, order], triple[0])
            yield Draw("cosine ties", *triple, words, cast_exactly(reference[order], triple[1]))


def norm_tie_draws(per_pair: int) -> Iterator[tuple[str, str, Words]]:
    """Draw single rows ``[1, d]`` whose real norm is exactly a midpoint of the second format."""
    for t, (matrix_format, norm_format) in enumerate(product(RANGES, repeat=2)):
        rng = np.random.default_rng([400, t])
        p = RANGES[norm_format].precision
        for _ in range(per_pair):
            (odd,) = _odds(rng, 1, p + 1)
            parts = square_filling(odd**2, RANGES[matrix_format].precision)
            row = np.array([parts], dtype=np.float64) * 2.0 ** (10 - p)
            yield matrix_format, norm_format, cast_exactly(row, matrix_format)
