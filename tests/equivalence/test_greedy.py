"""The greedy certificate: what is certain no order of summation changes, and nothing else is."""

from collections import Counter
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from equivalence.greedy_cases import Floats, Model, close_calls
from isologit.equivalence.device_sums import ROUNDING, TRUNCATING
from isologit.equivalence.greedy import Certifier, TopToken, output_formats
from isologit.equivalence.rows import row_classes
from isologit.numerics import exact
from isologit.numerics.formats import BF16, F16, F32, FORMATS, Format, parse_format, round_to
from isologit.numerics.stored import Matrix, Vector

Singles = npt.NDArray[np.float32]


def certificate(
    rows: npt.ArrayLike,
    state: npt.ArrayLike,
    format_: Format = BF16,
    *,
    bias: npt.ArrayLike | None = None,
    logit_format: Format | None = None,
) -> TopToken:
    """Return the certificate of values that the format holds."""
    matrix, h = Matrix.of_values(rows, format_), Vector.of_values(state, format_)
    added = None if bias is None else Vector.of_values(bias, format_)
    to = logit_format or format_
    certifier = Certifier(
        matrix,
        added,
        norms=exact.norm_bounds(matrix),
        same=row_classes(matrix, added).values,
        formats=output_formats(to, format_),
    )
    return certifier.at(h, exact.logits(matrix, h, to).values, to)


def assert_as_defined(
    rows: Floats, state: Floats, format_: Format, bias: Floats | None, to: Format
) -> TopToken:
    found = certificate(rows, state, format_, bias=bias, logit_format=to)
    model = Model(rows, state, format_.name, bias)
    assert found.token_id == model.top()
    others = [x for n, x in enumerate(model.logits) if n != found.token_id]
    assert model.logits[found.runner_up] == max(others)
    assert found.margin == float(model.logits[found.token_id] - max(others))
    for name, here in found.formats.items():
        grid = model.on_grid(name)
        assert here.top_ids.tolist() == [n for n, x in enumerate(grid) if x == max(grid)]
        assert here.verdict == model.verdict(name)
        assert here.if_truncated == model.verdict(name, truncating=True)
    return found


@pytest.mark.parametrize("to", [BF16, F32], ids=lambda f: f.name)
@pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name)
@pytest.mark.parametrize("biased", [False, True])
def test_every_verdict_is_that_of_the_definition_in_rational_numbers(
    format_: Format, to: Format, biased: bool
) -> None:
    rng = np.random.default_rng(8)
    seen: Counter[str] = Counter()
    for _ in range(9):
        rows, state = close_calls(rng, 8, int(rng.integers(3, 9)))
        rows, state = round_to(rows, format_), round_to(state, format_)
        bias = None
        if biased:
            bias = round_to(rng.choice([0.0, 0.0, 0.0, 2.0**-22, 2.0**-9], len(rows)), format_)
        found = assert_as_defined(rows, state, format_, bias, to)
        seen.update(here.verdict for here in found.formats.values())
    # The draw has some of each: the planted margins below have the rest of them.
    assert seen["certain"], seen
    assert seen["tied"], seen


def planted(margin: Fraction, format_: Format, width: int = 96) -> tuple[Floats, Floats]:
    """Return two rows and a state of ones, the first ahead by a margin, to 16 bits or more."""
    rng = np.random.default_rng(2)
    shared = round_to(rng.choice([-1, 1], width) * 2.0 ** rng.integers(-9, 0, width), format_)
    shared[:3] = 4, 0, 0
    rows = np.stack([shared, shared])
    for n in (1, 2):
        rows[0, n] = round_to(float(margin), format_)
        margin -= Fraction(float(rows[0, n]))
    return rows, np.ones(width)


def threshold(format_: Format, *, truncating: bool) -> Fraction:
    """Return the margin at which the two worst errors meet, to all but its own share of them."""
    margin = Fraction(0)
    for _ in range(4):
        rows, state = planted(margin, format_)
        margin = sum(Model(rows, state, format_.name).errors(truncating=truncating), Fraction(0))
    return margin


@pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name)
@pytest.mark.parametrize("truncating", [False, True])
def test_a_margin_just_inside_the_bound_is_never_certain_and_one_just_outside_is(
    format_: Format, truncating: bool
) -> None:
    at = threshold(format_, truncating=truncating)
    for step, certain in ((Fraction(9990, 10_000), False), (Fraction(10_010, 10_000), True)):
        rows, state = planted(at * step, format_)
        model = Model(rows, state, format_.name)
        margin = model.logits[0] - model.logits[1]
        bound = sum(model.errors(truncating=truncating), Fraction(0))
        # The plant is where it should be: within a thousandth of the bound, on one side of it.
        assert (margin > bound) == certain
        assert abs(margin / bound - 1) < Fraction(2, 1000)
        here = certificate(rows, state, format_, logit_format=F32).formats["f32"]
        verdict = here.if_truncated if truncating else here.verdict
        assert (verdict == "certain") == certain


@pytest.mark.parametrize("inside", [True, False])
def test_the_rounding_to_16_bits_decides_as_the_bound_does(inside: bool) -> None:
    """The top lies one bound above the midpoint of two bf16 numbers, the other far below it."""
    width = 64
    rows = np.zeros((2, width))
    rows[:, 0], rows[0, 1] = 1, 2.0**-8
    rows[0, 4:] = 2.0**-26 * np.where(np.arange(width - 4) % 2, 1, -1)
    error = Model(rows, np.ones(width), "bf16").errors()[0]
    share = Fraction(99, 100) if inside else Fraction(101, 100)
    rows[0, 2:4] = round_to(float(error * share), BF16), 0
    model = Model(rows, np.ones(width), "bf16")
    lead = model.logits[0] - 1 - Fraction(1, 2**8)
    assert (lead < model.errors()[0]) == inside
    here = certificate(rows, np.ones(width)).formats
    assert here["bf16"].verdict == ("order-dependent" if inside else "certain")
    assert here["f32"].verdict == "certain"


@pytest.mark.parametrize("inside", [True, False])
def test_the_rounding_to_16_bits_counts_the_other_s_error_too(inside: bool) -> None:
    """The top is a bf16 number; the other lies below the midpoint under it by about one bound."""
    width = 64
    rows = np.zeros((2, width))
    rows[:, 0], rows[0, 1], rows[1, 1] = 1, 2.0**-7, 2.0**-8
    error = Model(rows, np.ones(width), "bf16").errors()[1]
    rows[1, 2] = -round_to(float(error * Fraction(99 if inside else 101, 100)), BF16)
    model = Model(rows, np.ones(width), "bf16")
    below = 1 + Fraction(1, 2**8) - model.logits[1]
    assert (below < model.errors()[1]) == inside
    here = certificate(rows, np.ones(width)).formats
    assert here["bf16"].verdict == ("order-dependent" if inside else "certain")
    assert here["f32"].verdict == "certain"


def in_order(terms: Singles) -> Singles:
    """Return sums ``[…]`` over the last axis in binary32, one term after the other."""
    return np.add.accumulate(terms, axis=-1, dtype=np.float32)[..., -1]


def in_blocks(terms: Singles, size: int) -> Singles:
    """Return sums of sums of so many terms, one after the other, in binary32."""
    pad = -terms.shape[-1] % size
    filled = np.concatenate([terms, np.zeros((*terms.shape[:-1], pad), np.float32)], axis=-1)
    return in_order(in_order(filled.reshape(*terms.shape[:-1], -1, size)))


def by_halves(terms: Singles) -> Singles:
    """Return sums by halves, in binary32."""
    while terms.shape[-1] > 1:
        half = terms.shape[-1] // 2
        terms = np.concatenate(
            [terms[..., :half] + terms[..., half : 2 * half], terms[..., 2 * half :]], axis=-1
        )
    return terms[..., 0]


def fused(rows: Floats, h: Floats) -> Singles:
    """Return sums of fused multiply-adds: the products in binary64 are exact, or all but."""
    total = np.zeros(len(rows), dtype=np.float32)
    for k in range(rows.shape[1]):
        total = (total.astype(np.float64) + rows[:, k] * h[k]).astype(np.float32)
    return total


# So many units of 2^-24 that sums beginning with 1 lose, or gain, one by one.
N_UNITS = 2**12


