"""Grades of under-training: where it is known what training never saw, and where nothing is unseen.

Ground truth is the record of the embedded checkpoint, and of rwkv's small model the bytes that no
text of its kind holds. Everything else is drawn here, so that what was planted is known.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from equivalence.populations import clouds_without_clusters
from isologit.checkpoint.head import find_head
from isologit.checkpoint.open import open_checkpoint
from isologit.demo import checkpoint_path, load_training_record
from isologit.equivalence.cluster import find_clusters
from isologit.equivalence.rows import row_classes
from isologit.numerics.formats import BF16, F16, F32, FORMATS, Format
from isologit.numerics.parallel import set_threads
from isologit.numerics.stored import Matrix
from isologit.tokens.evidence import GRADES, Evidence
from isologit.tokens.undertrained import undertrained_evidence

NONE, WEAK, LIKELY, STRONG = range(4)
NO_UTF8 = (0xC0, 0xC1, *range(0xF5, 0x100))
# Of the text that rwkv's small model was trained on.
UNSEEN_BYTES = {*range(10), *range(11, 32), *range(127, 256)}

Values = npt.NDArray[np.float64]
Case = tuple[Matrix, npt.NDArray[np.int64], Evidence]


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    yield
    set_threads(0)


def masks_of(
    n_tokens: int, candidates: Mapping[str, Iterable[int]]
) -> dict[str, npt.NDArray[np.bool_]]:
    return {name: np.isin(np.arange(n_tokens), list(ids)) for name, ids in candidates.items()}


def evidence_of(
    matrix: Matrix, candidates: Mapping[str, Iterable[int]] | None = None, *, clusters: bool = True
) -> Evidence:
    """Grade all tokens, with the row classes and clusters that isologit finds."""
    rows = row_classes(matrix)
    found = find_clusters(matrix, rows.row_values) if clusters else []
    masks = masks_of(matrix.n_tokens, candidates or {})
    return undertrained_evidence(
        matrix, masks, rows.rows.labels, [each.token_ids for each in found]
    )


def graded(evidence: Evidence, least: int) -> set[int]:
    return set(np.flatnonzero(evidence.grades >= least).tolist())


def trained(generator: np.random.Generator, n_tokens: int, width: int) -> Values:
    """Rows of norm about 1, the middle two thirds within 30 %, with a mean that all share."""
    rows = generator.normal(size=(n_tokens, width))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    mean = generator.normal(size=width)
    rows += 0.4 * mean / np.linalg.norm(mean)
    return np.asarray(rows * np.exp(0.3 * generator.normal(size=(n_tokens, 1))))


def gaussian(generator: np.random.Generator, n: int, width: int) -> Values:
    return np.asarray(generator.normal(size=(n, width)) / np.sqrt(width))


def uniform(generator: np.random.Generator, n: int, width: int) -> Values:
    return np.asarray(generator.uniform(-1, 1, size=(n, width)) * np.sqrt(3 / width))


def orthogonal(generator: np.random.Generator, n: int, width: int) -> Values:
    blocks = [np.linalg.qr(generator.normal(size=(width, width)))[0] for _ in range(-(-n // width))]
    return np.concatenate(blocks)[:n]


INITIALISATIONS: dict[str, Callable[[np.random.Generator, int, int], Values]] = {
    "Gaussian": gaussian,
    "uniform": uniform,
    "orthogonal": orthogonal,
}


def planted(
    untouched: Values, seed: int = 0, n_tokens: int = 3000
) -> tuple[Values, npt.NDArray[np.int64]]:
    """Hide untouched rows among trained ones; returns all, and which they are."""
    generator = np.random.default_rng(seed)
    rows = trained(generator, n_tokens, untouched.shape[1])
    ids = np.sort(generator.choice(n_tokens, len(untouched), replace=False))
    rows[ids] = untouched
    return rows, ids


@pytest.fixture(scope="module")
def embedded() -> Matrix:
    """The head of the embedded checkpoint."""
    return find_head(open_checkpoint(checkpoint_path())).matrix


@pytest.fixture(scope="module")
def unseen() -> set[int]:
    """The tokens that its training never saw."""
    record = load_training_record()
    return {*record.never_seen_ids, *record.padding_ids}


@pytest.fixture(scope="module")
def evidence(embedded: Matrix) -> Evidence:
    """What its tokenizer and its rows say."""
    return evidence_of(embedded, {"padding": load_training_record().padding_ids})


@pytest.fixture(scope="module")
def case() -> Case:
    """A small matrix whose core is packed about a point, with ten rows that have left it.

    The others have a first axis that stands out.
    """
    generator = np.random.default_rng(18)
    rows, ids = planted(0.02 * gaussian(generator, 100, 64) + np.eye(64)[1])
    rows[ids[90:]] += 0.05 * np.eye(64)[2]
    others = np.setdiff1d(np.arange(len(rows)), ids)
    rows[others] += generator.normal(size=(len(others), 1)) * np.eye(64)[5]
    matrix = Matrix.of_values(rows, F32)
    return matrix, ids, evidence_of(matrix, {"padding": ids[:20]}, clusters=False)


class TestTheEmbeddedCheckpoint:
    """Every token that its training never saw is known."""

    def test_all_that_it_never_saw_is_strong_and_hardly_anything_else(
        self, evidence: Evidence, unseen: set[int]
    ) -> None:
        assert unseen <= graded(evidence, STRONG)
        # Two tokens that were seen have rows that differ from these by a few last bits.
        assert len(graded(evidence, STRONG) - unseen) <= 1
        assert len(graded(evidence, LIKELY) - unseen) <= 2

    def test_all_padding_rows_are_the_core(self, evidence: Evidence) -> None:
        reference = evidence.reference
        assert reference.kind == "packed"
        assert reference.by == "names"
        assert reference.token_ids.tolist() == list(load_training_record().padding_ids)
        assert reference.core == reference.tokens == {"padding": 16}
        # Its rows lie above all others: a low norm would have found none of them.
        assert reference.shell is not None
        assert reference.shell.centre_norm == pytest.approx(1.8191, abs=1e-4)

    def test_without_a_tokenizer_row_classes_are_the_reference(
        self, embedded: Matrix, unseen: set[int]
    ) -> None:
        evidence = evidence_of(embedded)
        assert evidence.reference.by == "row classes"
        assert unseen <= graded(evidence, STRONG)
        assert len(graded(evidence, LIKELY) - unseen) <= 2

    def test_without_clusters_it_finds_them_all_the_same(
        self, embedded: Matrix, unseen: set[int]
    ) -> None:
        padding = {"padding": load_training_record().padding_ids}
        evidence = evidence_of(embedded, padding, clusters=False)
        assert unseen <= graded(evidence, LIKELY)
        assert len(graded(evidence, LIKELY) - unseen) <= 2

    @pytest.mark.parametrize("seed", range(4))
    def test_it_is_silent_about_the_rows_of_tokens_that_were_seen(
        self, embedded: Matrix, unseen: set[int], seed: int
    ) -> None:
        seen = embedded.take([n for n in range(embedded.n_tokens) if n not in unseen])
        draw = np.random.default_rng(seed).choice
        names = {"padding": draw(seen.n_tokens, 16), "unreachable": draw(seen.n_tokens, 200)}
        evidence = evidence_of(seen, names if seed else {})
        assert evidence.reference.kind is None
        assert not graded(evidence, LIKELY)

    def test_tokens_seen_a_few_times_are_near_and_weak(
        self, evidence: Evidence, unseen: set[int]
    ) -> None:
        near = set(np.flatnonzero(evidence.flags["near"]).tolist())
        assert 10 <= len(near) <= 60
        assert not near & unseen
        assert (evidence.grades[list(near)] == WEAK).all()


class TestRealCheckpoints:
    """Untied heads of 256 bytes, and a tied one whose unused rows are longer than the others."""

    def rwkv(self, shared: Path, role: str) -> Matrix:
        path = shared / "checkpoints" / "rwkv-4v0-660K-fp16"
        return find_head(open_checkpoint(path), role=role).matrix  # type: ignore[arg-type]

    def test_rwkv_head(self, shared: Path) -> None:
        evidence = evidence_of(self.rwkv(shared, "output"), {"never_in_utf8": NO_UTF8})
        assert evidence.reference.core == {"never_in_utf8": 13}
        # &, @ and ~ were seen so seldom as targets that their rows lie with the unseen ones.
        assert graded(evidence, LIKELY) == UNSEEN_BYTES | {ord("&"), ord("@"), ord("~")}
        assert graded(evidence, STRONG) <= UNSEEN_BYTES
        assert len(graded(evidence, STRONG)) >= 0.9 * len(UNSEEN_BYTES)

    def test_rwkv_embedding_keeps_the_shell_that_it_was_drawn_from(self, shared: Path) -> None:
        evidence = evidence_of(self.rwkv(shared, "input"), {"never_in_utf8": NO_UTF8})
        assert graded(evidence, LIKELY) == graded(evidence, STRONG) == UNSEEN_BYTES
        assert evidence.reference.is_at_origin
        # RWKV draws its embedding from a uniform distribution.
        shell = evidence.reference.shell
        assert shell is not None
        assert "uniform" in shell.resembles
        assert np.isnan(evidence.indicators["cosine"]).all()

    @pytest.mark.parametrize("role", ["output", "input"])
    def test_a_cluster_alone_is_likely_at_most(self, shared: Path, role: str) -> None:
        evidence = evidence_of(self.rwkv(shared, role))
        assert evidence.reference.by == "cluster"
        assert graded(evidence, LIKELY) >= UNSEEN_BYTES
        assert not graded(evidence, STRONG)

    @pytest.mark.parametrize("role", ["output", "input"])
    def test_rwkv_bytes_that_were_seen_show_nothing(self, shared: Path, role: str) -> None:
        matrix = self.rwkv(shared, role)
        seen = matrix.take(sorted(set(range(256)) - UNSEEN_BYTES))
        for seed in range(20):
            names = np.random.default_rng(seed).choice(seen.n_tokens, 13, replace=False)
            assert not graded(evidence_of(seen, {"never_in_utf8": names}), LIKELY)

    @pytest.mark.parametrize(
        "name",
        ["llama2xs-hf-bf16", "llama2xs-F16.gguf", "llama2xs-Q8_0.gguf", "llama2xs-Q4_0.gguf"],
    )
    def test_llama2xs_unused_rows_lie_above_the_others(self, shared: Path, name: str) -> None:
        matrix = find_head(open_checkpoint(shared / "checkpoints" / name)).matrix
        evidence = evidence_of(matrix, {"never_in_utf8": [3 + byte for byte in NO_UTF8]})
        norms = evidence.indicators["norm"]
        strong = graded(evidence, STRONG)
        # The bytes of its fallback are ids 3 to 258; ASCII text has pieces of its own.
        assert {3 + byte for byte in NO_UTF8} <= strong
        assert len([n for n in strong if n < 259]) >= 240
        assert np.median(norms[sorted(strong)]) > 1.3 * np.median(norms[evidence.grades == NONE])
        assert not (evidence.flags["low_norm"] & (evidence.grades >= LIKELY)).any()


class TestShells:
    """Rows as they were drawn, among trained ones."""

    @pytest.mark.parametrize("name", INITIALISATIONS)
    @pytest.mark.parametrize("ratio", [0.02, 0.3, 3.0])
    def test_untouched_rows_are_found_above_and_below_the_trained_ones(
        self, name: str, ratio: float
    ) -> None:
        generator = np.random.default_rng(1)
        rows, ids = planted(ratio * INITIALISATIONS[name](generator, 300, 128))
        evidence = evidence_of(Matrix.of_values(rows, BF16), {"unreachable": ids[:40]})
        found = graded(evidence, LIKELY)
        assert len(found & set(ids.tolist())) >= 0.97 * len(ids)
        assert len(found - set(ids.tolist())) <= 0.05 * len(found)
        shell = evidence.reference.shell
        assert shell is not None
        assert name in shell.resembles
        assert shell.mean_radius == pytest.approx(ratio, rel=0.03)

    def test_rows_that_share_a_drift_are_found_and_measured_about_their_own_centre(self) -> None:
        generator = np.random.default_rng(2)
        drift = 2.0 * np.eye(256)[7]
        rows, ids = planted(2.0 * gaussian(generator, 300, 256) + drift)
        evidence = evidence_of(Matrix.of_values(rows, BF16), {"reserved": ids[:40]})
        assert evidence.reference.kind == "shell"
        assert graded(evidence, LIKELY) >= set(ids[5:].tolist()) - set(
            ids[evidence.grades[ids] < 2]
        )
        assert np.mean(evidence.grades[ids] >= LIKELY) > 0.97
        shell = evidence.reference.shell
        assert shell is not None
        assert shell.centre_norm == pytest.approx(2.0, rel=0.05)
        assert shell.mean_radius == pytest.approx(2.0, rel=0.03)
        assert "Gaussian" in shell.resembles

    def test_among_trained_norms_only_candidates_are_graded_by_their_shell(self) -> None:
        generator = np.random.default_rng(3)
        rows, ids = planted(gaussian(generator, 200, 1024), n_tokens=2000)
        evidence = evidence_of(Matrix.of_values(rows, BF16), {"padding": ids[:40]})
        assert evidence.reference.kind == "shell"
        assert not evidence.reference.is_clear
        assert np.mean(evidence.grades[ids[:40]] >= LIKELY) > 0.97
        assert (np.delete(evidence.grades, ids[:40]) <= WEAK).all()
        assert "trained rows lie too" in " ".join(evidence.reasons(int(ids[50])))

    def test_a_shell_that_trained_rows_fill_is_no_core(self) -> None:
        rows, ids = planted(gaussian(np.random.default_rng(4), 200, 64))
        evidence = evidence_of(Matrix.of_values(rows, BF16), {"padding": ids[:16]})
        assert evidence.reference.kind is None
        assert not graded(evidence, WEAK)


class TestCandidates:
    """The tokenizer's word may be wrong, and alone it is no evidence."""

    @pytest.mark.parametrize(("ratio", "drift"), [(0.02, 0.0), (0.05, 1.0), (3.0, 0.0)])
    def test_of_a_contaminated_set_only_the_untouched_half_is_graded(
        self, ratio: float, drift: float
    ) -> None:
        generator = np.random.default_rng(5)
        rows, ids = planted(ratio * gaussian(generator, 300, 128) + drift * np.eye(128)[0])
        others = np.setdiff1d(np.arange(len(rows)), ids)
        wrong = generator.choice(others, 60, replace=False)
        names = {"unreachable": [*ids[:60].tolist(), *wrong.tolist()]}
        evidence = evidence_of(Matrix.of_values(rows, BF16), names)
        assert np.mean(evidence.grades[ids[:60]] == STRONG) >= 0.95
        assert (evidence.grades[wrong] <= WEAK).all()
        assert evidence.reference.core["unreachable"] >= 57

    def test_three_quarters_wrong_is_not_too_much_for_a_packed_core(self) -> None:
        generator = np.random.default_rng(6)
        rows, ids = planted(0.02 * gaussian(generator, 300, 128) + np.eye(128)[0])
        others = np.setdiff1d(np.arange(len(rows)), ids)
        wrong = generator.choice(others, 90, replace=False)
        names = {"unreachable": [*ids[:30].tolist(), *wrong.tolist()]}
        evidence = evidence_of(Matrix.of_values(rows, BF16), names)
        assert (evidence.grades[ids[:30]] == STRONG).mean() > 0.95
        assert (evidence.grades[wrong] <= WEAK).all()

    def test_one_source_may_be_right_where_another_is_wrong(self) -> None:
        generator = np.random.default_rng(7)
        rows, ids = planted(0.02 * gaussian(generator, 40, 128) + np.eye(128)[0])
        others = np.setdiff1d(np.arange(len(rows)), ids)
        wrong = generator.choice(others, 900, replace=False)
        names: dict[str, Iterable[int]] = {
            "padding": ids[:8],
            "unreachable": wrong,
            "reserved": [],
        }
        evidence = evidence_of(Matrix.of_values(rows, BF16), names, clusters=False)
        assert evidence.reference.core == {"padding": 8, "unreachable": 0, "reserved": 0}
        assert evidence.reference.tokens == {"padding": 8, "unreachable": 900, "reserved": 0}
        assert graded(evidence, LIKELY) == set(ids.tolist())

    def test_two_thirds_wrong_is_not_too_much_where_there_is_no_cluster_to_go_by(self) -> None:
        generator = np.random.default_rng(21)
        rows, ids = planted(0.3 * gaussian(generator, 40, 128) + np.eye(128)[0])
        others = np.setdiff1d(np.arange(len(rows)), ids)
        wrong = generator.choice(others, 80, replace=False)
        names = {"unreachable": [*ids.tolist(), *wrong.tolist()]}
        evidence = evidence_of(Matrix.of_values(rows, BF16), names, clusters=False)
        assert (evidence.grades[ids] == STRONG).mean() > 0.95
        assert (evidence.grades[wrong] <= WEAK).all()

    def test_candidates_on_their_way_do_not_widen_the_core(self) -> None:
        generator = np.random.default_rng(22)
        rows, ids = planted(0.02 * gaussian(generator, 23, 128) + np.eye(128)[0])
        rows[ids[20:]] += 0.25 * np.eye(128)[1]
        evidence = evidence_of(Matrix.of_values(rows, BF16), {"padding": ids}, clusters=False)
        assert evidence.reference.token_ids.tolist() == ids[:20].tolist()
        assert evidence.reference.band is not None
        assert evidence.reference.band.high < 0.04

    def test_sources_with_few_tokens_make_one_core_together(self) -> None:
        rows, ids = planted(0.02 * gaussian(np.random.default_rng(23), 6, 128) + np.eye(128)[0])
        names = {"padding": ids[:3], "reserved": ids[3:]}
        evidence = evidence_of(Matrix.of_values(rows, BF16), names, clusters=False)
        assert evidence.reference.core == {"padding": 3, "reserved": 3}
        assert graded(evidence, STRONG) == set(ids.tolist())

    @pytest.mark.parametrize("n_names", [3, 16, 300])
    def test_names_of_trained_tokens_grade_nothing(self, n_names: int) -> None:
        for seed in range(5):
            generator = np.random.default_rng(seed)
            matrix = Matrix.of_values(trained(generator, 2000, 64), BF16)
            names = generator.choice(2000, n_names, replace=False)
            evidence = evidence_of(matrix, {"padding": names})
            assert evidence.reference.kind is None
            assert not graded(evidence, WEAK) - set(np.flatnonzero(evidence.flags["low_norm"]))

    @pytest.mark.parametrize("width", [32, 64, 128, 1024])
    def test_rare_trained_candidates_of_lower_norm_are_no_core(self, width: int) -> None:
        generator = np.random.default_rng(8)
        rows = trained(generator, 3000, width)
        rows[:400] *= 0.6
        evidence = evidence_of(Matrix.of_values(rows, BF16), {"unreachable": range(400)})
        assert evidence.reference.kind is None
        assert not graded(evidence, LIKELY)

    def test_a_few_untouched_rows_with_names_are_strong_and_alone(self) -> None:
        rows, ids = planted(3.0 * gaussian(np.random.default_rng(9), 24, 128))
        evidence = evidence_of(Matrix.of_values(rows, BF16), {"padding": ids})
        assert np.mean(evidence.grades[ids] == STRONG) > 0.9
        assert (np.delete(evidence.grades, ids) <= WEAK).all()


