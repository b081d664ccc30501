"""Every branch of every sentence, read from the printed page of a checkpoint made to reach it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import (
    cluster_tensors,
    gaussian,
    write_cluster,
    write_llama,
    write_matrix,
    write_tensors,
)
from cli.command import Ran, isologit

# Five tokens of one row, one on its own, three others whose logits differ from all of these.
PAIR_OF_AXES = np.array(
    [[1, 0]] * 5 + [[2, 1], [0.5, 0.25], [0.25, 0.5], [0.125, -0.5]], dtype=np.float64
)


@pytest.fixture
def two_axes(tmp_path: Path) -> Path:
    """A matrix whose first five rows are the same."""
    return write_matrix(tmp_path / "two-axes", PAIR_OF_AXES)


def members(model: Path, *token_ids: int) -> Ran:
    """Return the page of the logit classes at some tokens' centroid."""
    path = write_cluster(model.parent / "c.safetensors", cluster_tensors(token_ids, 9))
    ran = isologit("classes", model, "--members", path)
    assert ran.code == 0, ran.err
    return ran


def page(*arguments: object) -> Ran:
    """Return a page that is printed without an error."""
    ran = isologit(*arguments)
    assert (ran.code, ran.err) == (0, "")
    return ran


def cluster_found(ran: Ran) -> list[str]:
    """Return the comparison's lines."""
    return ran.section("Comparison with the cluster")


class TestComparison:
    """The seed's branches, in both directions."""

    def test_the_same_tokens_are_a_perfect_match(self, two_axes: Path) -> None:
        assert cluster_found(members(two_axes, 0, 1, 2, 3, 4)) == [
            "✓ Perfect match: the cluster and the logit class are identical",
            "Overlap percentage:",
            "  Of the cluster in the logit class: 100.0%",
            "  Of the logit class in the cluster: 100.0%",
        ]

    def test_a_logit_class_around_the_cluster_is_larger(self, two_axes: Path) -> None:
        assert cluster_found(members(two_axes, 0, 2)) == [
            "✓ Logit class is LARGER: it includes 3 additional tokens",
            "  Logit-only tokens: 3",
            "Overlap percentage:",
            "  Of the cluster in the logit class: 100.0%",
            "  Of the logit class in the cluster: 40.0%",
        ]

    def test_a_cluster_around_the_logit_class_is_larger(self, two_axes: Path) -> None:
        assert cluster_found(members(two_axes, 0, 1, 2, 3, 4, 5)) == [
            "✓ The cluster is LARGER: it includes 1 additional token",
            "  Cluster-only tokens: 1",
            "Overlap percentage:",
            "  Of the cluster in the logit class: 83.3%",
            "  Of the logit class in the cluster: 100.0%",
        ]

    def test_a_partial_overlap_counts_both_sides(self, two_axes: Path) -> None:
        # Two of the class are not members, one member is not of the class: no figure is another's.
        assert cluster_found(members(two_axes, 0, 1, 2, 5)) == [
            "✓ Partial overlap",
            "  Cluster-only: 1 token",
            "  Logit-only: 2 tokens",
            "  Both: 3 tokens",
            "Overlap percentage:",
            "  Of the cluster in the logit class: 75.0%",
            "  Of the logit class in the cluster: 60.0%",
        ]

    def test_sets_without_a_common_token_are_disjoint(self, two_axes: Path) -> None:
        assert cluster_found(members(two_axes, 5)) == [
            "✗ Disjoint: the cluster and the logit class share no token",
            "Overlap percentage:",
            "  Of the cluster in the logit class: 0.0%",
            "  Of the logit class in the cluster: 0.0%",
        ]

    def test_without_a_cluster_nothing_is_compared(self, two_axes: Path) -> None:
        assert "Comparison with the cluster" not in page("classes", two_axes, "--token", 0).out


