"""The loops over stored words, each against slow Python."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isologit.numerics import kernels
from isologit.numerics.formats import BF16, F16, F32, FORMATS, Format
from isologit.numerics.kernels import first_occurrence_labels, typed
from oracle.draws import RANGES, cast, cast_exactly

each_format = pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name)


@each_format
def test_column_sums_count_a_row_as_often_as_it_is_given(format_: Format) -> None:
    W = np.arange(-20, 15).reshape(5, 7)
    sums, magnitudes = np.ones(7), np.zeros(7)
    rows = np.array([4, 0, 4, 2])
    kernels.sum_columns(typed(cast_exactly(W, format_.name), format_), rows, sums, magnitudes)
    assert sums.tolist() == (1 + W[rows].sum(axis=0)).tolist()
    assert magnitudes.tolist() == abs(W[rows]).sum(axis=0).tolist()


@each_format
def test_rows_are_equal_by_bits_or_with_zeros_folded(format_: Format) -> None:
    sign = 1 << (format_.bits - 1)
    nan = int(cast(np.array(np.nan), format_.name))
    rows = [
        [0, 5, 9],
        [sign, 5, 9],  # −0 for +0
        [0, 5, 9],
        [0, 5 | sign, 9],  # −x for x
        [0, 5, nan],
        [0, 5, nan],
        [0, 5, nan | sign],
    ]
    words = typed(np.array(rows, dtype=RANGES[format_.name].word), format_)
    left, right = np.array([0, 0, 0, 4, 4, 1]), np.array([2, 1, 3, 5, 6, 1])
    equal = np.zeros(6, dtype=np.bool_)
    kernels.rows_equal(words, left, words, right, False, equal)
    assert equal.tolist() == [True, False, False, True, False, True]
    kernels.rows_equal(words, left, words, right, True, equal)
    assert equal.tolist() == [True, True, False, True, False, True]


@pytest.mark.parametrize("column", [0, 255, 256, 511, 512, 599])
def test_rows_that_differ_in_one_column_are_different(column: int) -> None:
    words = np.zeros((2, 600), dtype=np.uint16)
    words[1, column] = 1
    equal = np.ones(2, dtype=np.bool_)
    kernels.rows_equal(words, np.array([0, 1]), words, np.array([1, 1]), False, equal)
    assert equal.tolist() == [False, True]


def test_only_f16_words_are_viewed_as_signed() -> None:
    words = np.zeros((1, 1), dtype=np.uint16)
    assert typed(words, BF16).dtype == np.uint16
    assert typed(words, F16).dtype == np.int16
    assert typed(words.astype(np.uint32), F32).dtype == np.uint32
    assert np.shares_memory(typed(words, F16), words)


def test_kernels_compile_where_nothing_can_be_cached(tmp_path: Path) -> None:
    """An installation that is read-only, and no home: as in many containers."""
    program = """
import numba.core.caching as caching
refused = [name for name in dir(caching) if "InTree" in name or "UserWide" in name]
for name in refused:
    getattr(caching, name).from_function = classmethod(lambda cls, *given: None)
assert len(refused) >= 2
from isologit.numerics import exact
from isologit.numerics.formats import F32
from isologit.numerics.stored import Matrix, Vector
matrix, state = Matrix.of_values([[2.0, 1.0]], F32), Vector.of_values([1.0, 3.0], F32)
print(exact.logits(matrix, state, F32).values[0])
"""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert (ran.returncode, ran.stdout) == (0, "5.0\n"), ran.stderr


keys64 = st.one_of(
    # Keys that differ in few bits, in their highest alone, and in all.
    st.integers(0, 5),
    st.integers(0, 5).map(lambda n: n << 61),
    st.integers(0, 2**64 - 1),
)


@given(st.lists(keys64, max_size=300))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_keys_are_numbered_by_where_they_occur_first(keys: list[int]) -> None:
    seen: dict[int, int] = {}
    labels = [seen.setdefault(key, len(seen)) for key in keys]
    assert first_occurrence_labels(np.array(keys, dtype=np.uint64)).tolist() == labels


def test_keys_that_fill_the_table_are_told_apart() -> None:
    """Consecutive numbers, floats and multiples of a large power of two, each twice."""
    for keys in (
        np.arange(100_000, dtype=np.uint64),
        np.arange(100_000, dtype=np.float64).view(np.uint64),
        np.arange(100_000, dtype=np.uint64) << np.uint64(47),
    ):
        labels = first_occurrence_labels(np.concatenate([keys, keys[::-1]]))
        assert labels[:100_000].tolist() == list(range(100_000))
        assert labels[100_000:].tolist() == list(range(100_000))[::-1]
