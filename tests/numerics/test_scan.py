"""The one pass over rows, against Python integers and fractions."""

import gc
import weakref
from fractions import Fraction

import numpy as np
import pytest

from isologit.numerics import lanes, parallel, scan
from isologit.numerics.formats import BF16, F16, F32, FORMATS, Format, decode
from isologit.numerics.scan import scan_rows
from isologit.numerics.stored import Matrix, StoredWords
from oracle.draws import RANGES, finite_words, rows_that_lose_all_they_can

each_format = pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name)
widths = pytest.mark.parametrize("d", [1, 2, 3, 15, 31, 32, 33, 64, 127, 128, 129, 200])


def random_words(seed: int, shape: tuple[int, int], format_: Format) -> StoredWords:
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 1 << format_.bits, shape, dtype=np.uint64)
    return words.astype(RANGES[format_.name].word)


def hash_of(row: StoredWords, keys: list[int]) -> int:
    """Return NH of a row's bytes, filled up with zeros to a whole chunk of words."""
    padded = np.zeros(-(-len(row) // lanes.CHUNK) * lanes.CHUNK, dtype=row.dtype)
    padded[: len(row)] = row
    words = padded.view(np.uint32).tolist()
    keyed = [(word + key) % 2**32 for word, key in zip(words, keys, strict=True)]
    return sum(a * b for a, b in zip(keyed[::2], keyed[1::2], strict=True)) % 2**64


@each_format
@widths
def test_rows_are_hashed_by_all_their_bytes(format_: Format, d: int) -> None:
    matrix = Matrix(random_words(d, (20, d), format_), format_)
    keys = scan._keys(matrix).tolist()
    expected = [hash_of(row, keys) for row in matrix.words]
    assert scan_rows(matrix).hashes.tolist() == expected


@each_format
@widths
def test_folded_hashes_are_those_of_rows_with_plus_zeros(format_: Format, d: int) -> None:
    words = random_words(d, (20, d), format_)
    sign = 1 << (format_.bits - 1)
    words[3:8, ::2] = sign
    words[5] = sign
    plain = words.copy()
    plain[plain == sign] = 0
    folded = scan_rows(Matrix(words, format_)).hashes_without_signed_zeros()
    assert folded.tolist() == scan_rows(Matrix(plain, format_)).hashes.tolist()


@each_format
@widths
def test_extremes_and_kinds_of_every_row(format_: Format, d: int) -> None:
    """Random words hold NaNs and infinities; rows of one kind are planted among them."""
    sign = 1 << (format_.bits - 1)
    normal = 1 << (format_.precision - 1)
    infinity = scan._infinity_word(format_)
    words = random_words(d, (60, d), format_)
    words[:30] = finite_words(np.random.default_rng(d), (30, d), format_.name)
    words[0], words[1] = 0, sign
    words[2], words[3] = normal - 1, sign | 1
    words[4], words[5] = normal, sign | (normal - 1)
    words[5, -1] = sign | normal
    words[6, -1], words[7, 0] = infinity, sign | infinity
    words[8, d // 2], words[9, -1] = infinity + 1, sign | (infinity + 1)
    words[10] = infinity - 1
    found = scan_rows(Matrix(words, format_))
    magnitudes = (words & (sign - 1)).astype(np.int64)
    top = magnitudes.max(axis=1)
    assert found.zero.tolist() == (top == 0).tolist()
    assert found.subnormal.tolist() == ((top > 0) & (top < normal)).tolist()
    assert found.finite.tolist() == (top < infinity).tolist()
    assert found.has_negative_zero.tolist() == (words == sign).any(axis=1).tolist()
    with np.errstate(invalid="ignore"):
        values = decode(words, format_)
        smallest, largest = values.min(axis=1), values.max(axis=1)
    assert np.array_equal(found.smallest, smallest, equal_nan=True)
    assert np.array_equal(found.largest, largest, equal_nan=True)
    assert not np.signbit(found.smallest[found.smallest == 0]).any()


@each_format
@widths
def test_sums_and_squares_are_within_their_bounds(format_: Format, d: int) -> None:
    for seed, scale in enumerate((1.0, 2.0**-60, 2.0**60)):
        values = np.random.default_rng([d, seed]).standard_normal((20, d)) * scale
        matrix = Matrix.of_values(np.clip(values, -format_.largest, format_.largest), format_)
        found = scan_rows(matrix)
        for n, row in enumerate(matrix.rows(np.arange(20)).tolist()):
            reals = [Fraction(x) for x in row]
            magnitude = sum(map(abs, reals), Fraction(0))
            assert abs(Fraction(found.sums[n]) - sum(reals)) <= found.sum_depth * magnitude
            square = sum((x * x for x in reals), Fraction(0))
            slack = found.sum_depth * square + Fraction(found.square_loss)
            assert abs(Fraction(found.squares[n]) - square) <= slack


def test_the_bound_of_squares_is_reached() -> None:
    """By rows whose squares lose half a unit in each rounding."""
    matrix = Matrix.of_values(rows_that_lose_all_they_can(), F32)
    found = scan_rows(matrix)
    shares = []
    for n, row in enumerate(matrix.rows([0, 1]).tolist()):
        square = sum((Fraction(x) ** 2 for x in row), Fraction(0))
        off = square - Fraction(found.squares[n])
        shares.append(off / (Fraction(found.sum_depth) * square + Fraction(found.square_loss)))
    assert 0.99 < max(shares) <= 1


@each_format
def test_a_row_costs_and_counts_the_same_wherever_it_stands(format_: Format) -> None:
    """Neither the number of threads, nor the size of a block, nor the alignment changes a bit."""
    words = random_words(7, (64, 77), format_)
    reference = scan_rows(Matrix(words, format_))
    raw = np.zeros(words.nbytes + 8, dtype=np.uint8)
    for shift in (0, 1, 3, 4):
        raw[shift : shift + words.nbytes] = words.reshape(-1).view(np.uint8)
        moved = raw[shift : shift + words.nbytes].view(words.dtype).reshape(words.shape)
        for threads in (1, 2, 5):
            for block_bytes in (1, 1000, 8 << 20):
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(parallel, "_BLOCK_BYTES", block_bytes)
                    patch.setattr(parallel, "_threads", threads)
                    again = scan_rows(Matrix(moved, format_))
                for name in (
                    "hashes",
                    "sums",
                    "squares",
                    "smallest",
                    "largest",
                    "has_negative_zero",
                ):
                    ours, theirs = getattr(again, name), getattr(reference, name)
                    assert ours.tobytes() == theirs.tobytes(), (name, shift, threads)


def test_a_matrix_is_scanned_once() -> None:
    matrix = Matrix.of_values([[1.0, 2.0]], F32)
    assert scan_rows(matrix) is scan_rows(matrix)
    assert scan_rows(Matrix(matrix.words, F32)) is not scan_rows(matrix)


def test_a_scan_goes_with_its_matrix() -> None:
    matrix = Matrix.of_values([[1.0, 2.0]], F32)
    kept = weakref.ref(scan_rows(matrix))
    assert kept() is scan_rows(matrix)
    del matrix
    gc.collect()
    assert kept() is None


def test_infinities_are_where_ieee_754_has_them() -> None:
    assert [hex(scan._infinity_word(f)) for f in (BF16, F16, F32)] == [
        "0x7f80",
        "0x7c00",
        "0x7f800000",
    ]
