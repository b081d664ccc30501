"""Clusters that are planted are found, and found whole; clouds have none."""

import tracemalloc
from pathlib import Path

import ml_dtypes  # noqa: F401 - safetensors reads bf16 for numpy only where this is imported
import numpy as np
import numpy.typing as npt
import pytest
from safetensors import safe_open

from isologit.equivalence import cluster as cluster_module
from isologit.equivalence.cluster import Cluster, find_clusters
from isologit.equivalence.partition import Overlap, Partition
from isologit.equivalence.rows import row_classes
from isologit.numerics.formats import BF16, F16, F32, FORMATS, Format
from isologit.numerics.parallel import get_threads, set_threads
from isologit.numerics.stored import Matrix, StoredWords

from .populations import (
    Ids,
    Values,
    cloud,
    clouds_without_clusters,
    duplicate,
    load_twin,
    plant,
)


def assert_finds(values: npt.ArrayLike, format_: Format, *planted: Ids) -> list[Cluster]:
    """Hold the clusters of a matrix against what was planted, in any order."""
    found = find_clusters(Matrix.of_values(values, format_))
    assert len(found) == len(planted), [cluster.why for cluster in found]
    for ids in planted:
        overlaps = [Overlap.of(ids, cluster.token_ids) for cluster in found]
        best = max(overlaps, key=lambda overlap: overlap.both)
        assert best.share_of_a >= 0.99, "recall"
        assert best.share_of_b >= 0.99, "precision"
    return found


def assert_finds_none(values: npt.ArrayLike, format_: Format) -> None:
    found = find_clusters(Matrix.of_values(values, format_))
    assert found == [], [cluster.why for cluster in found]


def everyone(values: Values) -> Ids:
    return np.arange(len(values))


@pytest.fixture(scope="module")
def small_twin() -> tuple[npt.NDArray[np.int32], Matrix, list[int]]:
    truth, blocks = load_twin().twin_blocks(16_000, 256, seed=7)
    sizes = [len(population) for population in truth.populations]
    return truth.cluster, Matrix(np.concatenate(list(blocks)), BF16), sizes


def test_twin_has_the_planted_row_classes_and_no_others(
    small_twin: tuple[npt.NDArray[np.int32], Matrix, list[int]],
) -> None:
    _, matrix, sizes = small_twin
    found = row_classes(matrix).bits.sizes()
    assert sorted(found[found > 1], reverse=True) == sizes
    assert sizes == [814, 704, 306, 228, 11, 10, 6, 5, 4, 4, 3, 3, 2]


def test_twin_cluster_is_found_whole_and_alone(
    small_twin: tuple[npt.NDArray[np.int32], Matrix, list[int]],
) -> None:
    planted, matrix, _ = small_twin
    (cluster,) = find_clusters(matrix, row_classes(matrix).values)
    overlap = Overlap.of(planted, cluster.token_ids)
    assert overlap.share_of_a >= 0.99, "recall"
    assert overlap.share_of_b >= 0.99, "precision"
    assert cluster.token_ids.dtype == np.int32
    assert (np.diff(cluster.token_ids) > 0).all()


def test_twin_file_and_directory_hold_the_same_rows(tmp_path: Path) -> None:
    twin = load_twin()
    file = tmp_path / "W.safetensors"
    truth = twin.make_twin(file, n_tokens=5_000, width=64, seed=3)
    assert twin.make_twin(tmp_path / "twin", n_tokens=5_000, width=64, seed=3) == truth
    assert twin.read_truth(file) == truth == twin.read_truth(tmp_path / "twin")
    with safe_open(file, "np") as tensors:
        assert list(tensors.keys()) == ["W"]
        assert tensors.get_slice("W").get_shape() == [5_000, 64]
    words = np.concatenate(list(twin.twin_blocks(5_000, 64, 3)[1]))
    assert file.read_bytes().endswith(words.tobytes())
    assert words.tobytes() in (tmp_path / "twin" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)