class TestDuplicates:
    """Duplicates, pure rounding, or a single token."""

    title = "Embedding-level duplicates"

    def test_equal_rows_are_found_duplicates(self, two_axes: Path) -> None:
        assert page("classes", two_axes, "--token", 0).section(self.title) == [
            "Tokens in logit equivalence class: 5",
            "Unique embeddings: 1",
            "✓ Found duplicates: 4 tokens share embeddings with others",
            "  Average degeneracy: 5.0 tokens per unique embedding",
        ]

    def test_one_redundant_token_is_spoken_of_in_the_singular(self, tmp_path: Path) -> None:
        model = write_matrix(tmp_path / "m", [[1], [1], [2]])
        assert page("classes", model, "--token", 2).section(self.title) == [
            "Tokens in logit equivalence class: 2",
            "Unique embeddings: 1",
            "✓ Found duplicates: 1 token shares an embedding with others",
            "  Average degeneracy: 2.0 tokens per unique embedding",
        ]

    @pytest.mark.parametrize(
        ("dtype", "step", "name"),
        [("bf16", -9, "bfloat16"), ("f16", -12, "float16"), ("f32", -26, "float32")],
    )
    def test_different_rows_of_one_logit_are_pure_rounding(
        self, tmp_path: Path, dtype: str, step: int, name: str
    ) -> None:
        # Each logit is 1 + k·step: different reals, and one number of the format up to k = 1.
        model = write_matrix(tmp_path / "m", [[1, 0], [1, 1], [3, 0]], dtype)
        state = tmp_path / "h.npy"
        np.save(state, np.array([1, 2.0**step]))
        assert page("classes", model, "--state", state).section(self.title) == [
            "Tokens in logit equivalence class: 2",
            "Unique embeddings: 2",
            "✓ No embedding duplicates: all tokens have distinct embeddings",
            "  These tokens are indistinguishable by DOT PRODUCT but not by EMBEDDING",
            f"  This is pure {name} quantization!",
        ]

    def test_different_rows_of_one_real_are_not_rounding(self, tmp_path: Path) -> None:
        # 1·1 + 1·1 = 2·1 + 0·1: the third row differs, and so does its real.
        model = write_matrix(tmp_path / "m", [[1, 1], [2, 0], [5, 0]])
        state = tmp_path / "h.npy"
        np.save(state, np.array([1.0, 1.0]))
        assert page("classes", model, "--state", state).section(self.title) == [
            "Tokens in logit equivalence class: 2",
            "Unique embeddings: 2",
            "✓ No embedding duplicates: all tokens have distinct embeddings",
            "  These tokens are indistinguishable by DOT PRODUCT but not by EMBEDDING",
            "  Their dot products are equal as real numbers: no rounding made them so",
        ]

    def test_infinite_logits_were_not_rounded(self, tmp_path: Path) -> None:
        model = write_matrix(tmp_path / "m", [[np.inf, 1], [np.inf, 2], [5, 0]])
        state = tmp_path / "h.npy"
        np.save(state, np.array([1.0, 1.0]))
        assert page("classes", model, "--state", state).section(self.title)[-1] == (
            "  An infinity or a NaN is involved, so nothing was rounded"
        )

    def test_a_class_of_one_is_a_single_token(self, tmp_path: Path) -> None:
        model = write_matrix(tmp_path / "m", [[1], [2], [3]])
        assert page("classes", model, "--token", 0).section(self.title) == [
            "Tokens in logit equivalence class: 1",
            "Unique embeddings: 1",
            "✓ A single token: nothing shares its logit",
        ]


