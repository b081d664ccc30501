"""Observed arithmetic is torch's own, op for op, from the stored words."""

from fractions import Fraction

import numpy as np
import pytest

from isologit.errors import DeviceError
from isologit.numerics import exact
from isologit.numerics.formats import BF16, F16, F32, FORMATS, Format, decode
from isologit.numerics.observed import Observed, detect_device
from isologit.numerics.stored import Matrix, StoredWords, Vector

torch = pytest.importorskip("torch")

every_format = pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name)


@pytest.fixture
def cpu() -> Observed:
    return Observed("cpu")


def of_torch(values, format_: Format):  # type: ignore[no-untyped-def]
    """The peer: a tensor made by torch's own cast, from values that the format holds."""
    return torch.tensor(values, dtype=torch.float64).to(getattr(torch, format_.torch))


def sample(format_: Format, n_tokens: int = 96, width: int = 80) -> tuple[Matrix, Vector]:
    rng = np.random.default_rng(20)
    matrix = Matrix.of_values(rng.normal(scale=0.1, size=(n_tokens, width)), format_)
    return matrix, Vector.of_values(rng.normal(size=width), format_)


@every_format
def test_logits_are_torchs_product_of_the_same_numbers(cpu: Observed, format_: Format) -> None:
    matrix, h = sample(format_)
    peer = of_torch(matrix.rows(range(96)), format_) @ of_torch(h.values, format_)
    logits = cpu.logits(matrix, h, format_)
    assert logits.values.tolist() == peer.double().tolist()
    assert logits.refined == 0


@every_format
def test_logits_differ_from_exact_only_where_torch_is_not_correctly_rounded(
    cpu: Observed, format_: Format
) -> None:
    matrix, h = sample(format_, width=300)
    observed = cpu.logits(matrix, h, format_).values
    rounded = exact.logits(matrix, h, format_).values
    rows = matrix.rows(range(matrix.n_tokens))
    for token in range(matrix.n_tokens):
        real = sum(
            (Fraction(w) * Fraction(x) for w, x in zip(rows[token], h.values, strict=True)),
            Fraction(0),
        )
        torchs_error = abs(Fraction(observed[token]) - real)
        error = abs(Fraction(rounded[token]) - real)
        assert torchs_error >= error
        assert (observed[token] == rounded[token]) or torchs_error > error


def test_float32_logits_of_torch_are_not_all_correctly_rounded(cpu: Observed) -> None:
    matrix, h = sample(F32, width=300)
    observed = cpu.logits(matrix, h, F32).values
    assert (observed != exact.logits(matrix, h, F32).values).any()


def test_logits_in_another_format_cast_both_operands_first(cpu: Observed) -> None:
    matrix, h = sample(BF16)
    single = of_torch(matrix.rows(range(96)), F32) @ of_torch(h.values, F32)
    assert cpu.logits(matrix, h, F32).values.tolist() == single.double().tolist()
    wide = Vector.of_values(np.random.default_rng(1).normal(size=80), F32)
    cast = of_torch(matrix.rows(range(96)), BF16) @ of_torch(wide.values, BF16)
    assert cpu.logits(matrix, wide, BF16).values.tolist() == cast.double().tolist()


def test_negative_zero_logits_are_zero(cpu: Observed) -> None:
    # A negative product below half the smallest subnormal: torch rounds it to −0.
    matrix = Matrix.of_values([[-(2.0**-24)], [1.0]], F16)
    h = Vector.of_values([2.0**-10], F16)
    peer = of_torch(matrix.rows([0, 1]), F16) @ of_torch(h.values, F16)
    assert np.signbit(peer.double().numpy()).tolist() == [True, False]
    values = cpu.logits(matrix, h, F16).values
    assert values.tolist() == [0.0, 2.0**-10]
    assert not np.signbit(values).any()


def test_a_state_of_the_wrong_width_is_refused(cpu: Observed) -> None:
    matrix, _ = sample(BF16)
    short = Vector.of_values([1.0], BF16)
    with pytest.raises(ValueError, match="hidden state has 1 values, expected d = 80"):
        cpu.logits(matrix, short, BF16)
    with pytest.raises(ValueError, match="reference has 1 values, expected d = 80"):
        cpu.cosines(matrix, short, BF16)