@pytest.mark.parametrize(
    ("n_tokens", "width", "size", "spread"),
    [
        (2_000, 16, 300, 0.01),
        (16_000, 64, 300, 0.1),
        (16_000, 256, 20, 0.02),
        (300, 64, 60, 0.003),
    ],
)
def test_planted_cluster_is_found_whole(
    n_tokens: int, width: int, size: int, spread: float, format_: Format
) -> None:
    for seed in range(3):
        generator = np.random.default_rng(seed)
        values = cloud(generator, n_tokens, width)
        planted = plant(generator, values, size, spread, everyone(values))
        assert_finds(values, format_, planted)


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)
def test_two_clusters_one_of_twenty_tokens_are_told_apart(format_: Format) -> None:
    for seed in range(3):
        generator = np.random.default_rng(seed)
        values = cloud(generator, 16_000, 128)
        large = plant(generator, values, 1_500, 0.01, everyone(values))
        small = plant(generator, values, 20, 0.01, np.setdiff1d(everyone(values), large))
        found = assert_finds(values, format_, large, small)
        first = next(iter(find_clusters(Matrix.of_values(values, format_))), None)
        assert first is not None
        assert first.token_ids.tolist() == found[0].token_ids.tolist()
        assert set(large) & set(first.token_ids.tolist()), "the larger one is more prominent"


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)
def test_cluster_on_a_mean_shifted_cloud_is_found(format_: Format) -> None:
    generator = np.random.default_rng(0)
    values = cloud(generator, 8_000, 128)
    planted = plant(generator, values, 200, 0.01, everyone(values))
    # Half of an ULP of these values is .06 in bf16: rows nearer than that become duplicates.
    values += 8 * np.sign(generator.normal(size=128))
    assert_finds(values, format_, planted)


def test_duplicates_of_members_are_members_and_of_others_are_not() -> None:
    generator = np.random.default_rng(1)
    values = cloud(generator, 8_000, 128)
    planted = plant(generator, values, 120, 0.01, everyone(values))
    others = np.setdiff1d(everyone(values), planted)
    copies = generator.choice(others, 3_000, replace=False)
    ordinary = np.setdiff1d(others, copies)
    values[copies[:2_000]] = values[planted[generator.integers(0, 5, 2_000)]]
    values[copies[2_000:]] = values[ordinary[generator.integers(0, 5, 1_000)]]
    assert_finds(values, BF16, np.union1d(planted, copies[:2_000]))


def test_few_populations_of_duplicates_a_few_ulps_apart_are_a_cluster() -> None:
    generator = np.random.default_rng(2)
    values = cloud(generator, 16_000, 256)
    rows = generator.permutation(16_000)[:600].reshape(6, 100)
    centre = 0.4 * generator.normal(size=256)
    for population in rows:
        values[population] = centre * (1 + generator.integers(-1, 2, size=256) / 256)
    assert_finds(values, BF16, np.sort(rows.ravel()))


@pytest.mark.parametrize("n_sources", [1, 5, 50, 2_500])
@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)
def test_five_thousand_duplicates_of_ordinary_rows_are_no_cluster(
    n_sources: int, format_: Format
) -> None:
    generator = np.random.default_rng(n_sources)
    values = cloud(generator, 16_000, 64)
    duplicate(generator, values, 5_000, n_sources)
    matrix = Matrix.of_values(values, format_)
    assert row_classes(matrix).bits.n_classes <= 11_000
    assert find_clusters(matrix) == []


@pytest.mark.parametrize("seed", range(100))
def test_gaussian_matrices_have_no_cluster(seed: int) -> None:
    generator = np.random.default_rng(seed)
    n_tokens = int(10 ** generator.uniform(0.5, 4))
    width = int(10 ** generator.uniform(0, 2.3))
    values = generator.normal(size=(n_tokens, width)) + generator.normal()
    assert_finds_none(values, FORMATS[seed % 3])