class TestModalClass:
    """Percent of the vocabulary, and the figures beside it."""

    def test_it_is_a_share_of_the_vocabulary(self, two_axes: Path) -> None:
        ran = members(two_axes, 0, 1, 2, 3, 4)
        assert ran.section("Dot products") == [
            "Dot product distribution (bfloat16):",
            "  Range: [0.12500000, 2.00000000]",
            # (5 + 2 + 0.5 + 0.25 + 0.125) / 9 = 0.875; the fifth of nine.
            "  Mean: 0.87500000",
            "  Median: 1.00000000",
        ]
        assert ran.section("Logit equivalence class") == [
            "✓ Found 5 tokens with dot product = 1.00000000",
            "  (55.56% of vocabulary)",
            "  Token IDs (first 20): [0, 1, 2, 3, 4]",
            "For comparison:",
            "  Maximum dot product: 2.00000000 (1 token)",
        ]
        assert [line.rstrip() for line in ran.section("Unique dot product values")] == [
            "Total unique dot product values: 5 (55.56% of vocabulary); the most common:",
            "    dot product  tokens",
            "1.   1.00000000       5  ← MODE",
            "2.   0.12500000       1",
            "3.   0.25000000       1",
            "4.   0.50000000       1",
            "5.   2.00000000       1",
            "Values held by 1, 2, 3, 4+, 100+, 1000+ tokens: 4, 0, 0, 1, 0, 0",
        ]

    def test_the_mode_may_be_the_maximum_too(self, tmp_path: Path) -> None:
        model = write_matrix(tmp_path / "m", [[2], [2], [1]])
        lines = page("classes", model, "--token", 2).section("Logit equivalence class")
        assert lines[0] == "✓ Found 2 tokens with dot product = 2.00000000"
        assert lines[-1] == "  Maximum dot product: 2.00000000 (2 tokens)"

    def test_long_lists_are_cut_after_twenty_ids(self, tmp_path: Path) -> None:
        model = write_matrix(tmp_path / "m", np.ones((1001, 1)))
        ran = page("classes", model, "--token", 3)
        first = ", ".join(str(n) for n in range(20))
        assert f"  Token IDs (first 20): [{first}, …]" in ran.section("Logit equivalence class")
        assert ran.out.splitlines()[0] == (
            "1,001 tokens of 1,001 share their row with another token, bit for bit: 1 row class, "
            "the largest of 1,001 tokens."
        )
        held = ran.section("Unique dot product values")[-1]
        assert held.endswith("tokens: 0, 0, 0, 1, 1, 1")

    def test_small_figures_keep_their_digits(self, tmp_path: Path) -> None:
        model = write_matrix(tmp_path / "m", [[2.0**-10], [2.0**-9]])
        lines = page("classes", model, "--token", 0).section("Dot products")
        assert lines[1] == "  Range: [9.53674316e-07, 1.90734863e-06]"

    def test_tokens_without_a_number_are_counted_apart(self, tmp_path: Path) -> None:
        model = write_matrix(tmp_path / "m", [[1, 2], [np.nan, 0], [3, 4], [np.inf, 0]])
        ran = page("classes", model, "--token", 0)
        assert "  1 token without a number (NaN), not counted here" in ran.section("Dot products")
        assert "  Range: [5.00000000, inf]" in ran.section("Dot products")
        assert ran.section("Notes") == [
            "• no tokenizer lies beside the weights: tokens are ids (--tokenizer names one)",
            "• 2 rows with an infinity or a NaN",
            "• 1 logit without a number (NaN); the figures are of the others",
            "• no two logits are equal: the most common one is merely the smallest",
        ]

    def test_where_no_token_has_a_number_the_page_says_so(self, tmp_path: Path) -> None:
        model = write_matrix(tmp_path / "m", np.full((4, 3), np.nan))
        ran = page("audit", model)
        none = "None: no dot product is a number (4 tokens with NaN)"
        assert ran.section("Dot products") == [none]
        assert ran.section("Logit equivalence class") == [
            "✓ 4 tokens without a dot product are taken as one class"
        ]
        assert ran.section("Cosines with the mean of all finite rows") == [
            none.replace("dot product", "cosine"),
            "✓ 4 tokens without a cosine are taken as one class",
            "Total unique cosine values: 0",
        ]
        assert "• 4 logits without a number (NaN); there are no others" in ran.section("Notes")


class TestOwnClass:
    """Which tokens cannot be told from the state's own."""

    title = "The state's own class"

    def test_a_token_alone(self, two_axes: Path) -> None:
        assert page("classes", two_axes, "--token", 5).section(self.title) == [
            "1 token with the dot product of token 5 with itself, 5.00000000",
            "  (11.11% of vocabulary)",
            "  Token IDs (first 20): [5]",
        ]

    def test_a_token_among_others(self, two_axes: Path) -> None:
        assert page("classes", two_axes, "--token", 3).section(self.title) == [
            "5 tokens with the dot product of token 3 with itself, 1.00000000",
            "  (55.56% of vocabulary)",
            "  Token IDs (first 20): [0, 1, 2, 3, 4]",
        ]

    def test_a_centroid_counts_its_own_members(self, two_axes: Path) -> None:
        assert members(two_axes, 0, 2).section(self.title) == [
            "5 tokens with the dot product of the centroid with itself, 1.00000000",
            "  (55.56% of vocabulary)",
            "  2 of the 2 that it is the centroid of",
            "  Token IDs (first 20): [0, 1, 2, 3, 4]",
        ]

    def test_a_centroid_may_be_unlike_all_its_members(self, two_axes: Path) -> None:
        assert members(two_axes, 0, 7).section(self.title) == [
            # h = (0.625, 0.25): h·h = 0.453125, and no row has that product with h.
            "0 tokens with the dot product of the centroid with itself, 0.45312500",
            "  (0.00% of vocabulary)",
            "  0 of the 2 that it is the centroid of",
        ]

    def test_a_state_that_is_not_made_of_tokens_has_none(
        self, two_axes: Path, tmp_path: Path
    ) -> None:
        np.save(tmp_path / "h.npy", np.array([1.0, 0.0]))
        assert self.title not in page("classes", two_axes, "--state", tmp_path / "h.npy").out