def test_an_order_that_attains_the_bound_is_never_called_certain() -> None:
    """The first row's sum loses each unit, the second's has each rounded up to two.

    The first is ahead by 0.99 of both worst errors, and this order makes them equal.
    """
    rows = np.full((2, N_UNITS + 2), 2.0**-24)
    rows[:, :2] = [[1, 2.0**-11], [1, 0]]
    rows[1, 2:] *= 1 + 2.0**-7
    terms = rows.astype(np.float32)
    first, second = in_order(terms)
    assert first <= second
    ahead, behind = by_halves(terms)
    assert ahead > behind
    model = Model(rows, np.ones(len(rows.T)), "bf16")
    share = (model.logits[0] - model.logits[1]) / sum(model.errors())
    assert Fraction(98, 100) < share < 1
    found = certificate(rows, np.ones(len(rows.T)))
    assert (found.token_id, found.formats["f32"].verdict) == (0, "order-dependent")


def neighbours(
    rng: np.random.Generator, format_: Format, spread: float, width: int
) -> tuple[Floats, Floats]:
    """Return 30 rows that differ in their last entries alone, by about so much, and a state."""
    rows = np.tile(rng.normal(0, 1, width), (30, 1))
    rows[:, -6:] = spread * rng.normal(0, 1, (30, 6))
    return round_to(rows, format_), round_to(rng.normal(0, 1, width), format_)


SPREADS = (3e-2, 3e-3, 1e-4, 1e-5, 3e-6, 1e-6, 3e-7, 1e-7)


@pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name)
def test_a_thousand_orders_of_summation_never_change_a_certain_token(format_: Format) -> None:
    rng = np.random.default_rng(1)
    certain = changed = 0
    for spread in SPREADS:
        rows, h = neighbours(rng, format_, spread, 48)
        found = certificate(rows, h, format_, logit_format=F32)
        computed = [fused(rows, h)]
        terms = (rows.astype(np.float32) * h.astype(np.float32)).astype(np.float32)
        for n in range(1000):
            order = rng.permutation(48)
            way = (in_order, by_halves, lambda t: in_blocks(t, 4), lambda t: in_blocks(t, 16))[
                n % 4
            ]
            computed.append(way(terms[:, order]))
            if n % 20 == 0:
                computed.append(fused(rows[:, order], h[order]))
        for name, here in found.formats.items():
            out = round_to(np.stack(computed).astype(np.float64), parse_format(name))
            on_top = out == out.max(axis=1, keepdims=True)
            tops = {tuple(np.flatnonzero(row).tolist()) for row in np.unique(on_top, axis=0)}
            if here.verdict == "certain":
                certain += 1
                assert tops == {(found.token_id,)}, (spread, name)
            changed += len(tops) > 1
    assert certain >= 3
    # And some that are not certain do change.
    assert changed >= 2


def cut_off(terms: Floats, width: int) -> Floats:
    """Return sums ``[V]`` as a tensor core forms them: blocks aligned to the largest, cut off."""
    total = np.zeros(len(terms))
    for start in range(0, terms.shape[1], width):
        addends = np.column_stack([total, terms[:, start : start + width]])
        largest = np.abs(addends).max(axis=1)
        unit = 2.0 ** (np.frexp(largest)[1] - 24.0)
        total = (np.trunc(addends / unit[:, None]) * unit[:, None]).sum(axis=1)
        unit = 2.0 ** (np.frexp(np.abs(total))[1] - 24.0)
        total = np.trunc(total / unit) * unit
    return total


@pytest.mark.parametrize("format_", [BF16, F16], ids=lambda f: f.name)
def test_cutting_off_never_changes_what_is_certain_on_tensor_cores(format_: Format) -> None:
    rng = np.random.default_rng(3)
    certain = changed = 0
    for spread in SPREADS * 3:
        rows, h = neighbours(rng, format_, spread, 128)
        found = certificate(rows, h, format_, logit_format=F32)
        tops: dict[str, set[tuple[int, ...]]] = {name: set() for name in found.formats}
        for block in (4, 8, 16) * 4:
            computed = cut_off((rows * h)[:, rng.permutation(128)], block)
            for name, seen in tops.items():
                out = round_to(computed, parse_format(name))
                seen.add(tuple(np.flatnonzero(out == out.max()).tolist()))
        for name, here in found.formats.items():
            if here.if_truncated == "certain":
                certain += 1
                assert tops[name] == {(found.token_id,)}
            changed += len(tops[name]) > 1
    assert certain >= 4
    assert changed >= 5


