"""Why tokens tie, against rational numbers: every tie of every class, its cause and its margin."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isologit.equivalence.partition import Partition
from isologit.equivalence.rows import row_classes
from isologit.equivalence.ties import Tie, TiedClass, tied_class
from isologit.numerics import exact
from isologit.numerics.formats import BF16, F16, F32, parse_format
from isologit.numerics.reals import distinct_reals
from isologit.numerics.stored import Matrix, Vector
from oracle import fraction_oracle as oracle
from oracle.draws import Draw, cast, cast_exactly, finite_draws, nonfinite_draws
from oracle.fraction_oracle import LAYOUTS, Real, Special

# The same numbers are asked for again and again.
nearest = cache(oracle.nearest)


@dataclass(frozen=True, eq=False)
class Known:
    """A draw, and what the oracle says of each of its tokens."""

    draw: Draw

    @cached_property
    def reals(self) -> list[Real]:
        state = [oracle.decode(int(w), self.draw.state_format) for w in self.draw.state]
        rows = [
            [oracle.decode(int(w), self.draw.matrix_format) for w in r] for r in self.draw.words
        ]
        return [oracle.dot(row, state) for row in rows]

    @cached_property
    def logits(self) -> list[Real]:
        return [nearest(real, self.draw.logit_format) for real in self.reals]

    @cached_property
    def rows(self) -> list[bytes]:
        return [row.tobytes() for row in self.draw.words]

    def ulp(self, logit: Real) -> Fraction:
        """Return the distance to the next number away from zero, by the format's own words."""
        layout = LAYOUTS[self.draw.logit_format]
        words = range(layout.infinity)
        if isinstance(logit, Special):
            word = layout.infinity - 1
        else:
            low, high = 0, len(words) - 1
            while low < high:
                middle = (low + high + 1) // 2
                if oracle.magnitude(middle, layout) <= abs(logit):
                    low = middle
                else:
                    high = middle - 1
            word = low
        return oracle.magnitude(word + 1, layout) - oracle.magnitude(word, layout)

    def tie(self, a: int, b: int) -> Tie:
        """Return what the definitions say of two tokens of one logit, whose rows are finite."""
        real_a, real_b = self.reals[a], self.reals[b]
        assert isinstance(real_a, Fraction)
        assert isinstance(real_b, Fraction)
        if self.rows[a] == self.rows[b]:
            return Tie(a, b, "same row", None, Fraction(0))
        if real_a == real_b:
            return Tie(a, b, "equal reals", None, Fraction(0))
        logit = self.logits[a]
        assert logit == self.logits[b]
        margin = (real_b - real_a) / self.ulp(logit)
        in_f32 = [nearest(real, "f32") for real in (real_a, real_b)]
        ends = in_f32[0] != in_f32[1]
        if isinstance(logit, Special):
            return Tie(a, b, "saturation", "overflow", margin, ends)
        if logit == 0:
            return Tie(a, b, "saturation", "underflow", margin, ends)
        return Tie(a, b, "rounding", None, margin, ends)


def explained(draw: Draw) -> Iterator[TiedClass]:
    """Yield the classes of equal exact logits."""
    matrix = Matrix(draw.words, parse_format(draw.matrix_format))
    state = Vector(draw.state, parse_format(draw.state_format))
    to = parse_format(draw.logit_format)
    logits = exact.logits(matrix, state, to).values
    rows = row_classes(matrix)
    classes = Partition.of_values(logits)
    for label in range(classes.n_classes):
        tokens = classes.members(label)
        yield tied_class(
            matrix,
            rows.bits,
            rows.finite_rows,
            state,
            logits,
            tokens,
            float(logits[tokens[0]]),
            to,
        )


def joined(n_tokens: npt.NDArray[np.int32], ties: list[Tie], *causes: str) -> set[frozenset[int]]:
    """Return the groups of tokens that ties of some causes join."""
    group = {int(token): {int(token)} for token in n_tokens}
    for tie in ties:
        if tie.cause in causes and group[tie.a] is not group[tie.b]:
            group[tie.a] |= group[tie.b]
            for token in group[tie.b]:
                group[token] = group[tie.a]
    return {frozenset(tokens) for tokens in group.values()}


