"""Domains: stored states are in them, exactly, and products with them are exact too."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from checkpoints import gaussian
from isologit.equivalence.domain import Domain, all_states, reachable_states
from isologit.equivalence.norm_range import NormRange
from isologit.numerics.formats import BF16, F32
from isologit.numerics.stored import Matrix, Vector

WIDTH = 9


def domain(kind: Any, *, constants: bool, eps: float | None = 1e-6) -> Domain:
    random = np.random.default_rng(3)
    gamma = random.uniform(-2, 2, WIDTH).astype(np.float32).astype(np.float64)
    beta = random.normal(size=WIDTH).astype(np.float32).astype(np.float64)
    norm = NormRange(kind, gamma, beta if constants else None, eps)
    return reachable_states(Matrix.of_values(gaussian(12, WIDTH), F32), norm)


@pytest.mark.parametrize("kind", ["rms", "layer"])
@pytest.mark.parametrize("constants", [False, True])
@pytest.mark.parametrize("eps", [1e-6, 0.0, None])
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_stored_states_are_in_the_domain_and_fit_binary32(
    kind: Any, constants: bool, eps: float | None, scale: float
) -> None:
    states = domain(kind, constants=constants, eps=eps)
    inner = states.stored(np.random.default_rng(0).normal(size=(20, WIDTH)) * scale)
    assert np.array_equal(inner.astype(np.float32), inner)
    for u in inner:
        assert states.holds(u)
        square = sum(Fraction(x) ** 2 for x in u)
        if constants:
            assert square < WIDTH
            assert eps or square * Fraction(states.spread[-1]) ** 2 >= WIDTH
        assert kind == "rms" or sum(map(Fraction, u)) == 0
        for factor in states.spread:
            for k, product in enumerate(states.products(u * factor)):
                gamma = Fraction(1 if states.of_hidden_states else states.gamma[k])
                assert Fraction(product) == gamma * Fraction(u[k]) * Fraction(factor)


def test_what_is_outside_is_not_held() -> None:
    ball, plane = domain("rms", constants=True), domain("layer", constants=False)
    assert not ball.holds(np.ones(WIDTH))  # on the sphere, which ε keeps out
    assert ball.holds(np.ones(WIDTH) * (1 - 2.0**-20))
    assert not plane.holds(np.eye(WIDTH)[0])
    assert not plane.holds(np.full(WIDTH, np.nan))


@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_constants_are_those_of_beta_and_bias(kind: Any) -> None:
    matrix = Matrix.of_values(gaussian(12, WIDTH), BF16)
    beta, bias = gaussian(1, WIDTH, seed=5)[0], Vector.of_values(np.arange(12) / 8, F32)
    norm = NormRange(kind, np.ones(WIDTH), beta, 1e-6)
    states = reachable_states(matrix, norm, bias, Fraction(3))
    exact = states.exact_constants(np.arange(12))
    found, errors = states.constants
    for token in range(12):
        row = matrix.rows([token])[0]
        real = sum((Fraction(a) * Fraction(b) for a, b in zip(row, beta, strict=True)), Fraction(0))
        assert exact[token] == real + 3 * Fraction(token, 8)
        assert abs(Fraction(found[token]) - exact[token]) <= Fraction(errors[token])


def test_which_domain_a_norm_has() -> None:
    matrix = Matrix.of_values(gaussian(5, 3), BF16)
    ones, killed = np.ones(3), np.array([1.0, 0.0, 1.0])
    zero = Vector.of_values(np.zeros(5), F32)
    bias = Vector.of_values(np.ones(5), F32)
    shapes = [
        reachable_states(matrix, NormRange("rms", ones, None, 1e-6), zero).shape,
        reachable_states(matrix, NormRange("rms", ones, np.zeros(3), 1e-6)).shape,
        reachable_states(matrix, NormRange("layer", ones, None, 1e-6)).shape,
        reachable_states(matrix, NormRange("layer", killed, None, 1e-6)).shape,
        reachable_states(matrix, NormRange("rms", ones, ones, 1e-6)).shape,
        reachable_states(matrix, NormRange("layer", killed, None, 1e-6), bias).shape,
    ]
    assert shapes == ["space", "space", "plane", "space", "ball", "ball"]
    kept = reachable_states(matrix, NormRange("layer", killed, None, 1e-6)).kept
    assert kept.tolist() == [True, False, True]
    assert all_states(matrix, bias).has_constants
    assert not all_states(matrix, zero).has_constants