@pytest.mark.parametrize("width", [1, 2, 16, 128])
@pytest.mark.parametrize("n_tokens", [30, 2_000])
def test_clouds_of_many_shapes_have_no_cluster(n_tokens: int, width: int) -> None:
    generator = np.random.default_rng(width)
    for format_ in FORMATS:
        for name, values in clouds_without_clusters(generator, n_tokens, width):
            with np.errstate(over="ignore"):
                found = find_clusters(Matrix.of_values(values, format_))
            assert found == [], (name, format_.name, [cluster.why for cluster in found])


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)
@pytest.mark.parametrize("shape", [(5_000, 1), (5_000, 3), (2_000, 64)])
def test_random_bits_have_no_cluster(shape: tuple[int, int], format_: Format) -> None:
    generator = np.random.default_rng(shape[1])
    wide = generator.integers(0, 2**format_.bits, size=shape, dtype=np.uint32)
    words: StoredWords = wide if format_.bits == 32 else wide.astype(np.uint16)
    assert find_clusters(Matrix(words, format_)) == []


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)
@pytest.mark.parametrize("n_tokens", [0, 1, 2, 7, 8, 9, 40, 200])
def test_constant_matrices_have_no_cluster(n_tokens: int, format_: Format) -> None:
    generator = np.random.default_rng(0)
    for width in (1, 3, 40):
        shape = (n_tokens, width)
        signs = np.where(generator.random(shape) < 0.5, -0.0, 0.0)
        for value in (0.0, 1.0, np.nan, np.inf, signs):
            assert_finds_none(np.broadcast_to(value, shape), format_)


def test_zero_and_non_finite_rows_are_set_apart() -> None:
    generator = np.random.default_rng(5)
    values = cloud(generator, 8_000, 64)
    values[:500] = 0
    values[500:600] = np.nan
    values[600:700, 3] = np.inf
    values[700:710, :2] = [np.inf, -np.inf]
    assert_finds_none(values, BF16)
    near_zero = plant(generator, values, 200, 0.01, np.arange(1_000, 8_000))
    values[near_zero] -= values[near_zero].mean(axis=0)
    assert_finds(values, BF16, near_zero)


def test_rows_that_differ_in_signs_of_zero_alone_are_no_cluster() -> None:
    generator = np.random.default_rng(6)
    values = cloud(generator, 3_000, 64)
    values[:400] = values[0]
    values[:400, 10:30] = np.where(generator.random((400, 20)) < 0.5, -0.0, 0.0)
    matrix = Matrix.of_values(values, F16)
    assert row_classes(matrix).bits.n_classes == 3_000
    assert find_clusters(matrix) == []
    assert find_clusters(matrix, row_classes(matrix).bits) == []


def test_stragglers_on_the_way_out_do_not_hide_a_cluster() -> None:
    generator = np.random.default_rng(7)
    values = cloud(generator, 4_000, 64)
    planted = plant(generator, values, 200, 0.003, everyone(values))
    centre = values[planted].mean(axis=0)
    # Eight rows at 2, 4, … 256 times the radius: no single gap is wider than a factor of two.
    free = np.setdiff1d(everyone(values), planted)[:8]
    steps = 2.0 ** np.arange(1, 9)[:, None] * 0.003
    values[free] = centre + steps * generator.normal(size=(8, 64))
    (cluster,) = find_clusters(Matrix.of_values(values, F32))
    assert set(planted) <= set(cluster.token_ids.tolist()) <= set(planted) | set(free)


def test_a_wide_group_around_a_tight_one_leaves_the_tight_one() -> None:
    generator = np.random.default_rng(8)
    values = cloud(generator, 8_000, 64)
    wide = plant(generator, values, 300, 0.05, everyone(values))
    values[wide[:60]] = values[wide].mean(axis=0) + 0.0005 * generator.normal(size=(60, 64))
    assert_finds(values, F32, wide[:60])


def test_every_row_in_some_clump_means_that_none_stands_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Said from the sketches alone: a pass over W for each of thousands of clumps takes minutes.
    monkeypatch.delattr(cluster_module._Cloud, "square_distances")
    generator = np.random.default_rng(9)
    centres = generator.normal(size=(200, 64))
    values = np.repeat(centres, 30, axis=0) + 0.01 * generator.normal(size=(6_000, 64))
    assert_finds_none(values, BF16)


