"""Logits at many states are those at each state alone, whatever is left over by the product."""

import numpy as np
import pytest

from isologit.numerics import exact, many_states, parallel
from isologit.numerics.formats import BF16, F16, F32, FORMATS, Format
from isologit.numerics.many_states import logits_at_states
from isologit.numerics.stored import Matrix, Vector
from oracle.draws import RANGES, finite_words

each_format = pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name)
each_logit_format = pytest.mark.parametrize("to", FORMATS, ids=lambda f: f.name)


def assert_as_one_by_one(matrix: Matrix, states: Matrix, to: Format) -> int:
    together = logits_at_states(matrix, states, to)
    assert together.values.shape == (states.n_tokens, matrix.n_tokens)
    for k, words in enumerate(states.words):
        alone = exact.logits(matrix, Vector(words, states.format), to)
        assert together.values[k].tobytes() == alone.values.astype(np.float32).tobytes(), k
    return int(together.refined.sum())


@each_format
@each_logit_format
@pytest.mark.parametrize("n_states", [1, 7, 8, 21])
def test_ordinary_rows(format_: Format, to: Format, n_states: int) -> None:
    rng = np.random.default_rng(n_states)
    matrix = Matrix.of_values(rng.standard_normal((70, 33)), format_)
    states = Matrix.of_values(rng.standard_normal((n_states, 33)), format_)
    assert_as_one_by_one(matrix, states, to)


@each_format
def test_rows_of_every_magnitude_and_rows_that_are_not_finite(format_: Format) -> None:
    rng = np.random.default_rng(3)
    words = np.concatenate(
        [
            finite_words(rng, (40, 9), format_.name),
            rng.integers(0, 1 << format_.bits, (40, 9)).astype(RANGES[format_.name].word),
            np.zeros((2, 9), dtype=RANGES[format_.name].word),
        ]
    )
    states = finite_words(rng, (12, 9), format_.name)
    states[4] = 0
    states[5, 2] = np.uint32(1 << (format_.bits - 1)) - np.uint32(1)  # a NaN
    for to in FORMATS:
        assert_as_one_by_one(Matrix(words, format_), Matrix(states, format_), to)


@pytest.mark.parametrize("sign", [1, -1])
def test_ties_and_what_lies_just_beside_them_take_the_exact_step(sign: int) -> None:
    """1 + 2^-8 lies halfway between two bf16 numbers; 2^-60 decides where binary64 cannot."""
    rows = sign * np.array([[1.0, 2.0**-8, x] for x in (0.0, 2.0**-60, -(2.0**-60))])
    matrix = Matrix.of_values(rows, F32)
    states = Matrix.of_values(np.ones((9, 3)), F32)
    assert assert_as_one_by_one(matrix, states, BF16) == 27
    first = logits_at_states(matrix, states, BF16).values[0]
    assert (sign * first).tolist() == [1.0, 1 + 2.0**-7, 1.0]


def test_neither_threads_nor_blocks_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    matrix = Matrix.of_values(rng.standard_normal((200, 64)), F16)
    states = Matrix.of_values(rng.standard_normal((20, 64)), F16)
    reference = logits_at_states(matrix, states, F32)
    for threads in (1, 2, 5):
        for block, rows, at_once in ((64, 3, 8), (1 << 12, 50, 9), (1 << 23, 512, 1024)):
            monkeypatch.setattr(parallel, "_threads", threads)
            monkeypatch.setattr(parallel, "_BLOCK_BYTES", block)
            monkeypatch.setattr(many_states, "_BLOCK_ROWS", rows)
            monkeypatch.setattr(many_states, "_BLOCK_STATES", at_once)
            again = logits_at_states(matrix, states, F32)
            assert again.values.tobytes() == reference.values.tobytes()
            assert again.refined.tolist() == reference.refined.tolist()


def test_more_rows_than_one_product_takes() -> None:
    """Each thread's turn is several products, and each has rows of its own."""
    rng = np.random.default_rng(5)
    matrix = Matrix.of_values(rng.standard_normal((2 * many_states._BLOCK_ROWS + 100, 9)), BF16)
    states = Matrix.of_values(rng.standard_normal((many_states._FEWEST_STATES, 9)), BF16)
    assert_as_one_by_one(matrix, states, BF16)


@each_logit_format
def test_results_that_round_to_zero_are_plus_zero(to: Format) -> None:
    smallest = 2.0**to.quantum_exponent
    matrix = Matrix.of_values([[-smallest], [smallest], [0.0], [-0.0]], F32)
    states = Matrix.of_values(np.full((many_states._FEWEST_STATES, 1), 2.0**-4), F32)
    together = logits_at_states(matrix, states, to).values
    assert (together == 0).all()
    assert not np.signbit(together).any()


def test_terms_swallowed_one_by_one_still_decide() -> None:
    """1 + 2^-24 is a midpoint; the sum of two squares is below it, and small ones lift it above."""
    row = np.full(200, 2.0**-27 * 1.40625)
    row[:2] = (1.0, 2.0**-12 * (1 - 2.0**-24))
    # As many rows and states as make BLAS add up each product term by term.
    matrix = Matrix.of_values(np.tile(row, (64, 1)), F32)
    states = Matrix.of_values(np.tile(row, (64, 1)), F32)
    assert (logits_at_states(matrix, states, F32).values == 1 + 2.0**-23).all()


def test_states_of_another_width_are_refused() -> None:
    matrix, states = Matrix.of_values(np.ones((3, 4)), F32), Matrix.of_values(np.ones((2, 5)), F32)
    with pytest.raises(ValueError, match="hidden states have 5 values, expected d = 4"):
        logits_at_states(matrix, states, F32)