@every_format
def test_cosines_round_norm_quotient_and_product_as_the_seed_does(
    cpu: Observed, format_: Format
) -> None:
    matrix, h = sample(format_)
    unit = Vector.of_values(h.values / np.linalg.norm(h.values), format_)
    W = of_torch(matrix.rows(range(96)), format_)
    r = of_torch(unit.values, format_)
    peer = (W / W.norm(dim=1, keepdim=True)) @ (r / r.norm())
    assert cpu.cosines(matrix, unit, format_).values.tolist() == peer.double().tolist()


@pytest.mark.parametrize("seed", range(20))
def test_the_norm_of_a_unit_reference_in_bfloat16_is_one(seed: int) -> None:
    # So that dividing by it leaves the seed's own steps as they are.
    direction = np.random.default_rng(seed).normal(size=2560)
    r = of_torch(direction / np.linalg.norm(direction), BF16)
    assert r.norm().item() == 1.0


def test_cosines_with_a_reference_of_any_length_lie_near_the_real_cosines(cpu: Observed) -> None:
    matrix, h = sample(BF16)
    long = Vector.of_values(h.values * 8, BF16)
    real = exact.cosines(matrix, h, F32).values
    np.testing.assert_allclose(cpu.cosines(matrix, long, BF16).values, real, atol=0.01)


def test_a_zero_row_and_a_zero_reference_have_no_cosine(cpu: Observed) -> None:
    matrix = Matrix.of_values([[0.0, 0.0], [3.0, 4.0]], BF16)
    values = cpu.cosines(matrix, Vector.of_values([1.0, 0.0], BF16), BF16).values
    assert np.isnan(values[0])
    assert values[1] == 0.6015625
    assert np.isnan(cpu.cosines(matrix, Vector.of_values([0.0, 0.0], BF16), BF16).values).all()


@every_format
def test_norms_means_and_medians_are_torchs(cpu: Observed, format_: Format) -> None:
    matrix, h = sample(format_)
    W = of_torch(matrix.rows(range(96)), format_)
    norms = cpu.norms(matrix, format_).values
    assert norms.tolist() == W.norm(dim=1).double().tolist()
    assert cpu.mean(norms, format_) == W.norm(dim=1).mean().item()
    assert cpu.median(norms, format_) == W.norm(dim=1).median().item()
    assert cpu.norm(h, format_) == of_torch(h.values, format_).norm().item()
    peer = of_torch(h.values, format_)
    assert cpu.dot(h, h, format_) == (peer @ peer).item()


@every_format
def test_the_mean_row_is_torchs_mean_of_the_chosen_rows(cpu: Observed, format_: Format) -> None:
    matrix, _ = sample(format_)
    ids = [3, 5, 8, 13, 21, 34, 55]
    mean, refined = cpu.mean_row(matrix, ids)
    peer = of_torch(matrix.rows(ids), format_).mean(dim=0)
    assert mean.values.tolist() == peer.double().tolist()
    assert mean.format is format_
    assert refined == 0


def test_the_mean_of_nothing_is_refused(cpu: Observed) -> None:
    matrix, _ = sample(BF16)
    with pytest.raises(ValueError, match="the mean of no rows"):
        cpu.mean_row(matrix, [])
    with pytest.raises(ValueError, match="the median of no values"):
        cpu.median(np.empty(0), BF16)


def test_a_median_with_nan_is_nan(cpu: Observed) -> None:
    assert np.isnan(cpu.median(np.array([1.0, np.nan, 2.0]), BF16))


@pytest.mark.parametrize("offset", [0, 1, 3])
@every_format
def test_words_at_any_alignment_give_the_same_logits_and_stay_as_they_were(
    cpu: Observed, format_: Format, offset: int
) -> None:
    matrix, h = sample(format_)
    stored = matrix.words.tobytes()
    mapped = bytes(offset) + stored
    words: StoredWords = np.frombuffer(mapped, dtype=format_.word_dtype, offset=offset)
    shifted = Matrix(words.reshape(96, 80), format_)
    expected = cpu.logits(matrix, h, format_).values
    assert cpu.logits(shifted, h, format_).values.tolist() == expected.tolist()
    cpu.cosines(shifted, h, format_)
    cpu.norms(shifted, format_)
    assert mapped[offset:] == stored