class TestVerdictAndRows:
    """The first line, and the row census."""

    def test_distinct_rows_and_no_cluster(self, tmp_path: Path) -> None:
        ran = page("audit", write_matrix(tmp_path / "m", gaussian(60, 8)))
        assert ran.out.splitlines()[0] == (
            "No two of 60 tokens share a row: every row is distinct; no cluster stands out."
        )
        assert ran.section("Row classes") == ["60 distinct rows of 60; 0 rows repeat another"]
        assert ran.section("Cluster") == [
            "None: no group of distinct rows stands out from the rest of the vocabulary (the "
            "tokens of a row class are one row)"
        ]

    def test_row_classes_alone_say_nothing_of_clusters(self, two_axes: Path) -> None:
        ran = page("classes", two_axes)
        assert ran.out.splitlines()[0] == (
            "5 tokens of 9 share their row with another token, bit for bit: 1 row class, the "
            "largest of 5 tokens."
        )
        assert [line.rstrip() for line in ran.section("Row classes")] == [
            "5 distinct rows of 9; 4 rows repeat another",
            "class  tokens  token IDs (first 8)",
            "    0       5  [0, 1, 2, 3, 4]",
        ]
        starts = {line.split(" [")[0] for line in ran.out.splitlines()}
        assert starts & {"Row classes", "Cluster", "Dot products"} == {"Row classes"}

    def test_a_matrix_of_one_row_has_a_singular(self, tmp_path: Path) -> None:
        ran = page("classes", write_matrix(tmp_path / "m", [[1, 2]]))
        assert ran.out.startswith("There is one token, which is alone")
        assert "Token space: 1 token in 2 dimensions" in ran.out.splitlines()
        assert ran.section("Row classes") == ["1 distinct row of 1; 0 rows repeat another"]

    def test_equal_values_and_special_rows_are_counted_apart(self, tmp_path: Path) -> None:
        values = [[0.0, 1], [-0.0, 1], [0, 0], [-0.0, 0], [2.0**-130, 0], [np.nan, 1], [np.inf, 1]]
        ran = page("classes", write_matrix(tmp_path / "m", values))
        assert ran.section("Row classes") == [
            "7 distinct rows of 7; 0 rows repeat another",
            "5 distinct rows by value, where −0 equals +0; 2 rows repeat another: 2 classes, the "
            "largest of 2 tokens",
            "Of these: 2 zero rows, 1 subnormal row, 2 non-finite rows",
        ]
        assert (
            "• 2 fewer distinct rows by value than by bits: the sign of zeros is all that differs"
        ) in ran.section("Notes")

    @pytest.mark.parametrize(
        ("classes", "last"),
        [
            (20, "   19       2  [38, 39]"),
            (21, "… and 1 more class, the smallest of 2"),
            (23, "… and 3 more classes, the smallest of 2"),
        ],
    )
    def test_at_most_twenty_classes_are_listed(
        self, tmp_path: Path, classes: int, last: str
    ) -> None:
        model = write_matrix(tmp_path / "m", np.repeat(np.arange(classes), 2)[:, None])
        assert page("classes", model).section("Row classes")[-1].rstrip() == last

    def test_a_class_of_many_is_cut_after_eight_ids(self, tmp_path: Path) -> None:
        ran = page("classes", write_matrix(tmp_path / "m", np.ones((9, 1))))
        assert "    0       9  [0, 1, 2, 3, 4, 5, 6, 7, …]" in ran.section("Row classes")


