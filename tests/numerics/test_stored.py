"""Matrices and vectors hold stored words as they are: neither copied nor written to."""

import dataclasses

import numpy as np
import pytest

from isologit.numerics.formats import BF16, F16, F32, FORMATS, Format
from isologit.numerics.stored import Matrix, StoredWords, Vector
from oracle.draws import RANGES

each_format = pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name)


@each_format
def test_a_matrix_is_a_read_only_view_of_the_words(format_: Format) -> None:
    words = np.arange(6, dtype=RANGES[format_.name].word).reshape(2, 3)
    matrix = Matrix(words, format_)
    assert (matrix.n_tokens, matrix.width) == (2, 3)
    assert np.shares_memory(matrix.words, words)
    with pytest.raises(ValueError, match="read-only"):
        matrix.words[0, 0] = 1
    words[0, 0] = 7  # the caller's own array stays writable
    assert matrix.words[0, 0] == 7


@each_format
def test_a_vector_is_a_read_only_view_of_the_words(format_: Format) -> None:
    words = np.arange(6, dtype=RANGES[format_.name].word)
    vector = Vector(words, format_)
    assert np.shares_memory(vector.words, words)
    with pytest.raises(ValueError, match="read-only"):
        vector.words[0] = 1
    assert words.flags.writeable


def test_a_matrix_at_an_odd_byte_is_not_copied() -> None:
    buffer = b"\x00" + np.arange(6, dtype=np.uint16).tobytes()
    words = np.frombuffer(buffer, dtype=np.uint16, offset=1).reshape(2, 3)
    matrix = Matrix(words, F16)
    assert np.shares_memory(matrix.words, words)
    assert matrix.rows([1]).tolist() == [[3 * 2.0**-24, 4 * 2.0**-24, 5 * 2.0**-24]]


def test_records_cannot_be_given_other_words() -> None:
    matrix = Matrix.of_values(np.ones((1, 1)), BF16)
    with pytest.raises(dataclasses.FrozenInstanceError):
        matrix.words = np.zeros((1, 1), np.uint16)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("words", "format_", "message"),
    [
        (np.zeros((1, 2), np.uint32), BF16, "words of bf16 must be uint16, got uint32"),
        (np.zeros((1, 2), np.uint16), F32, "words of f32 must be uint32, got uint16"),
        (np.zeros((1, 2), np.int16), F16, "words of f16 must be uint16, got int16"),
        (np.zeros((1, 2), ">u2"), BF16, "words of bf16 must be uint16, got >u2"),
    ],
)
def test_words_of_another_type_are_refused(
    words: StoredWords, format_: Format, message: str
) -> None:
    for build in (Matrix, lambda words, format_: Vector(words[0], format_)):
        with pytest.raises(TypeError) as error:
            build(words, format_)
        assert str(error.value) == message


@pytest.mark.parametrize(
    "words",
    [
        np.zeros(3, np.uint16),
        np.zeros((2, 2, 2), np.uint16),
        np.zeros((4, 4), np.uint16)[:, ::2],
        np.zeros((4, 4), np.uint16).T[:, :2],
    ],
)
def test_matrices_of_another_shape_or_layout_are_refused(words: StoredWords) -> None:
    with pytest.raises(ValueError, match=r"^expected a C-contiguous \[V, d\] array, got shape"):
        Matrix(words, BF16)


def test_vectors_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^expected an \[n\] array, got shape \(1, 3\)$"):
        Vector(np.zeros((1, 3), np.uint16), BF16)


def test_values_are_rounded_once_when_stored() -> None:
    beside_a_midpoint = 1 + 2.0**-8 + 2.0**-30
    matrix = Matrix.of_values([[1 + 2.0**-8, beside_a_midpoint]], BF16)
    assert matrix.words.tolist() == [[0x3F80, 0x3F81]]
    assert Vector.of_values([beside_a_midpoint], BF16).words.tolist() == [0x3F81]


@each_format
def test_rows_are_the_exact_values_in_the_order_asked(format_: Format) -> None:
    values = np.arange(12.0).reshape(4, 3)
    matrix = Matrix.of_values(values, format_)
    assert matrix.rows([3, 0, 3]).tolist() == values[[3, 0, 3]].tolist()
    assert matrix.rows([]).shape == (0, 3)
    assert Vector.of_values(values[1], format_).values.tolist() == [3, 4, 5]