def test_aligned_words_reach_torch_without_a_copy(cpu: Observed) -> None:
    matrix, _ = sample(BF16)
    tensor = cpu._tensor(matrix.words, BF16)
    assert tensor.data_ptr() == matrix.words.ctypes.data
    assert tensor.dtype is torch.bfloat16


def test_the_tensor_keeps_the_words_alive(cpu: Observed) -> None:
    tensor = cpu._tensor(Matrix.of_values(np.full((300, 300), 0.5), BF16).words, BF16)
    # What would reuse the memory if it had been freed.
    others = [np.zeros((300, 300), dtype=np.uint16) for _ in range(8)]
    assert (tensor == 0.5).all()
    assert len(others) == 8


@pytest.mark.parametrize("format_", [BF16, F16], ids=lambda f: f.name)
def test_torch_reads_every_16_bit_pattern_as_its_value(cpu: Observed, format_: Format) -> None:
    words = np.arange(2**16, dtype=np.uint16)
    values = cpu._tensor(words, format_).double().numpy()
    np.testing.assert_array_equal(values, decode(words, format_))


def test_normal_weights_pass_through_a_product_with_one(cpu: Observed) -> None:
    # Subnormal ones need not: the bf16 dot-product instruction of some CPUs takes them for zero.
    words = np.arange(2**16, dtype=np.uint16)
    matrix = Matrix(words[(words & 0x7F80) != 0].reshape(-1, 1), BF16)
    one = Vector.of_values([1.0], BF16)
    np.testing.assert_array_equal(
        cpu.logits(matrix, one, BF16).values, exact.logits(matrix, one, BF16).values
    )


def test_detection_prefers_cuda_then_mps_then_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert detect_device() == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert detect_device() == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert detect_device() == "cpu"
    assert Observed().device == "cpu"


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps"])
def test_a_device_that_is_not_there_is_an_error_that_names_those_that_are(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError) as caught:
        Observed(device)
    assert str(caught.value) == (
        f"device '{device}' is not available: torch {torch.__version__} finds cpu. "
        "Name one of these, or use exact arithmetic, which needs none"
    )


def test_a_cuda_index_beyond_the_last_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert Observed("cuda:1").device == "cuda:1"
    with pytest.raises(DeviceError, match=r"'cuda:2' is not available: .* finds cpu, 2 cuda"):
        Observed("cuda:2")


@pytest.mark.parametrize("device", ["tpu", "cuda:", "cuda:x", "cpu:0", ""])
def test_an_unknown_device_is_an_error(device: str) -> None:
    with pytest.raises(DeviceError, match="is not known; expected cpu, cuda, cuda:N or mps"):
        Observed(device)


def test_the_environment_records_what_results_depend_on(cpu: Observed) -> None:
    assert cpu.environment["version"] == torch.__version__ == cpu.version
    assert cpu.environment["threads"] == str(torch.get_num_threads()) == str(cpu.threads)
    assert cpu.environment["device"] == "cpu"
    assert {"cpu_capability", "float32_matmul_precision"} <= cpu.environment.keys()


def test_no_setting_of_torch_is_changed(cpu: Observed) -> None:
    before = (torch.get_num_threads(), torch.get_float32_matmul_precision())
    matrix, h = sample(F16)
    cpu.logits(matrix, h, F16)
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every_format
def test_cuda_logits_are_torchs_on_that_device(format_: Format) -> None:
    matrix, h = sample(format_)
    peer = of_torch(matrix.rows(range(96)), format_).cuda() @ of_torch(h.values, format_).cuda()
    logits = Observed("cuda").logits(matrix, h, format_)
    assert logits.values.tolist() == peer.cpu().double().tolist()
