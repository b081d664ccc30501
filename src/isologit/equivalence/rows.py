"""Row classes: which tokens have bit-identical rows, verified byte for byte."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isologit.equivalence.partition import Partition
from isologit.numerics import kernels
from isologit.numerics.parallel import for_blocks
from isologit.numerics.scan import scan_rows
from isologit.numerics.stored import Matrix, StoredWords, Vector, as_bits


@dataclass(frozen=True, eq=False)
class RowClasses:
    """The two row relations, and how many rows are of a special kind.

    Parameters
    ----------
    rows
        Tokens whose rows are stored as the same bits, whatever their biases: of a matrix in a
        coding, the same blocks with the same scales.
    row_values
        Tokens whose rows have the same values, −0 being +0, whatever their biases: of a matrix in
        a coding, the decoded values.
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
    """Group the rows of a matrix by their stored bits, and by their values.

    Hashes each row once, groups by hash, then compares the bytes of every candidate with its
    group's first row; a group that the hash joined wrongly is split. Exact, whatever the hash.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    bias
        ``[V]`` or None; two tokens then share a class only if their biases are equal too.
    """
    scan = scan_rows(matrix)
    rows = row_values = _verified(matrix, scan.hashes, fold_zeros=False)
    if scan.has_negative_zero.any():
        row_values = _verified(matrix, scan.hashes_without_signed_zeros(), fold_zeros=True)
    if matrix.coding is not None:
        stored = as_bits(matrix)
        rows = _verified(stored, scan_rows(stored).hashes, fold_zeros=False)
        keys = matrix.coding.row_keys
        if keys is not None:
            rows = rows.meet(Partition.of_keys(keys))
    bits, values = rows, row_values
    if bias is not None:
        bits = bits.meet(Partition.of_keys(bias.words))
        values = values.meet(Partition.of_keys(_fold_zeros(bias.words)))
    return RowClasses(
        rows=rows,
        row_values=row_values,
        bits=bits,
        values=values,
        zero=int(scan.zero.sum()),
        subnormal=int(scan.subnormal.sum()),
        nonfinite=matrix.n_tokens - int(scan.finite.sum()),
        finite_rows=scan.finite,
    )


def _fold_zeros(words: StoredWords) -> StoredWords:
    """Return a copy of stored words with −0 replaced by +0."""
    sign = 1 << (words.itemsize * 8 - 1)
    return np.where(words == sign, words.dtype.type(0), words)


def _verified(matrix: Matrix, hashes: npt.NDArray[np.uint64], *, fold_zeros: bool) -> Partition:
    """Return the partition by row, given hashes that equal rows share."""
    by_hash = Partition.of_keys(hashes)
    representative = by_hash.firsts()[by_hash.labels].astype(np.int64)
    tokens = np.flatnonzero(representative != np.arange(len(hashes)))
    if not len(tokens):
        return by_hash
    equal = np.empty(len(tokens), dtype=np.bool_)

    def compare(start: int, stop: int) -> None:
        here = tokens[start:stop]
        left, right = matrix.located(here), matrix.located(representative[here])
        kernels.rows_equal(*left, *right, fold_zeros, equal[start:stop])

    for_blocks(compare, len(tokens), 2 * matrix.row_bytes)
    if equal.all():
        return by_hash
    return _split(matrix, by_hash, np.unique(by_hash.labels[tokens[~equal]]), fold_zeros=fold_zeros)


def _split(
    matrix: Matrix,
    by_hash: Partition,
    collided: npt.NDArray[np.int32],
    *,
    fold_zeros: bool,
) -> Partition:
    """Split the classes whose hash joined unequal rows, by the bytes themselves."""
    keys = by_hash.labels.astype(np.int64)
    next_key = by_hash.n_classes
    for label in collided:
        seen: dict[bytes, int] = {}
        for token in by_hash.members(int(label)):
            row = matrix.row(int(token)).words
            content = (_fold_zeros(row) if fold_zeros else row).tobytes()
            if content not in seen:
                seen[content] = next_key
                next_key += 1
            keys[token] = seen[content]
    return Partition.of_keys(keys)
