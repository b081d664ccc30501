"""How far the rows of one matrix lie from those of another, counted in ULP: exact integers.

The numbers of a format that are not NaN stand in order, −0 and +0 being one number and each
infinity the one behind the largest finite number of its sign. Number them by that order, 0 being
zero's: the *distance* of two entries is the difference of their numbers, that is, how many steps
from one representable number to the next lead from one to the other. Entries of another format are
rounded to it first, each once, to nearest-even. Two NaNs have the distance 0, whatever their bits;
a NaN and a number have none, and are counted apart.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isologit.numerics import kernels
from isologit.numerics.compilation import kernel
from isologit.numerics.formats import Format
from isologit.numerics.kernels import bits_of, widen
from isologit.numerics.parallel import for_blocks
from isologit.numerics.stored import Matrix

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class RowMoves:
    """What became of each row of a matrix in another; ``[V]`` each, exact.

    Parameters
    ----------
    format
        The format whose numbers are counted.
    same_bits
        Whether the row is stored as the same bits; None where the matrices are stored in different
        ways, so that their bits cannot be compared.
    same_values
        Whether all entries are the same numbers once decoded, −0 being +0 and NaN being NaN; not
        rounded for it.
    largest
        int64, the largest distance of an entry before from the same entry after, in ULP.
    entries
        int64, how many entries have a distance of at least 1.
    unlike_nan
        int64, how many entries are NaN in one of the two matrices alone.
    through_zero
        int64, how many entries of those that moved are 0 in one of the two matrices, or of another
        sign: every number between counts, and there are many near 0.
    """

    format: Format
    same_bits: Mask | None
    same_values: Mask
    largest: npt.NDArray[np.int64]
    entries: npt.NDArray[np.int64]
    unlike_nan: npt.NDArray[np.int64]
    through_zero: npt.NDArray[np.int64]

    @property
    def frozen(self) -> Mask:
        """Rows that are the same in both: by their bits where these can be compared, else by value.

        Neither implies that nothing was computed in between.
        """
        return self.same_values if self.same_bits is None else self.same_bits


def coarser(one: Format, other: Format) -> Format:
    """Return the format of the two that has fewer significant bits."""
    return min(one, other, key=lambda format_: format_.precision)


def stored_alike(one: Matrix, other: Matrix) -> bool:
    """Return whether equal bits of two matrices' rows stand for equal values, and are comparable.

    Not so where each matrix has scales of its own beside the rows.
    """
    # Codings that hold nothing but a rule are equal where the rules are; others are never equal.
    return one.format == other.format and one.coding == other.coding


def row_moves(before: Matrix, after: Matrix, format_: Format | None = None) -> RowMoves:
    """Count for each row how far its entries lie apart in two matrices. Exact.

    Parameters
    ----------
    before, after
        ``[V, d]`` of one width; the rows that both have are compared.
    format_
        The format whose numbers are counted; None stands for the coarser of the two.

    Raises
    ------
    ValueError
        The widths differ.
    """
    if before.width != after.width:
        raise ValueError(f"rows of {before.width} and of {after.width} entries")
    format_ = format_ or coarser(before.format, after.format)
    n_rows = min(before.n_tokens, after.n_tokens)
    alike = stored_alike(before, after)
    same_words, same_values = (np.empty(n_rows, dtype=np.bool_) for _ in range(2))
    same_bits = np.empty(n_rows, dtype=np.bool_) if alike else None
    counts = np.empty((4, n_rows), dtype=np.int64)
    plain = before.format == after.format == format_
    sign = format_.word_dtype.type(1 << (format_.bits - 1))
    infinity = format_.word_dtype.type(_infinity(format_))

    def fill(start: int, stop: int) -> None:
        here = slice(start, stop)
        left, right = before.block(start, stop), after.block(start, stop)
        out = same_values[here], counts[:, here]
        if plain:
            _count(left, right, sign, infinity, same_words[here], *out)
        else:
            left = kernels.typed(left, before.format)
            right = kernels.typed(right, after.format)
            _count_rounded(left, right, *_grid(format_), *out)
        if same_bits is None:
            return
        if plain and before.coding is None:
            same_bits[here] = same_words[here]
        else:
            stored = before.words[here] == after.words[here]
            same_bits[here] = stored.all(axis=1)

    for_blocks(fill, n_rows, before.row_bytes + after.row_bytes)
    return RowMoves(format_, same_bits, same_values, *counts)


def _infinity(format_: Format) -> int:
    """Return the number of +∞ in the order, which is its word too."""
    return (2 * format_.max_exponent + 1) << (format_.precision - 1)


def _grid(format_: Format) -> tuple[np.uint64, np.int64, np.int64, float, np.int64]:
    """Return what `_number` takes: bits to drop, two offsets, the smallest normal, infinity.

    Of a binary64 pattern without the last bits, what is left are the numbers of the format's
    normal values, in order and without a gap, but for a constant.
    """
    first_normal = 1 << (format_.precision - 1)
    offset = ((1023 + format_.min_exponent) << (format_.precision - 1)) - first_normal
    return (
        np.uint64(53 - format_.precision),
        np.int64(offset),
        np.int64(offset + first_normal),
        2.0**format_.min_exponent,
        np.int64(_infinity(format_)),
    )


@kernel()
def _number(value, dropped, offset, offset_below, smallest, infinity):  # type: ignore[no-untyped-def]
    """Return the number, in the format's order, of what a binary64 value that is no NaN rounds to.

    A carry out of the significand leads to the next number, whatever its exponent. Below the
    smallest normal number s the sum with s has the spacing q that the format has there. That sum
    is exact where an entry reaches q/2: of 24 bits it has none below q·2^-24, and s is q·2^23 at
    most. Of a smaller entry, which rounds to 0, it drops less than q·2^-29, too little to reach.
    """
    magnitude = abs(value)
    below = magnitude < smallest
    pattern = bits_of(magnitude + smallest if below else magnitude)
    one = np.uint64(1)
    half = (one << (dropped - one)) - one
    odd = (pattern >> dropped) & one
    number = np.int64((pattern + half + odd) >> dropped) - (offset_below if below else offset)
    number = min(number, infinity)
    return -number if value < 0 else number


@kernel()
def _count(before, after, sign, infinity, same_words, same_values, counts):  # type: ignore[no-untyped-def]
    """Fill the figures of rows of words of one format, whose own numbers are counted."""
    zero = before.dtype.type(0)
    beyond = np.int64(infinity)
    most_positive = np.int64(sign) - 1
    for n in range(before.shape[0]):
        different = zero
        most, moved, nans, through = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
        for start in range(0, before.shape[1], 256):
            a = before[n, start : start + 256]
            b = after[n, start : start + 256]
            here = zero
            for k in range(a.shape[0]):
                here |= a[k] ^ b[k]
            if here == zero:
                continue
            different |= here
            for k in range(a.shape[0]):
                x, y = np.int64(a[k]), np.int64(b[k])
                x_size, y_size = x & most_positive, y & most_positive
                x_nan, y_nan = x_size > beyond, y_size > beyond
                x_number = -x_size if x > most_positive else x_size
                y_number = -y_size if y > most_positive else y_size
                distance = abs(x_number - y_number)
                distance = np.int64(0) if x_nan or y_nan else distance
                # Of unlike signs, zero having one of its own.
                apart = (x_number > 0) != (y_number > 0) or (x_number < 0) != (y_number < 0)
                through += np.int64(apart and distance > 0)
                most = max(most, distance)
                moved += np.int64(distance > 0)
                nans += np.int64(x_nan != y_nan)
        same_words[n] = different == zero
        same_values[n] = moved == 0 and nans == 0
        counts[0, n], counts[1, n], counts[2, n], counts[3, n] = most, moved, nans, through


@kernel()
def _count_rounded(  # type: ignore[no-untyped-def]
    before, after, dropped, offset, offset_below, smallest, infinity, same_values, counts
):
    """Fill the figures of rows of two formats, rounded to one whose numbers are counted."""
    for n in range(before.shape[0]):
        most, moved, nans, through = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
        unlike = np.int64(0)
        for k in range(before.shape[1]):
            x, y = widen(before[n, k]), widen(after[n, k])
            x_nan, y_nan = x != x, y != y
            x_number = _number(x, dropped, offset, offset_below, smallest, infinity)
            y_number = _number(y, dropped, offset, offset_below, smallest, infinity)
            distance = abs(x_number - y_number)
            distance = np.int64(0) if x_nan or y_nan else distance
            most = max(most, distance)
            moved += np.int64(distance > 0)
            apart = (x_number > 0) != (y_number > 0) or (x_number < 0) != (y_number < 0)
            through += np.int64(apart and distance > 0)
            nans += np.int64(x_nan != y_nan)
            unlike += np.int64(x != y and not (x_nan and y_nan))
        same_values[n] = unlike == 0
        counts[0, n], counts[1, n], counts[2, n], counts[3, n] = most, moved, nans, through