class TestCluster:
    """Found, given, of a pole, or none."""

    def planted(self, directory: Path) -> Path:
        """Return a matrix of 400 rows, of which 100 to 139 lie close together."""
        values = gaussian(400, 16, seed=7)
        values[100:140] = 0.25 + 0.001 * gaussian(40, 16, seed=8)
        return write_llama(directory, values, "f32")

    def test_what_stands_out_is_found_and_explained(self, tmp_path: Path) -> None:
        ran = page("audit", self.planted(tmp_path / "m"))
        assert ran.out.splitlines()[0].endswith("; a cluster of 40 tokens stands out.")
        first, why, second, third, pairs = ran.section("Cluster")
        assert pairs.startswith("780 pairs: ")
        assert first == "Cluster size: 40 tokens"
        assert why.startswith("  why: ")
        assert "at most one in 1,000,000 clouds" in why
        assert second.startswith("Most common cosine among them: 0.9999")
        assert third == f"Token IDs (first 10): [{', '.join(map(str, range(100, 110)))}, …]"
        assert "Cosines with the cluster's centroid [exact]" in ran.out.splitlines()
        assert ran.section("Hidden state")[0] == "Centroid of 40 tokens"
        refinement = ran.section("Iterated refinement")
        assert refinement[0] == "Start: the cluster's own tokens"
        assert refinement[1].startswith("  Cluster size by iteration: ")

    def test_less_prominent_clusters_are_counted_beside_it(self, tmp_path: Path) -> None:
        values = gaussian(400, 16, seed=7)
        values[100:140] = 0.25 + 0.001 * gaussian(40, 16, seed=8)
        values[200:230] = -0.25 + 0.001 * gaussian(30, 16, seed=9)
        model = write_matrix(tmp_path / "m", values, "f32")
        ran = page("audit", model)
        lines = ran.section("Cluster")
        assert lines[0] == "Cluster size: 40 tokens"
        assert lines[-2] == "Further clusters, less prominent, of 30 tokens"
        assert lines[-1].startswith("780 pairs: 0 with a cosine of 1 in float32, ")
        assert isologit("audit", model, "--json").json["cluster"]["others"] == [30]

    def test_a_given_cluster_is_named_by_its_file(self, two_axes: Path, tmp_path: Path) -> None:
        path = write_cluster(tmp_path / "c.safetensors", cluster_tensors([0, 1, 6], 9, 0.84375))
        assert page("classes", two_axes, "--members", path).section("Cluster") == [
            "Cluster size: 3 tokens",
            f"  why: given by {path}",
            "Cosine: 0.84375000 (says that file; not computed here)",
            "Token IDs (first 10): [0, 1, 6]",
        ]
        # An audit computes them. The centroid of (1, 0), (1, 0), (1/2, 1/4) is (213/256, 171/2048)
        # in bf16; (1, 0) has a cosine of 0.99500 with it, and 255/256 is the nearest of bf16.
        audited = page("audit", two_axes, "--members", path).section("Cluster")
        assert audited[2:4] == [
            "Most common cosine among them: 0.99609375 (2 tokens)",
            "Token IDs (first 10): [0, 1, 6]",
        ]

    def test_a_list_of_one_without_a_cosine(self, two_axes: Path, tmp_path: Path) -> None:
        path = tmp_path / "ids.txt"
        path.write_text("5\n")
        assert page("classes", two_axes, "--members", path).section("Cluster") == [
            "Cluster size: 1 token",
            f"  why: given by {path}",
            "Token IDs (first 10): [5]",
        ]

    def test_a_pole_takes_its_most_common_cosine(self, tmp_path: Path) -> None:
        model = self.planted(tmp_path / "m")
        ran = page("audit", model, "--pole", "-7.288,6.941", "--axes", "1,-2,3", "--dtype", "bf16")
        assert ran.section("Cluster")[1] == (
            "  why: the tokens of the most common cosine to -7.288°, 6.941°"
        )
        assert "Cosines with -7.288°, 6.941° (axes [1, -2, 3]) [exact]" in ran.out.splitlines()
        assert ran.section("Iterated refinement")[0].endswith("tokens within 1.5° of the pole")

    def test_a_pole_whose_field_of_view_is_empty_says_so(self, tmp_path: Path) -> None:
        model = write_matrix(tmp_path / "m", gaussian(12, 4, seed=3))
        ran = page("audit", model, "--pole", "89.5,0")
        assert ran.section("Iterated refinement") == [
            "Start: the 0 tokens within 1.5° of the pole",
            "⚠ Not begun: the field of view is empty",
        ]


