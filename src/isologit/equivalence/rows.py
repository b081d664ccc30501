"""Row classes: which tokens have bit-identical rows, verified byte for byte."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isologit.equivalence.partition import Partition
from isologit.numerics import kernels
from isologit.numerics.formats import Format
from isologit.numerics.parallel import for_blocks
from isologit.numerics.stored import Matrix, Vector

# Rows whose signed zeros are folded at a time: a copy of 64-bit words is made of these alone.
_BLOCK_ROWS = 512


@dataclass(frozen=True, eq=False)
class RowClasses:
    """The two row relations, and how many rows are of a special kind.

    Parameters
    ----------
    rows
        Tokens whose rows are the same bits, whatever their biases.
    row_values
        Tokens whose rows have the same values, −0 being +0, whatever their biases.
    bits
        Tokens whose rows and biases are the same bits; without a bias the same as `rows`.
    values
        The same with −0 and +0 merged; a NaN still equals only its own bits.
    zero
        Rows whose every entry is ±0.
    subnormal
        Rows, not zero, without a single normal entry.
    nonfinite
        Rows with an infinity or a NaN.
    finite_rows
        ``[V]`` bool, the others.
    """

    rows: Partition
    row_values: Partition
    bits: Partition
    values: Partition
    zero: int
    subnormal: int
    nonfinite: int
    finite_rows: npt.NDArray[np.bool_]


def row_classes(matrix: Matrix, bias: Vector | None = None) -> RowClasses:
    """Group the rows of a matrix by their bits, and by their values.

    Hashes each row once, groups by hash, then compares the bytes of every candidate with its
    group's first row; a group that the hash joined wrongly is split. Exact, whatever the hash.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    bias
        ``[V]`` or None; two tokens then share a class only if their biases are equal too.
    """
    words = matrix.words
    multipliers = _multipliers(matrix.width)
    hashes = np.empty(matrix.n_tokens, dtype=np.uint64)
    largest = np.empty(matrix.n_tokens, dtype=np.uint64)
    negative_zeros = np.empty(matrix.n_tokens, dtype=np.uint64)
    for_blocks(
        lambda start, stop: kernels.hash_rows(
            words, multipliers, start, stop, hashes, largest, negative_zeros
        ),
        matrix.n_tokens,
        matrix.width * matrix.format.itemsize,
    )
    rows = row_values = _verified(words, hashes, fold_zeros=False)
    signed = np.flatnonzero(negative_zeros)
    if len(signed):
        # Only rows with a −0 can hash differently once −0 is folded into +0.
        folded_hashes = hashes.copy()
        for start in range(0, len(signed), _BLOCK_ROWS):
            some = signed[start : start + _BLOCK_ROWS]
            folded = _fold_zeros(words[some], matrix.format).astype(np.uint64)
            folded_hashes[some] = (folded * multipliers).sum(axis=1, dtype=np.uint64)
        row_values = _verified(words, folded_hashes, fold_zeros=True)
    bits, values = rows, row_values
    if bias is not None:
        bits = bits.meet(Partition.of_keys(bias.words))
        values = values.meet(Partition.of_keys(_fold_zeros(bias.words, bias.format)))
    smallest_normal, infinity = _thresholds(matrix.format)
    return RowClasses(
        rows=rows,
        row_values=row_values,
        bits=bits,
        values=values,
        zero=int((largest == 0).sum()),
        subnormal=int(((largest > 0) & (largest < smallest_normal)).sum()),
        nonfinite=int((largest >= infinity).sum()),
        finite_rows=largest < infinity,
    )


def _multipliers(width: int) -> npt.NDArray[np.uint64]:
    """Return odd 64-bit multipliers, the same for every run and machine."""
    generator = np.random.Generator(np.random.PCG64(0x150106))
    return generator.integers(0, 2**64, width, dtype=np.uint64) | np.uint64(1)


def _thresholds(format_: Format) -> tuple[int, int]:
    """Return the words, without sign, of the smallest normal number and of infinity."""
    fraction_bits = format_.precision - 1
    return 1 << fraction_bits, (2 * format_.max_exponent + 1) << fraction_bits


def _fold_zeros(
    words: npt.NDArray[np.unsignedinteger], format_: Format
) -> npt.NDArray[np.unsignedinteger]:
    """Return a copy of stored words with −0 replaced by +0."""
    return np.where(words == 1 << (format_.bits - 1), words.dtype.type(0), words)


def _verified(
    words: npt.NDArray[np.unsignedinteger], hashes: npt.NDArray[np.uint64], *, fold_zeros: bool
) -> Partition:
    """Return the partition by row, given hashes that equal rows share."""
    by_hash = Partition.of_keys(hashes)
    representative = by_hash.firsts()[by_hash.labels].astype(np.int64)
    tokens = np.flatnonzero(representative != np.arange(len(hashes)))
    if not len(tokens):
        return by_hash
    equal = np.empty(len(tokens), dtype=np.bool_)
    for_blocks(
        lambda start, stop: kernels.rows_equal(
            words,
            tokens[start:stop],
            representative[tokens[start:stop]],
            fold_zeros,
            equal[start:stop],
        ),
        len(tokens),
        2 * words.shape[1] * words.itemsize,
    )
    if equal.all():
        return by_hash
    return _split(words, by_hash, np.unique(by_hash.labels[tokens[~equal]]), fold_zeros=fold_zeros)


def _split(
    words: npt.NDArray[np.unsignedinteger],
    by_hash: Partition,
    collided: npt.NDArray[np.int32],
    *,
    fold_zeros: bool,
) -> Partition:
    """Split the classes whose hash joined unequal rows, by the bytes themselves."""
    keys = by_hash.labels.astype(np.int64)
    next_key = by_hash.n_classes
    sign = 1 << (words.itemsize * 8 - 1)
    for label in collided:
        seen: dict[bytes, int] = {}
        for token in by_hash.members(int(label)):
            row = words[token]
            if fold_zeros:
                row = np.where(row == sign, row.dtype.type(0), row)
            content = row.tobytes()
            if content not in seen:
                seen[content] = next_key
                next_key += 1
            keys[token] = seen[content]
    return Partition.of_keys(keys)