class TestSilence:
    """Where nothing is unseen there is nothing to say."""

    @pytest.mark.parametrize(("n_tokens", "width"), [(300, 8), (1500, 64), (400, 256)])
    @pytest.mark.parametrize("format_", [BF16, F32], ids=lambda f: f.name)
    def test_clouds_of_every_shape_have_no_core(
        self, n_tokens: int, width: int, format_: Format
    ) -> None:
        generator = np.random.default_rng(10)
        for name, values in clouds_without_clusters(generator, n_tokens, width):
            draw = generator.choice(n_tokens, n_tokens // 10, replace=False)
            names = {"padding": draw[:13], "unreachable": draw[13:]}
            evidence = evidence_of(Matrix.of_values(values, format_), names)
            assert evidence.reference.kind is None, name
            assert not graded(evidence, LIKELY), name

    @pytest.mark.parametrize("spread", [0.0, 0.5, 2.0])
    def test_gaussian_rows_with_norms_over_any_range(self, spread: float) -> None:
        for seed in range(10):
            generator = np.random.default_rng(seed)
            rows = generator.normal(size=(2000, 96))
            rows *= np.exp(spread * generator.normal(size=(2000, 1)))
            names = {"reserved": generator.choice(2000, 20, replace=False)}
            evidence = evidence_of(Matrix.of_values(rows, F16), names if seed % 2 else {})
            assert evidence.reference.kind is None
            assert not graded(evidence, LIKELY)

    def test_low_norm_alone_is_weak(self) -> None:
        rows = trained(np.random.default_rng(11), 2000, 64)
        rows[:20] *= np.linspace(1e-6, 0.1, 20)[:, None]
        evidence = evidence_of(Matrix.of_values(rows, F32), clusters=False)
        assert (evidence.grades[:20] == WEAK).all()
        assert evidence.flags["low_norm"][:20].all()
        assert evidence.reasons(3)[0].startswith("its norm is low: ")

    def test_low_norms_are_not_worth_a_word_where_many_are_low(self) -> None:
        generator = np.random.default_rng(12)
        rows = generator.normal(size=(2000, 64)) * np.exp(2 * generator.normal(size=(2000, 1)))
        evidence = evidence_of(Matrix.of_values(rows, F32))
        assert evidence.low_norm == 0
        assert not graded(evidence, WEAK)


class TestDuplicates:
    """Rows that are equal bit for bit had no gradient of their own; or are copies, or chance."""

    def cloud(self, copies: Sequence[tuple[int, int]], n_tokens: int = 3000) -> Matrix:
        rows = trained(np.random.default_rng(13), n_tokens, 64)
        for copy, original in copies:
            rows[copy] = rows[original]
        return Matrix.of_values(rows, BF16)

    def test_two_ordinary_tokens_are_weak(self) -> None:
        evidence = evidence_of(self.cloud([(5, 9)]))
        assert graded(evidence, WEAK) == {5, 9}
        assert not graded(evidence, LIKELY)
        assert evidence.reasons(5) == [
            "1 other token has its very row, which may be chance or a copy"
        ]

    def test_six_ordinary_tokens_are_likely(self) -> None:
        evidence = evidence_of(self.cloud([(n, 0) for n in range(1, 6)]))
        assert graded(evidence, WEAK) == graded(evidence, LIKELY) == set(range(6))
        assert not graded(evidence, STRONG)

    @pytest.mark.parametrize("source", ["padding", "never_in_utf8", "reserved", "unreachable"])
    def test_the_row_of_a_candidate_is_strong(self, source: str) -> None:
        evidence = evidence_of(self.cloud([(5, 9)]), {source: [9]})
        assert graded(evidence, STRONG) == {5, 9}
        said = "a token that the tokenizer calls unused is among the 2 with its very row"
        assert evidence.reasons(5) == [said]

    def test_two_candidates_with_one_row_are_strong(self) -> None:
        assert graded(evidence_of(self.cloud([(5, 9)]), {"reserved": [5, 9]}), STRONG) == {5, 9}

    def test_many_copies_of_ordinary_rows_are_no_reference_set(self) -> None:
        evidence = evidence_of(self.cloud([(n, 1000 + n % 20) for n in range(400)]))
        assert evidence.reference.kind is None
        assert (evidence.grades[:400] == LIKELY).all()

    def test_rows_of_a_coarse_lattice_meet_by_chance(self) -> None:
        generator = np.random.default_rng(14)
        rows = generator.integers(-1, 2, size=(3000, 6)).astype(float)
        rows[(rows == 0).all(axis=1)] = 1
        names = {"padding": generator.choice(3000, 100, replace=False)}
        evidence = evidence_of(Matrix.of_values(rows, BF16), names)
        assert not graded(evidence, LIKELY)


class TestSpecialRows:
    """Zero rows, and rows with an infinity or a NaN."""

    def matrix(self, format_: Format = BF16) -> Matrix:
        generator = np.random.default_rng(15)
        rows = trained(generator, 1000, 48)
        rows[:8] = 0
        rows[8:10] = np.nan
        rows[10, 3] = np.inf
        rows[20:40] = 0.01 * generator.normal(size=(20, 48)) + 0.5
        return Matrix.of_values(rows, format_)

    @pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name)
    def test_zero_rows_are_likely_and_with_a_name_strong(self, format_: Format) -> None:
        evidence = evidence_of(self.matrix(format_), {"padding": [0, 1, 2, 3, *range(20, 32)]})
        # A token whose row is zero as a padding row is has that row's name.
        assert (evidence.grades[:8] == STRONG).all()
        assert evidence.reasons(5)[0] == "its row is zero, as 7 others are"
        assert (evidence_of(self.matrix(format_)).grades[:8] == LIKELY).all()

    def test_zero_padding_does_not_hide_a_core_elsewhere(self) -> None:
        rows = self.matrix().rows(np.arange(1000))
        rows[500:600] = 0
        names = {"padding": range(500, 600), "reserved": range(20, 32)}
        evidence = evidence_of(Matrix.of_values(rows, BF16), names)
        assert evidence.reference.core == {"padding": 0, "reserved": 12}
        assert (evidence.grades[20:40] == STRONG).all()

    def test_a_row_without_numbers_has_no_grade(self) -> None:
        evidence = evidence_of(self.matrix(), {"padding": range(8, 32)})
        assert (evidence.grades[8:11] == NONE).all()
        assert evidence.reference.tokens == {"padding": 21}
        assert "its row holds an infinity or a NaN, so nothing is said of it" in evidence.reasons(
            10
        )
        for numbers in evidence.indicators.values():
            assert not np.isfinite(numbers[8:11]).any()
        assert (evidence.grades[20:40] == STRONG).all()

    def test_sparse_rows_are_zero_by_chance(self) -> None:
        generator = np.random.default_rng(16)
        rows = generator.normal(size=(1000, 6)) * (generator.uniform(size=(1000, 6)) < 0.2)
        evidence = evidence_of(Matrix.of_values(rows, BF16))
        assert evidence.flags["zero"].sum() > 100
        assert not graded(evidence, LIKELY)

    @pytest.mark.parametrize(
        "rows",
        [np.zeros((0, 4)), np.zeros((40, 4)), np.ones((40, 4)), np.full((40, 4), np.nan), [[1.0]]],
        ids=["empty", "zero", "one", "NaN", "a number"],
    )
    def test_a_matrix_without_anything_to_say(self, rows: npt.ArrayLike) -> None:
        matrix = Matrix.of_values(rows, BF16)
        evidence = evidence_of(matrix, {"padding": range(min(matrix.n_tokens, 10))})
        assert evidence.reference.kind is None
        assert not graded(evidence, LIKELY)

    @pytest.mark.parametrize(("format_", "scale"), [(BF16, 1e30), (BF16, 1e-30), (F16, 1e-3)])
    def test_scale_changes_no_grade(self, format_: Format, scale: float) -> None:
        rows, ids = planted(0.02 * gaussian(np.random.default_rng(17), 100, 64))
        names = {"padding": ids[:20]}
        scaled = evidence_of(Matrix.of_values(scale * rows, format_), names, clusters=False)
        plain = evidence_of(Matrix.of_values(rows, F32), names, clusters=False)
        assert graded(plain, LIKELY) == graded(scaled, LIKELY) == set(ids.tolist())