class TestState:
    """What the state is, and whether a norm could output it."""

    def test_a_token_within_reach(self, tmp_path: Path) -> None:
        model = write_llama(tmp_path / "m", [[1, 0], [0, 0.5]])
        assert page("classes", model, "--token", 0).section("Hidden state") == [
            "Row of token 0",
            "  Norm: 1.000000   Dtype: bfloat16",
            "  Reachable: ‖(h − β) ⊘ γ‖/√d is 0.7071, and the final norm outputs up to 1",
        ]

    def test_a_centroid_out_of_reach(self, tmp_path: Path) -> None:
        model = write_llama(tmp_path / "m", [[4, 0], [2, 0]])
        path = write_cluster(tmp_path / "c.safetensors", cluster_tensors([0, 1], 2))
        assert page("classes", model, "--members", path).section("Hidden state") == [
            "Centroid of 2 tokens",
            "  Norm: 3.000000   Dtype: bfloat16",
            "  Not reachable: ‖(h − β) ⊘ γ‖/√d is 2.121, and the final norm outputs at most 1",
            "Member norms:",
            "  Min: 2.000000   Max: 4.000000   Mean: 3.000000",
        ]

    def test_a_file_where_no_norm_is_known(self, two_axes: Path, tmp_path: Path) -> None:
        np.save(tmp_path / "h.npy", np.array([1.0, 0.0]))
        ran = page("classes", two_axes, "--state", tmp_path / "h.npy")
        assert ran.section("Hidden state") == [
            "Read from a file",
            "  Norm: 1.000000   Dtype: bfloat16",
            "  Reachable or not is unknown: the final norm is not known, so neither is its range",
        ]

    def test_the_mean_where_no_cluster_is(self, tmp_path: Path) -> None:
        ran = page("audit", write_matrix(tmp_path / "m", [[3, 0], [1, 0]]))
        lines = ran.section("Hidden state")
        assert lines[0] == "Mean of all finite rows (no cluster stands out)"
        assert lines[1] == "  Norm: 2.000000   Dtype: bfloat16"
        assert lines[3:] == ["Row norms:", "  Min: 1.000000   Max: 3.000000   Mean: 2.000000"]

    def test_a_point_on_the_sphere(self, tmp_path: Path) -> None:
        model = write_matrix(tmp_path / "m", gaussian(50, 8))
        ran = page("classes", model, "--pole", "10,20,0.5")
        lines = ran.section("Hidden state")
        assert lines[0] == "A point on the sphere of principal axes"
        assert float(lines[1].split()[1]) == pytest.approx(0.5, rel=2**-8)