def check(draw: Draw) -> Counter[str]:
    """Hold every class of a draw against the oracle; return how many ties each cause has."""
    known, seen = Known(draw), Counter[str]()
    for found in explained(draw):
        tokens, ties = found.token_ids, list(found.ties())
        assert len(ties) == len(tokens) - 1, draw
        for tie in ties:
            assert tie == known.tie(tie.a, tie.b), draw
            assert tie.margin_ulp is not None
            assert tie.margin_ulp >= 0
            seen[tie.saturation or tie.cause] += 1
        # The ties of each relation join its classes and nothing more: so the cause of any other
        # pair is the last one on the way between them.
        rows, reals = defaultdict(set), defaultdict(set)
        for token in tokens.tolist():
            rows[known.rows[token]].add(token)
            reals[known.reals[token]].add(token)
        assert joined(tokens, ties, "same row") == set(map(frozenset, rows.values()))
        of_reals = joined(tokens, ties, "same row", "equal reals")
        assert of_reals == set(map(frozenset, reals.values()))
        everything = "same row", "equal reals", "rounding", "saturation"
        assert joined(tokens, ties, *everything) == {frozenset(tokens.tolist())}
        check_figures(found, known)
    return seen


def check_figures(found: TiedClass, known: Known) -> None:
    tokens = found.token_ids.tolist()
    reals = sorted(real for real in {known.reals[t] for t in tokens} if isinstance(real, Fraction))
    ulp = known.ulp(known.logits[tokens[0]])
    assert list(found.reals.values) == reals
    assert Fraction(found.ulp) == ulp
    assert len(found.row_tokens) == len({known.rows[token] for token in tokens})
    assert [known.reals[token] for token in found.real_tokens] == reals
    assert found.f32_logits.tolist() == [oracle.as_float(nearest(real, "f32")) for real in reals]
    assert not len(found.without_real)
    if len(reals) > 1:
        gaps = [high - low for low, high in pairwise(reals)]
        assert found.span_ulp == sum(gaps) / ulp
        assert found.closest_ulp == min(gaps) / ulp
    else:
        assert (found.span_ulp, found.closest_ulp) == (None, None)


def with_twins(draw: Draw) -> Draw:
    """Return a draw with its rows again, and again with two dimensions swapped.

    A first dimension of zeros is put before them, where the state has the next one's value: so the
    rows that are swapped there have other words and the same real products.
    """
    zeros = np.zeros_like(draw.words[:, :1])
    words = np.concatenate([zeros, draw.words], axis=1)
    swapped = words[:, [1, 0, *range(2, words.shape[1])]]
    return Draw(
        draw.family,
        draw.matrix_format,
        draw.state_format,
        draw.logit_format,
        np.ascontiguousarray(np.concatenate([words, words, swapped])),
        np.concatenate([draw.state[:1], draw.state]),
    )


def test_every_tie_of_drawn_matrices_has_the_one_cause_that_the_oracle_finds() -> None:
    seen: Counter[str] = Counter()
    for draw in finite_draws(1):
        seen += check(with_twins(draw))
    # Or nothing was tested.
    causes = ("same row", "equal reals", "rounding", "overflow", "underflow")
    assert all(seen[cause] > 20 for cause in causes), seen


def planted(rows: Any, state: Any, formats: tuple[str, str, str]) -> tuple[TiedClass, list[Tie]]:
    """Return the one class that planted rows have, and its ties; the oracle agrees."""
    draw = Draw(
        "planted", *formats, cast_exactly(rows, formats[0]), cast_exactly(state, formats[1])
    )
    check(draw)
    (found,) = explained(draw)
    return found, list(found.ties())


@pytest.mark.parametrize("dtype", ["bf16", "f16", "f32"])
def test_identical_rows_tie_by_the_same_row(dtype: str) -> None:
    _, ties = planted([[1.5, -2], [1.5, -2], [1.5, -2]], [0.75, 3], (dtype, dtype, dtype))
    assert ties == [Tie(0, n, "same row", None, Fraction(0)) for n in (1, 2)]