class TestTheRecord:
    """What the evidence says besides the grades."""

    def test_indicators_are_the_textbook_numbers(self, case: Case) -> None:
        matrix, ids, evidence = case
        rows = matrix.rows(np.arange(matrix.n_tokens))
        core = evidence.reference.token_ids
        assert set(core.tolist()) <= set(ids[:20].tolist())
        centre = rows[core].mean(axis=0)
        others = np.delete(np.arange(len(rows)), core)
        found = evidence.indicators
        np.testing.assert_allclose(found["norm"], np.linalg.norm(rows, axis=1), rtol=1e-12)
        distances = np.linalg.norm(rows - centre, axis=1)
        np.testing.assert_allclose(found["distance"][others], distances[others], rtol=1e-10)
        for token in core[:3]:
            rest = rows[core[core != token]].mean(axis=0)
            apart = np.linalg.norm(rows[token] - rest)
            assert found["distance"][token] == pytest.approx(apart, rel=1e-10)
        cosines = rows @ centre / np.linalg.norm(rows, axis=1) / np.linalg.norm(centre)
        np.testing.assert_allclose(found["cosine"], cosines, atol=1e-12)
        centred = rows - rows.mean(axis=0)
        axis = np.linalg.svd(centred, full_matrices=False)[2][0]
        centred -= np.outer(centred @ axis, axis)
        away = centred[core].mean(axis=0)
        cosines = centred @ away / np.linalg.norm(centred, axis=1) / np.linalg.norm(away)
        np.testing.assert_allclose(found["centred_cosine"], cosines, atol=1e-5)

    def test_every_graded_token_has_reasons_and_every_other_has_none(self, case: Case) -> None:
        _, _, evidence = case
        for token, grade in enumerate(evidence.grades):
            assert bool(evidence.reasons(token)) == (GRADES[grade] != "none")

    def test_reasons_give_numbers_to_check(self, case: Case) -> None:
        _, ids, evidence = case
        token = int(ids[0])
        distance = evidence.indicators["distance"][token]
        band = evidence.reference.band
        assert band is not None
        assert evidence.reasons(token) == [
            f"among the reference set: {distance:.4g} from the reference set's centre, where 0 to "
            f"{band.high:.4g} is its spread",
            "nothing in the tokenizer has its id (padding)",
        ]
        assert evidence.reasons(int(ids[95]))[0].startswith("near the reference set: ")
        assert evidence.reference.why.startswith("20 candidates lie within ")

    @pytest.mark.parametrize("threads", [1, 2, 3])
    def test_threads_change_nothing(self, case: Case, threads: int) -> None:
        matrix, ids, evidence = case
        set_threads(threads)
        again = evidence_of(
            Matrix(matrix.words, matrix.format), {"padding": ids[:20]}, clusters=False
        )
        np.testing.assert_array_equal(again.grades, evidence.grades)
        for name, numbers in evidence.indicators.items():
            np.testing.assert_array_equal(again.indicators[name], numbers)
        assert again.reference.why == evidence.reference.why

    def test_no_candidates_and_no_core_say_why(self) -> None:
        matrix = Matrix.of_values(trained(np.random.default_rng(19), 500, 32), BF16)
        assert evidence_of(matrix).reference.why.startswith("no source names a token")
        few = evidence_of(matrix, {"padding": [1, 2, 3]}).reference
        assert few.why == "fewer than 4 candidates have a finite row that is not zero"
        many = evidence_of(matrix, {"padding": range(50)}).reference
        assert many.why.startswith("the candidates look like everybody else")

    def test_masks_and_labels_are_of_all_tokens(self) -> None:
        matrix = Matrix.of_values(np.ones((5, 2)), BF16)
        labels = np.zeros(5, dtype=np.int32)
        with pytest.raises(ValueError, match=r"padding has shape \(4,\), expected \(5,\)"):
            undertrained_evidence(matrix, {"padding": np.zeros(4, dtype=np.bool_)}, labels)
        with pytest.raises(ValueError, match=r"row_labels has shape \(4,\), expected \(5,\)"):
            undertrained_evidence(matrix, {}, labels[:4])
        with pytest.raises(ValueError, match="called as a reason is: cluster"):
            undertrained_evidence(matrix, {"cluster": np.zeros(5, dtype=np.bool_)}, labels)

    def test_the_callers_masks_are_left_alone(self) -> None:
        rows, ids = planted(0.02 * gaussian(np.random.default_rng(20), 100, 64))
        matrix = Matrix.of_values(rows, BF16)
        masks = masks_of(matrix.n_tokens, {"padding": ids[:20]})
        kept = {name: mask.copy() for name, mask in masks.items()}
        undertrained_evidence(matrix, masks, row_classes(matrix).rows.labels)
        np.testing.assert_array_equal(masks["padding"], kept["padding"])