CAPPED_GEMMA = {
    "model_type": "gemma2",
    "hidden_size": 2,
    "vocab_size": 3,
    "final_logit_softcapping": 30.0,
    "rms_norm_eps": 1e-6,
}
SCALED_COHERE = {
    "model_type": "cohere",
    "hidden_size": 2,
    "vocab_size": 3,
    "logit_scale": 0.0625,
    "layer_norm_eps": 1e-5,
}
BIASED_PHI = {
    "model_type": "phi",
    "hidden_size": 2,
    "vocab_size": 3,
    "layer_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}


class TestHead:
    """What the head does besides the product, and what W is."""

    @pytest.mark.parametrize(
        ("config", "names", "lines", "note"),
        [
            (
                CAPPED_GEMMA,
                ("model.embed_tokens.weight", "model.norm.weight"),
                [
                    "Family: gemma2",
                    "Softcap: 30",
                    "Final norm: RMSNorm, γ = 1 + weight, ε = 1e-06 (model.norm.weight)",
                ],
                True,
            ),
            (
                SCALED_COHERE,
                ("model.embed_tokens.weight", "model.norm.weight"),
                [
                    "Family: cohere",
                    "Logit scale: × 0.0625 (logit_scale)",
                    "Final norm: LayerNorm, γ = weight, ε = 1e-05 (model.norm.weight)",
                ],
                True,
            ),
            (
                BIASED_PHI,
                (
                    "lm_head.weight",
                    "lm_head.bias",
                    "model.final_layernorm.weight",
                    "model.final_layernorm.bias",
                ),
                [
                    "Family: phi",
                    "Bias: lm_head.bias (row classes count it, logits are without it)",
                    "Final norm: LayerNorm, γ = weight, with β, ε = 1e-05 "
                    "(model.final_layernorm.weight)",
                ],
                True,
            ),
            (
                None,
                ("W",),
                [
                    "Family: unknown",
                    "Final norm: unknown (no config.json names the model's family)",
                ],
                False,
            ),
        ],
        ids=["softcap", "scale", "bias", "unknown"],
    )
    def test_the_head_is_described(
        self,
        tmp_path: Path,
        config: Mapping[str, Any] | None,
        names: tuple[str, ...],
        lines: list[str],
        note: bool,
    ) -> None:
        sizes = {"lm_head.bias": (3,), "W": (3, 2)}
        tensors = {
            name: np.ones(sizes.get(name, (3, 2) if "embed" in name or "head" in name else (2,)))
            for name in names
        }
        ran = page("classes", write_tensors(tmp_path / "m", tensors, config=config), "--token", 1)
        start = next(n for n, t in enumerate(ran.out.splitlines()) if t.startswith("Family: "))
        assert ran.out.splitlines()[start : start + len(lines)] == lines
        told = "• logits are the product's, before the head's "
        assert any(line.startswith(told) for line in ran.out.splitlines()) is note

    def test_tied_untied_or_unknown(self, two_axes: Path, tmp_path: Path) -> None:
        tied = write_llama(tmp_path / "tied", [[1, 2], [3, 4]])
        config = {"model_type": "llama", "tie_word_embeddings": False}
        untied = write_tensors(
            tmp_path / "untied", {"lm_head.weight": np.ones((3, 2))}, config=config
        )
        assert (
            "Loaded model.embed_tokens.weight from tied (output, tied)" in page("inspect", tied).out
        )
        assert "Loaded lm_head.weight from untied (output, untied)" in page("inspect", untied).out
        assert (
            "Loaded W from two-axes (output, tied or not is unknown)"
            in page("inspect", two_axes).out
        )
        assert "(input, tied)" in page("inspect", tied, "--role", "input").out

    def test_inspect_lists_matrices_and_counts_the_rest(self, tmp_path: Path) -> None:
        model = write_llama(tmp_path / "m", np.ones((5, 4)))
        lines = [line.rstrip() for line in page("inspect", model).out.splitlines()]
        size = (model / "model.safetensors").stat().st_size
        assert f"W is 40 of {size} bytes" in lines
        assert "model.embed_tokens.weight ← W  BF16   [5, 4]     40" in lines
        assert lines[-1] == "… and 1 more tensor (-v lists them all)"
        every = page("inspect", model, "-v").out
        assert "model.norm.weight" in every
        assert "more tensor" not in every


class TestArithmetic:
    """Exact arithmetic needs no device, and says how many logits the bound left open."""

    def test_the_bound_certified_all(self, two_axes: Path) -> None:
        assert (
            "Using device: none needed (exact arithmetic, logits rounded once to bfloat16; the "
            "bound certified every logit)"
        ) in page("classes", two_axes, "--token", 0).out.splitlines()

    @pytest.mark.parametrize(("rows", "told"), [(1, "1 logit"), (3, "3 logits")])
    def test_logits_that_took_the_exact_step_are_counted(
        self, tmp_path: Path, rows: int, told: str
    ) -> None:
        # 2^-9 · 3 − 2^-90 lies just below the midpoint of 1 and its bf16 neighbour: no bound in
        # binary64 sees the last summand.
        values = [[1, 1, 1]] * rows
        state = tmp_path / "h.npy"
        np.save(state, np.array([1, 2.0**-8, -(2.0**-90)]))
        model = write_matrix(tmp_path / "m", values, "f32")
        ran = page("classes", model, "--state", state, "--dtype", "bf16")
        assert f"; {told} took the exact step)" in ran.out
        assert "dot product = 1.00000000" in ran.out


class TestRefinement:
    """Converged, or not and why."""

    title = "Iterated refinement"

    def refined(self, model: Path, *token_ids: int) -> list[str]:
        path = write_cluster(model.parent / "c.safetensors", cluster_tensors(token_ids, 9))
        return page("audit", model, "--members", path).section(self.title)

    def test_a_cluster_of_one_row_converges_at_once(self, two_axes: Path) -> None:
        assert self.refined(two_axes, 0, 1, 4) == [
            "Start: the cluster's own tokens",
            "  Cluster size by iteration: 3",
            "  Indistinguishable (total): 5",
            "  Centroid shift: 0",
            "✓ Converged after 1 iteration; 3 tokens remain",
        ]

    def test_members_that_are_all_unlike_their_centroid_do_not(self, two_axes: Path) -> None:
        assert self.refined(two_axes, 0, 7) == [
            "Start: the cluster's own tokens",
            "  Cluster size by iteration: 0",
            "  Indistinguishable (total): 0",
            "  Centroid shift: nan",
            "⚠ Did not converge after 1 iteration: no member has the centroid's own logit; "
            "0 tokens remain",
        ]