def test_the_number_of_threads_changes_nothing() -> None:
    generator = np.random.default_rng(10)
    values = cloud(generator, 16_000, 300)
    plant(generator, values, 400, 0.02, everyone(values))
    matrix = Matrix.of_values(values, BF16)
    answers = []
    before = get_threads()
    try:
        for threads in (1, 2, 5):
            set_threads(threads)
            (cluster,) = find_clusters(matrix)
            answers.append((cluster.token_ids.tolist(), cluster.why, cluster.excess))
    finally:
        set_threads(before)
    assert answers[0] == answers[1] == answers[2]


def test_renaming_tokens_renames_the_members_and_no_more() -> None:
    generator = np.random.default_rng(11)
    values = cloud(generator, 8_000, 64)
    plant(generator, values, 100, 0.02, everyone(values))
    order = generator.permutation(8_000)
    (cluster,) = find_clusters(Matrix.of_values(values, BF16))
    (renamed,) = find_clusters(Matrix.of_values(values[order], BF16))
    assert sorted(order[renamed.token_ids]) == cluster.token_ids.tolist()


def test_the_reason_gives_the_numbers() -> None:
    generator = np.random.default_rng(12)
    values = cloud(generator, 8_000, 64)
    plant(generator, values, 100, 0.02, everyone(values))
    (cluster,) = find_clusters(Matrix.of_values(values, F32))
    assert cluster.why.startswith("100 distinct rows lie within 0.")
    assert f"{cluster.gap_ratio:,.1f} times as far; evidence {cluster.excess:,.0f} nats" in (
        cluster.why
    )
    assert "at most one in 1,000,000 clouds of 8,000 rows reaches" in cluster.why


def test_it_needs_little_memory_beside_the_matrix() -> None:
    generator = np.random.default_rng(13)
    words = generator.integers(0x3F00, 0x3F80, size=(20_000, 512)).astype(np.uint16)
    matrix = Matrix(words, BF16)
    rows = Partition(np.arange(20_000, dtype=np.int32))
    find_clusters(matrix, rows)
    tracemalloc.start()
    find_clusters(matrix, rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000 * 8 * 100


class TestRealCheckpoints:
    """What the finder says of real checkpoints is true of their rows."""

    def test_llama2xs_special_and_byte_tokens(self, shared: Path) -> None:
        matrix = _read(shared / "checkpoints" / "llama2xs-hf-bf16", "model.embed_tokens.weight")
        (cluster,) = find_clusters(matrix)
        # Ids below 259 are 3 special and 256 byte tokens: 13 of them lie elsewhere.
        assert np.count_nonzero(cluster.token_ids < 259) == 246
        assert len(cluster.token_ids) == 257
        _assert_packed(matrix, cluster)

    @pytest.mark.parametrize(("tensor", "size"), [("head.weight", 163), ("emb.weight", 160)])
    def test_rwkv_bytes_never_seen_in_training(self, shared: Path, tensor: str, size: int) -> None:
        matrix = _read(shared / "checkpoints" / "rwkv-4v0-660K-fp16", tensor)
        (cluster,) = find_clusters(matrix)
        # No text in UTF-8 of that language has these; line feed and what is printable it has.
        never_seen = {*range(10), *range(11, 32), *range(127, 256)}
        assert len(never_seen) == 160
        assert never_seen <= set(cluster.token_ids.tolist())
        assert len(cluster.token_ids) == size
        _assert_packed(matrix, cluster)


def _read(directory: Path, tensor: str) -> Matrix:
    with safe_open(directory / "model.safetensors", "np") as tensors:
        values = tensors.get_tensor(tensor)
    format_ = {"bfloat16": BF16, "float16": F16}[values.dtype.name]
    return Matrix(values.view(np.uint16), format_)


def _assert_packed(matrix: Matrix, cluster: Cluster) -> None:
    values = matrix.rows(np.arange(matrix.n_tokens))
    distances = np.linalg.norm(values[:, None] - values[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    inside = np.isin(np.arange(matrix.n_tokens), cluster.token_ids)
    among = distances[inside][:, inside].min(axis=1)
    apart = distances[inside][:, ~inside].min(axis=1)
    assert np.median(apart) > 10 * np.median(among)