@pytest.mark.parametrize("dtype", ["bf16", "f16", "f32"])
@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([[1.5, -2, 1], [-2, 1.5, 1]], id="permuted where h is equal"),
        pytest.param([[1.5, 0.0, 1], [1.5, -0.0, 1]], id="differing in the sign of a zero"),
        pytest.param([[1.5, 1, 1], [0.5, 2, 1]], id="of one sum"),
    ],
)
def test_different_rows_of_one_real_product_tie_by_equal_reals(
    dtype: str, rows: list[list[float]]
) -> None:
    _, ties = planted(rows, [0.75, 0.75, 3], (dtype, dtype, dtype))
    assert ties == [Tie(0, 1, "equal reals", None, Fraction(0))]


def test_rows_that_differ_where_the_state_is_zero_tie_by_equal_reals() -> None:
    _, ties = planted([[1, 5], [1, 7]], [3, 0], ("bf16", "bf16", "bf16"))
    assert ties == [Tie(0, 1, "equal reals", None, Fraction(0))]


@pytest.mark.parametrize(("dtype", "precision"), [("bf16", 8), ("f16", 11)])
def test_a_margin_just_below_half_a_unit_is_rounding(dtype: str, precision: int) -> None:
    # 1 and just below the midpoint above it, in units of 2^(1 − p), by a second dimension of W.
    below = 2.0**-precision * (1 - 2.0**-7)
    found, ties = planted([[1, 0], [1, below]], [1, 1], (dtype, dtype, dtype))
    assert ties == [Tie(0, 1, "rounding", None, Fraction(127, 256), True)]
    assert found.span_ulp == found.closest_ulp == Fraction(127, 256)
    assert found.ulp == 2.0 ** (1 - precision)


def test_a_difference_below_f32_too_does_not_end_in_f32() -> None:
    _, ties = planted([[1, 0], [1, 2.0**-30]], [1, 1], ("bf16", "bf16", "bf16"))
    assert ties == [Tie(0, 1, "rounding", None, Fraction(1, 2**23), False)]


def test_products_beyond_f16_tie_by_overflow_and_end_in_f32() -> None:
    found, ties = planted([[2.0**14], [2.0**15]], [4], ("f16", "f16", "f16"))
    # A unit at the largest number, 65504, is 32.
    assert ties == [Tie(0, 1, "saturation", "overflow", Fraction(2**16, 32), True)]
    assert found.value == np.inf


def test_products_below_f16_tie_by_underflow_and_zero_itself_with_them() -> None:
    _, ties = planted([[2.0**-24], [2.0**-20], [0]], [2.0**-8], ("f16", "f16", "f16"))
    assert [(t.a, t.b, t.cause, t.saturation) for t in ties] == [
        (2, 0, "saturation", "underflow"),
        (0, 1, "saturation", "underflow"),
    ]
    assert [t.margin_ulp for t in ties] == [Fraction(1, 256), Fraction(15, 256)]
    assert all(t.ends_in_f32 for t in ties)


def test_the_unit_at_a_power_of_two_is_the_one_above_it() -> None:
    # 1 − 2^-9 is the midpoint below 1 in bf16, and goes to 1, which is even.
    found, ties = planted([[1, 0], [1, -(2.0**-9)]], [1, 1], ("bf16", "bf16", "bf16"))
    assert found.ulp == 2.0**-7
    assert ties == [Tie(1, 0, "rounding", None, Fraction(1, 4), True)]


def test_rows_with_infinities_tie_by_them_and_with_an_overflow_by_saturation() -> None:
    words = cast(np.array([[np.inf], [np.inf], [2.0**15], [2.0**14]]), "f16")
    words = np.concatenate([words, words[:, :1]], axis=1)
    words[1, 1] = 0
    draw = Draw("planted", "f16", "f16", "f16", words, cast([4, 4], "f16"))
    (found,) = explained(draw)
    assert [(t.a, t.b, t.cause, t.saturation, t.ends_in_f32) for t in found.ties()] == [
        (3, 2, "saturation", "overflow", True),
        (0, 1, "non-finite", None, None),
        (2, 0, "saturation", "overflow", True),
    ]
    assert found.without_real.tolist() == [0, 1]


