"""Row classes against a dict of row bytes, and when the hash fails."""

import numpy as np
import pytest

from isologit.equivalence.partition import Partition
from isologit.equivalence.rows import RowClasses, row_classes
from isologit.numerics import parallel, scan
from isologit.numerics.formats import BF16, F16, F32, FORMATS, Format
from isologit.numerics.stored import Matrix, StoredWords, Vector


def by_bytes(words: StoredWords, *, fold: bool = False) -> Partition:
    """Return the oracle: a dict of row bytes, −0 replaced by +0 if folded."""
    sign = 1 << (words.itemsize * 8 - 1)
    seen: dict[bytes, int] = {}
    labels = []
    for row in words:
        content = np.where(row == sign, row.dtype.type(0), row) if fold else row
        labels.append(seen.setdefault(content.tobytes(), len(seen)))
    return Partition(np.array(labels, dtype=np.int32))


def draw(seed: int) -> Matrix:
    generator = np.random.default_rng(seed)
    format_ = FORMATS[seed % 3]
    shape = (int(generator.integers(1, 60)), int(generator.integers(1, 5)))
    palette = [0.0, -0.0, 1.0, 2.0, np.nan, np.inf, 1e-40]
    return Matrix.of_values(generator.choice(palette, shape), format_)


@pytest.mark.parametrize("seed", range(150))
def test_classes_equal_a_dict_of_row_bytes(seed: int) -> None:
    matrix = draw(seed)
    found = row_classes(matrix)
    assert found.bits == by_bytes(matrix.words)
    assert found.values == by_bytes(matrix.words, fold=True)


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("key", [0, 1])
def test_a_hash_that_collides_is_split_by_the_bytes(
    seed: int, key: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = draw(seed)
    keys = np.full_like(scan._keys(matrix), key)
    # With keys of 0 a row whose every second word is 0 has the hash of the zero row.
    monkeypatch.setattr(scan, "_keys", lambda _matrix: keys)
    found = row_classes(matrix)
    assert found.bits == by_bytes(matrix.words)
    assert found.values == by_bytes(matrix.words, fold=True)


def test_rows_that_differ_in_the_last_bit_of_the_last_word_are_distinct() -> None:
    for format_ in FORMATS:
        words = np.ones((2, 37), dtype=format_.word_dtype)
        words[1, -1] ^= 1
        assert row_classes(Matrix(words, format_)).bits.n_classes == 2


def test_rows_that_differ_in_the_sign_of_zero_are_one_by_value_only() -> None:
    matrix = Matrix.of_values([[0.0, 1.0], [-0.0, 1.0], [0.0, -1.0]], BF16)
    found = row_classes(matrix)
    assert found.bits.n_classes == 3
    assert found.values.labels.tolist() == [0, 0, 1]


def test_nans_are_compared_by_their_bits() -> None:
    words = np.array([[0x7FC0], [0x7FC0], [0x7FC1]], dtype=np.uint16)
    found = row_classes(Matrix(words, BF16))
    assert found.bits.labels.tolist() == [0, 0, 1]
    assert found.values == found.bits


def test_equal_rows_with_different_biases_are_different() -> None:
    matrix = Matrix.of_values([[1.0], [1.0], [1.0]], F32)
    found = row_classes(matrix, Vector.of_values([0.5, 0.5, 0.25], F32))
    assert found.bits.labels.tolist() == [0, 0, 1]
    signed = row_classes(matrix, Vector.of_values([0.0, -0.0, 1.0], BF16))
    assert signed.bits.n_classes == 3
    assert signed.values.labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize("format_", [BF16, F16, F32])
def test_special_rows_are_counted_apart(format_: Format) -> None:
    tiny = 2.0**format_.quantum_exponent
    values = [
        [0.0, -0.0],
        [tiny, 0.0],
        [tiny, 1.0],
        [np.inf, 1.0],
        [1.0, np.nan],
        [1.0, 1.0],
        [2.0**format_.min_exponent, 0.0],
    ]
    found = row_classes(Matrix.of_values(values, format_))
    assert (found.zero, found.subnormal, found.nonfinite) == (1, 1, 2)


@pytest.mark.parametrize("offset", [0, 1, 2, 3])
@pytest.mark.parametrize("format_", [BF16, F32])
def test_rows_are_read_at_any_alignment_and_width(offset: int, format_: Format) -> None:
    drawn = np.random.default_rng(offset).integers(0, 3, (40, 3))
    words: StoredWords = drawn.astype(format_.word_dtype)
    buffer = bytes(offset) + words.tobytes()
    flat: StoredWords = np.frombuffer(buffer, format_.word_dtype, offset=offset)
    view = flat.reshape(words.shape)
    assert row_classes(Matrix(view, format_)).bits == by_bytes(words)


def test_classes_do_not_depend_on_threads_or_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = Matrix.of_values(np.random.default_rng(5).integers(0, 3, (500, 3)), BF16)
    expected = by_bytes(matrix.words)
    found: list[RowClasses] = []
    for threads, block in ((1, 1 << 20), (2, 6), (3, 100)):
        monkeypatch.setattr(parallel, "_BLOCK_BYTES", block)
        monkeypatch.setattr(parallel, "_threads", threads)
        found.append(row_classes(matrix))
    assert all(each.bits == expected for each in found)
