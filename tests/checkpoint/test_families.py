"""What is found of each family's tiny checkpoint: W, γ, β, bias, scale, softcap, warnings."""

import numpy as np
import numpy.typing as npt
import pytest

from isologit.checkpoint.head import Head, find_head
from isologit.checkpoint.open import open_checkpoint
from isologit.numerics.formats import BF16, F32, encode, round_to

from .conftest import Write
from .family_cases import CASES, Case, D


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def head(case: Case, write: Write) -> Head:
    return find_head(open_checkpoint(write(case.tensors, case.config)))


def values(case: Case, name: str) -> npt.NDArray[np.float64]:
    """Return what `write` stored: bf16 of normal numbers of the tensor's own seed."""
    seed = list(case.tensors).index(name)
    drawn = np.random.default_rng(seed).normal(size=case.tensors[name])
    return round_to(drawn, BF16)


def test_the_matrix_is_the_one_that_the_family_multiplies_by(case: Case, head: Head) -> None:
    assert (head.tensor, head.tied) == (case.tensor, case.tied)
    np.testing.assert_array_equal(head.matrix.words, encode(values(case, case.tensor), BF16))


def test_gamma_is_as_the_model_applies_it(case: Case, head: Head) -> None:
    assert head.norm.kind == case.kind
    if case.kind == "unknown":
        assert head.norm.gamma is None
        assert head.norm.source
        return
    assert head.norm.convention == case.convention
    assert head.norm.gamma is not None
    if case.convention == "no parameters":
        expected = np.ones(D)
    else:
        assert head.norm.source == case.gamma
        expected = values(case, case.gamma)
    if case.convention == "1 + weight":
        # Nemotron adds in the weight's own format, the others in float32.
        expected = round_to(1 + expected, BF16 if head.family == "nemotron" else F32)
    np.testing.assert_array_equal(head.norm.gamma, expected)


def test_beta_is_there_where_a_layer_norm_stores_it(case: Case, head: Head) -> None:
    if not case.beta:
        assert head.norm.beta is None
        return
    assert head.norm.beta is not None
    np.testing.assert_array_equal(head.norm.beta, values(case, case.beta))


def test_epsilon_is_the_config_s_or_the_family_s(case: Case, head: Head) -> None:
    assert head.norm.eps == case.eps


def test_bias_is_one_number_a_token(case: Case, head: Head) -> None:
    assert head.bias_tensor == case.bias
    if case.bias:
        assert head.bias is not None
        np.testing.assert_array_equal(head.bias.values, values(case, case.bias).ravel())
    else:
        assert head.bias is None


def test_scale_and_softcap_are_the_config_s(case: Case, head: Head) -> None:
    scale = head.scale and (head.scale.multiply, head.scale.divisor, head.scale.applies_to)
    assert scale == case.scale
    assert head.softcap == case.softcap


def test_warnings_are_given_only_where_there_is_something_to_know(case: Case, head: Head) -> None:
    assert len(head.warnings) == len(case.warnings)
    for warning, expected in zip(head.warnings, case.warnings, strict=True):
        assert expected in warning


def test_the_reason_is_one_line(head: Head) -> None:
    assert head.why
    assert "\n" not in head.why