def test_an_overflow_of_f32_too_does_not_end_there() -> None:
    words = cast(np.array([[np.inf], [np.inf], [2.0**127]]), "bf16")
    draw = Draw("planted", "bf16", "bf16", "bf16", words, cast([4], "bf16"))
    (found,) = explained(draw)
    assert list(found.ties()) == [
        Tie(2, 0, "saturation", "overflow", None, False),
        Tie(0, 1, "same row", None, None),
    ]


def test_a_device_may_join_what_has_no_real_to_what_has() -> None:
    matrix = Matrix.of_values([[1.0], [np.nan], [np.inf], [2.0]], BF16)
    state = Vector.of_values([1.0], BF16)
    logits = exact.logits(matrix, state, BF16).values
    rows = row_classes(matrix)
    tokens = np.arange(4, dtype=np.int32)
    found = tied_class(matrix, rows.bits, rows.finite_rows, state, logits, tokens, np.inf, BF16)
    assert [(t.a, t.b, t.cause) for t in found.ties()] == [
        (0, 3, "accumulation"),
        (1, 2, "accumulation"),
        (3, 1, "accumulation"),
    ]


def test_tokens_without_a_number_are_one_class() -> None:
    words = cast(np.array([[np.nan], [np.inf], [1.0]]), "bf16")
    draw = Draw("planted", "bf16", "f32", "bf16", words, cast([0], "f32"))
    found = list(explained(draw))
    assert [t.token_ids.tolist() for t in found] == [[0, 1], [2]]
    assert [t.cause for t in found[0].ties()] == ["non-finite"]
    assert np.isnan(found[0].ulp)


def test_classes_with_infinities_and_nans_are_joined_too() -> None:
    for draw in nonfinite_draws(2):
        for found in explained(draw):
            ties = list(found.ties())
            causes = {tie.cause for tie in ties}
            assert len(ties) == len(found.token_ids) - 1
            assert joined(found.token_ids, ties, *causes) == {frozenset(found.token_ids.tolist())}
            assert "accumulation" not in causes


def test_a_device_s_tie_of_different_exact_logits_is_accumulation() -> None:
    matrix = Matrix.of_values([[1.0], [1.0], [1.0078125], [1.015625]], BF16)
    state = Vector.of_values([1.0], BF16)
    logits = exact.logits(matrix, state, BF16).values
    rows = row_classes(matrix)
    tokens = np.arange(4, dtype=np.int32)
    found = tied_class(matrix, rows.bits, rows.finite_rows, state, logits, tokens, 1.0, BF16)
    assert list(found.ties()) == [
        Tie(0, 2, "accumulation", None, Fraction(1)),
        Tie(2, 3, "accumulation", None, Fraction(1)),
        Tie(0, 1, "same row", None, Fraction(0)),
    ]


FORMATS = st.sampled_from([BF16, F16, F32])
SMALL = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 3.0, 2.0**-12, 2.0**-20, 2.0**14])


@given(st.data(), st.integers(1, 5), FORMATS, FORMATS)
def test_equal_rows_have_equal_reals_and_equal_reals_equal_logits(
    data: st.DataObject, width: int, stored: object, to: object
) -> None:
    assert isinstance(stored, type(BF16))
    assert isinstance(to, type(BF16))
    row = st.lists(SMALL, min_size=width, max_size=width)
    values = data.draw(st.lists(row, min_size=1, max_size=12))
    matrix = Matrix.of_values(np.array(values), stored)
    state = Vector.of_values(data.draw(row), stored)
    found = distinct_reals(matrix, np.arange(len(values)), state)
    reals = Partition.of_keys(found.labels.astype(np.int64))
    rows = row_classes(matrix)
    logits = Partition.of_logits(matrix, state, to)
    assert rows.bits.refines(rows.values)
    assert rows.values.refines(reals)
    assert reals.refines(logits)
    # And rounding keeps the order.
    rounded = exact.logits(matrix, state, to).values
    by_real = sorted(range(len(values)), key=lambda n: found.labels[n])
    assert all(rounded[a] <= rounded[b] for a, b in pairwise(by_real))