@pytest.mark.parametrize("block", [1, 2, 4, 16])
def test_cutting_off_can_exceed_what_rounding_can_and_stays_within_its_own_bound(
    block: int,
) -> None:
    """A term just below the unit is lost whole each time: twice what rounding loses."""
    width = 4097
    terms = np.full((1, width), 2.0**-23 * (1 - 2.0**-8))
    terms[0, 0] = 1
    error = Fraction(terms.sum()) - Fraction(cut_off(terms, block)[0])
    size = Fraction(terms.sum())
    assert error > ROUNDING.factor(width, exact_products=True) * size
    assert error < TRUNCATING.factor(width, exact_products=True) * size


def test_a_token_far_below_may_still_come_out_on_top_if_its_terms_are_large() -> None:
    """The third row's logit is negative, and the error of its terms larger than the top's logit."""
    rows = np.zeros((3, 64))
    rows[0, :3] = 64, -64, 2.0**-10
    rows[1, 2] = 2.0**-12
    rows[2, :3] = 512, -512, -(2.0**-9)
    found = certificate(rows, np.ones(64)).formats
    assert {here.verdict for here in found.values()} == {"order-dependent"}
    rows[2, :2] = 8, -8
    assert certificate(rows, np.ones(64)).formats["f32"].verdict == "certain"


def test_identical_rows_at_the_top_are_told_from_others_that_tie() -> None:
    rows = np.array([[1, 0, 0], [2, 0, 0], [2, 0, 0], [2, 2.0**-10, 0]])
    twins = certificate(rows[:3], [1, 1, 1])
    assert (twins.token_id, twins.runner_up, twins.margin) == (1, 2, 0.0)
    for here in twins.formats.values():
        assert (here.verdict, here.top_ids.tolist(), here.identical) == ("tied", [1, 2], True)
    joined = certificate(rows, [1, 1, 1])
    assert (joined.token_id, joined.runner_up) == (3, 1)
    bf16, f32 = joined.formats["bf16"], joined.formats["f32"]
    assert (bf16.verdict, bf16.top_ids.tolist(), bf16.identical) == ("tied", [1, 2, 3], False)
    assert f32.verdict == "certain"


def test_what_binary64_cannot_tell_apart_is_told_apart() -> None:
    rows = np.array([[1.0, 0.0, 0.0], [1.0, 2.0**-60, 0.0], [1.0, 0.0, 2.0**-61]])
    found = certificate(rows, [1.0, 1.0, 1.0])
    assert (found.token_id, found.runner_up, found.margin) == (1, 2, 2.0**-61)
    # 1 + 3·2^-8 lies halfway between two bf16 numbers and goes up, to the even one.
    rows = np.array([[1.0, 3 * 2.0**-8], [1 + 2.0**-6, 0.0]])
    assert certificate(rows, [1.0, 1.0]).formats["bf16"].top_ids.tolist() == [0, 1]


def test_rows_that_differ_by_the_sign_of_a_zero_are_identical() -> None:
    found = certificate([[2.0, 0.0], [2.0, -0.0], [1.0, 0.0]], [1.0, 1.0]).formats["f32"]
    assert (found.verdict, found.identical) == ("tied", True)


def test_a_bias_decides_and_may_be_added_after_the_rounding() -> None:
    rows, h = np.array([[1.0], [1.0]]), np.array([1.0])
    found = certificate(rows, h, bias=[0.0, 1.0])
    assert (found.token_id, found.margin) == (1, 1.0)
    assert {here.verdict for here in found.formats.values()} == {"certain"}


@pytest.mark.parametrize(
    ("products", "bias"),
    [
        # The other's 257.1 − 0.3 goes to 256, but its 257.1 alone to 258, as the top does.
        ((257.1875, 257.09375), (0.0, -0.30078125)),
        # The top's 256.9 + 0.3 goes to 258, but its 256.9 alone to 256, as the other does.
        ((256.90625, 256.5), (0.30078125, 0.0)),
    ],
)
def test_a_bias_may_be_added_after_the_product_is_rounded(
    products: tuple[float, float], bias: tuple[float, float]
) -> None:
    rows = np.array([[256, product - 256] for product in products])
    found = certificate(rows, [1.0, 1.0], bias=bias).formats
    grid = Model(rows, np.ones(2), "bf16", np.array(bias)).on_grid("bf16")
    assert grid == [258, 256]
    assert found["bf16"].verdict == "order-dependent"
    assert found["f32"].verdict == "certain"


def test_numbers_beyond_a_narrow_format_tie_at_its_infinity() -> None:
    rows = np.array([[300.0, 0], [299.0, 0], [1, 0]])
    found = certificate(rows, [300.0, 1], F16)
    assert found.formats["f16"].verdict == "tied"
    assert found.formats["f16"].top_ids.tolist() == [0, 1]
    assert found.formats["f32"].verdict == "certain"


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_with_a_bias_too_numbers_beyond_a_narrow_format_tie_at_its_infinity(sign: float) -> None:
    rows = sign * np.array([[300.0, 0], [200.0, 0]])
    bias = np.array([5.0, 1.0])
    found = certificate(rows, [400.0, 1], F16, bias=bias).formats
    assert found["f16"].verdict == found["f16"].if_truncated == "tied"
    assert found["f32"].verdict == "certain"


def test_the_bias_is_a_term_of_the_sum_and_counts_in_its_size() -> None:
    """In binary32 1 + 2⁻²⁶ is 1, and so is 2⁻²⁶ + 1."""
    for rows, bias in (([[1.0], [1.0]], [2.0**-26, 0.0]), ([[2.0**-26], [0.0]], [1.0, 1.0])):
        found = certificate(rows, [1.0], BF16, bias=bias)
        assert found.token_id == 0
        assert found.formats["f32"].verdict == "tied"


def test_a_token_that_rounding_before_the_bias_lifts_to_the_top_is_looked_at() -> None:
    """1003 is 1004 in bfloat16, and with its bias 2 instead of 1."""
    found = certificate([[2.0], [1.5], [1003.0]], [1.0], F32, bias=[0.0, 0.0, -1002.0])
    assert found.formats["bf16"].verdict == "order-dependent"
    assert found.formats["f32"].verdict == "certain"


def test_what_may_overflow_binary32_is_never_certain() -> None:
    rows = np.array([[2.0**100, 0, 0], [1, 2.0**120, -(2.0**120)]])
    found = certificate(rows, [1.0, 200.0, 200.0], F32).formats["f32"]
    assert found.verdict == "order-dependent"
    # The first is ahead of any error, but the second's partial sums may be infinite.
    rows[0, 0] = 2.0**110
    assert certificate(rows, [1.0, 200.0, 200.0], F32).formats["f32"].verdict == "order-dependent"
    rows[0, 0] = 2.0**100
    # In range, and the error of so large terms is above the other's logit.
    rows[1, 1:] *= 2.0**3
    assert certificate(rows, [1.0, 1.0, 1.0], F32).formats["f32"].verdict == "order-dependent"
    small = np.array([[2.0**100, 0, 0], [1, 2.0**60, -(2.0**60)]])
    assert certificate(small, [1.0, 1.0, 1.0], F32).formats["f32"].verdict == "certain"


def test_what_flushing_may_lose_is_never_certain() -> None:
    """Subnormal entries may be taken for zeros."""
    tiny = 2.0**-130
    rows = np.array([[tiny, 0], [0, 0]])
    assert certificate(rows, [1.0, 1.0], F32).formats["f32"].verdict == "order-dependent"
    assert certificate(rows * 2.0**20, [1.0, 1.0], F32).formats["f32"].verdict == "certain"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_where_a_logit_is_no_number_nothing_is_said(value: float) -> None:
    found = certificate([[1.0, value], [2.0, 1.0]], [1.0, 1.0])
    assert (found.token_id, found.runner_up) == (-1, -1)
    assert {here.verdict for here in found.formats.values()} == {"undefined"}
    assert certificate([[1.0], [2.0]], [value]).formats["f32"].verdict == "undefined"


def test_at_a_state_of_zeros_every_token_ties() -> None:
    rows = np.random.default_rng(0).normal(size=(3000, 4))
    found = certificate(round_to(rows, BF16), np.zeros(4))
    assert (found.token_id, found.runner_up, found.margin) == (0, 1, 0.0)
    for here in found.formats.values():
        assert (here.verdict, len(here.top_ids), here.identical) == ("tied", 3000, False)


def test_a_vocabulary_of_one_token_has_no_runner_up() -> None:
    found = certificate([[1.0, 2.0]], [1.0, 1.0])
    assert (found.token_id, found.runner_up) == (0, -1)
    assert found.formats["bf16"].verdict == "certain"
