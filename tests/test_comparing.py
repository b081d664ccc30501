"""`diff` of models and of results: what was changed on purpose is found, and nothing else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from checkpoints import gaussian, write_llama, write_matrix, write_tensors
from diff_models import (
    ENDS,
    FROZEN,
    GROWS,
    JOINS,
    SIGNED,
    SPLITS,
    STAYS,
    ZERO,
    D,
    V,
    after,
    before,
    results_of,
    two,
)
from isologit.comparing import diff
from isologit.diff_findings import Diff, DiffSeries
from isologit.errors import ResultsError
from isologit.numerics.formats import BF16, F32, Format
from isologit.subject import Settings


def diff_two(*models: Path, settings: Settings | None = None) -> Diff:
    found = diff([str(model) for model in models], settings)
    assert isinstance(found, Diff)
    return found


def of_classes(found: Diff) -> object:
    """Return all that a document says of classes, as plain data."""
    names = ("classes", "born", "dissolved", "merged", "split", "grown", "shrunk", "exchanged")
    return [getattr(found, name) for name in (*names, "persistent", "persistent_classes")]


class TestTwoModels:
    """Rows that were changed on purpose."""

    @pytest.fixture
    def found(self, tmp_path: Path) -> Diff:
        return diff_two(*two(tmp_path))

    def test_each_class_is_what_was_made_of_it(self, found: Diff) -> None:
        assert [each.token_ids for each in found.born] == [[5, 6]]
        assert [each.token_ids for each in found.dissolved] == [ENDS]
        assert [each.token_ids for each in found.merged] == [[0, 1, *JOINS, 42]]
        parts = [(part.token_ids, part.size) for part in found.merged[0].parts]
        assert sorted(parts) == [([0, 1], 4), (JOINS, 2)]
        assert found.merged[0].single_token_ids == [42]
        assert [each.token_ids for each in found.split] == [SPLITS]
        parts = [(part.token_ids, part.size) for part in found.split[0].parts]
        assert parts == [([0, 1], 5), ([2], 2)]
        assert found.split[0].single_token_ids == [3]
        (grown,) = found.grown
        assert (grown.token_ids, grown.gained, grown.lost) == (GROWS, [25], [])
        assert (grown.size_before, grown.size_after) == (3, 4)
        assert [each.token_ids for each in found.persistent_classes] == [STAYS]
        assert found.persistent == 1

    def test_frozen_rows_are_those_that_were_left_alone(self, found: Diff) -> None:
        assert found.frozen is not None
        assert found.frozen.by == "bits"
        assert found.frozen.token_ids == sorted([*STAYS, *GROWS, *FROZEN, ZERO])
        assert found.frozen_rows == len(found.frozen.token_ids)
        # The sign of a zero is a bit, and no value.
        assert found.frozen.same_values == found.frozen_rows + 1
        assert found.frozen.zero == 1
        assert found.frozen.categories is None

    def test_each_row_is_the_same_or_moved(self, found: Diff) -> None:
        moved = found.moved
        assert moved is not None
        assert found.frozen_rows is not None
        assert moved.format == "bf16"
        assert (moved.below_ulp, moved.only_nan, moved.unlike_nan) == (1, 0, 0)
        assert moved.rows == V - found.frozen_rows - 1
        assert sum(each.rows for each in moved.histogram) == moved.rows + moved.below_ulp

    def test_doubled_rows_are_found_with_their_factor(self, found: Diff) -> None:
        assert found.moved is not None
        scaled = found.moved.scaled
        assert scaled is not None
        changed = {*SPLITS, *STAYS, *GROWS, *JOINS, 5, 6, 25, 41, 42, 44, *FROZEN, ZERO, SIGNED}
        assert set(scaled.token_ids) >= set(range(V)) - changed
        assert scaled.least is not None
        assert scaled.greatest is not None
        assert scaled.least < 2 < scaled.greatest

    def test_claims_are_made_of_what_is_there(self, found: Diff) -> None:
        assert found.claims == {
            "classes": "exact",
            "frozen_rows": "exact",
            "moved": "exact",
            "zero": "exact",
        }


def test_distances_of_a_row_are_those_of_ml_dtypes(tmp_path: Path) -> None:
    one, other = before(), after()
    words = [
        each.astype(ml_dtypes.bfloat16).view(np.int16).astype(np.int64) for each in (one, other)
    ]
    numbers = [np.where(each < 0, -(each & 0x7FFF), each) for each in words]
    largest = np.abs(numbers[0] - numbers[1]).max(axis=1)
    moved = diff_two(*two(tmp_path)).moved
    assert moved is not None
    ranked = sorted(largest[largest > 0].tolist())
    assert moved.quantiles is not None
    assert moved.quantiles["min"] == ranked[0]
    assert moved.quantiles["max"] == ranked[-1]
    # The smallest that half of the rows do not exceed.
    assert moved.quantiles["median"] == ranked[-(-len(ranked) // 2) - 1]
    assert [row.ulp for row in moved.least] == ranked[:10]
    assert [row.ulp for row in moved.most] == ranked[::-1][:10]
    for each in moved.histogram:
        assert each.rows == sum(each.from_ <= n <= each.to for n in ranked) + (each.to == 0)
    assert [(each.from_, each.to) for each in moved.histogram[:5]] == [
        *((0, 0), (1, 1), (2, 2), (3, 4), (5, 8))
    ]


def test_a_model_and_itself_are_the_same(tmp_path: Path) -> None:
    model, _ = two(tmp_path)
    found = diff_two(model, model)
    assert found.frozen_rows == V
    assert found.moved is not None
    assert (found.moved.rows, found.moved.below_ulp, found.moved.histogram) == (0, 0, [])
    assert found.classes.persistent == found.classes.before == found.classes.after == 5
    assert found.classes.tokens_changed == 0


def test_results_say_of_classes_what_models_do(tmp_path: Path) -> None:
    models = two(tmp_path)
    expected = of_classes(diff_two(*models))
    results = [results_of(models[0]), results_of(models[1], "classes")]
    assert of_classes(diff_two(*results)) == expected
    assert of_classes(diff_two(models[0], results[1])) == expected
    assert of_classes(diff_two(results[0], models[1])) == expected


def test_results_show_rows_that_moved_and_no_other(tmp_path: Path) -> None:
    models = two(tmp_path)
    whole = diff_two(*models)
    assert whole.frozen is not None
    frozen = set(whole.frozen.token_ids)
    for pair in (
        [results_of(each) for each in models],
        [models[0], results_of(models[1])],
        [results_of(each, "classes") for each in models],
    ):
        found = diff_two(*pair)
        assert (found.frozen_rows, found.frozen, found.moved) == (None, None, None)
        at_least = found.moved_at_least
        assert at_least is not None
        assert found.claims["moved_at_least"] == "certified bound"
        assert not set(at_least.token_ids) & frozen
        assert 0 < at_least.rows <= V - len(frozen)
        # `classes` writes the norm alone.
        assert set(at_least.by) <= {"smallest", "largest", "sum", "norm"}
        assert found.zero == whole.zero


class TestTheBound:
    """Results show no more rows than models have that moved."""

    def compared(self, models: list[Path], format_: Format | None = None) -> tuple[int, int]:
        """Return how many rows moved, and how many the results show."""
        settings = Settings(logit_format=format_)
        moved = diff_two(*models, settings=settings).moved
        results = diff_two(*map(results_of, models), settings=settings)
        at_least = results.moved_at_least
        assert moved is not None
        assert at_least is not None
        return moved.rows, at_least.rows

    def test_a_class_parted_by_signs_of_zero_did_not_move(self, tmp_path: Path) -> None:
        rows = before()
        rows[[7, 8, 9]] = np.r_[0.0, np.full(D - 1, 2.0)]
        later = rows.copy()
        later[8, 0] = -0.0
        models = [write_matrix(tmp_path / n, each) for n, each in (("a", rows), ("b", later))]
        assert self.compared(models) == (0, 0)

    def test_a_rounded_copy_did_not_move(self, tmp_path: Path) -> None:
        values = gaussian(V, D, seed=1)
        # A class after alone: the three are one row of bf16.
        values[[3, 4, 5]] = 1.0
        values[[4, 5], 0] += [2.0**-20, 2.0**-19]
        models = [write_llama(tmp_path / dtype, values, dtype) for dtype in ("f32", "bf16")]
        assert self.compared(models) == (0, 0)
        moved, shown = self.compared(models, F32)
        assert 0 < shown <= moved

    def test_numbers_of_a_coarser_format_are_counted_as_asked(self, tmp_path: Path) -> None:
        values = gaussian(V, D, seed=1)
        values[[3, 4, 5]] = 1.0
        later = values.copy()
        later[4] += 2.0**-20
        later[7] += 1
        models = [
            write_llama(tmp_path / n, each, "f32") for n, each in (("a", values), ("b", later))
        ]
        assert self.compared(models, BF16) == (1, 1)
        assert self.compared(models) == (2, 2)


def test_a_class_that_came_apart_moved_but_for_one_row(tmp_path: Path) -> None:
    rows = np.ones((9, 4)) * [1.0, 2.0, 3.0, 4.0]
    later = rows.copy()
    # The same norm, sum and extremes, so that classes alone tell.
    later[4:7] = later[4, ::-1]
    later[7:] = later[7, [1, 0, 2, 3]]
    models = [write_matrix(tmp_path / n, each) for n, each in (("a", rows), ("b", later))]
    found = diff_two(*(results_of(model) for model in models))
    assert found.moved_at_least is not None
    assert (found.moved_at_least.rows, found.moved_at_least.token_ids) == (5, [])
    # The way back they come together, and only one of the three rows was what all are now.
    back = diff_two(*(results_of(model) for model in reversed(models)))
    assert back.moved_at_least == found.moved_at_least
    assert diff_two(*models).frozen_rows == 4


def test_results_of_one_matrix_show_that_every_row_is_the_same(tmp_path: Path) -> None:
    model, _ = two(tmp_path)
    for other in (model, results_of(model, "classes")):
        found = diff_two(results_of(model) if other is model else other, model)
        assert found.frozen is not None
        assert (found.frozen_rows, found.frozen.by) == (V, "digest")
        assert found.claims["frozen_rows"] == "exact"
        assert found.moved is None


def test_a_series_has_a_step_for_each_checkpoint_and_the_next(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    third = write_llama(tmp_path / "third", before()[:50])
    found = diff([str(first), str(results_of(second)), str(third)])
    assert isinstance(found, DiffSeries)
    assert [(step.from_.model.name, step.to.model.name) for step in found.steps] == [
        ("before", "after"),
        ("after", "third"),
    ]
    assert of_classes(found.steps[0]) == of_classes(diff_two(first, second))
    assert of_classes(found.steps[1]) == of_classes(diff_two(second, third))


class TestWhatIsUnlike:
    """Other numbers of rows, other widths, other formats, biases."""

    def test_rows_that_one_has_alone_are_left_out_and_named(self, tmp_path: Path) -> None:
        rows = np.tile(before(), (2, 1))[: V + 3]
        larger = write_llama(tmp_path / "larger", rows)
        smaller = write_llama(tmp_path / "smaller", rows[:V])
        found = diff_two(smaller, larger)
        assert (found.vocabulary.common, found.vocabulary.only_after) == (V, 3)
        # The three are copies of the first, which are a class of their own without them.
        assert found.frozen_rows == V
        assert found.classes.persistent == 5
        assert any(f"3 rows more, {V} to {V + 2}" in note for note in found.notes)
        assert diff_two(larger, smaller).vocabulary.only_before == 3

    def test_of_another_width_classes_alone_are_compared(self, tmp_path: Path) -> None:
        one = write_llama(tmp_path / "one", before())
        other = write_llama(tmp_path / "other", before()[:, :8])
        for found in (diff_two(one, other), diff_two(results_of(one), other)):
            assert (found.frozen, found.moved, found.moved_at_least) == (None, None, None)
            assert f"[{V}, {D}] and [{V}, 8]" in found.rows_why
            assert found.classes.persistent == 5
            assert set(found.claims) == {"classes", "zero"}

    def test_a_rounded_model_is_within_an_ulp_of_the_coarser_format(self, tmp_path: Path) -> None:
        values = gaussian(V, D, seed=1)
        values[7] = 0.5
        fine = write_llama(tmp_path / "fine", values, "f32")
        coarse = write_llama(tmp_path / "coarse", values, "bf16")
        found = diff_two(fine, coarse)
        assert found.frozen is not None
        assert found.moved is not None
        assert (found.frozen.by, found.frozen.token_ids) == ("values", [7])
        assert (found.moved.format, found.moved.rows) == ("bf16", 0)
        assert found.moved.below_ulp == V - 1
        # Of the finer format, as asked for, they are as far apart as rounding takes them.
        found = diff_two(fine, coarse, settings=Settings(logit_format=F32))
        assert found.moved is not None
        assert found.moved.format == "f32"
        assert found.moved.rows == V - 1
        assert found.moved.quantiles is not None
        assert found.moved.quantiles["max"] <= 1 << 15

    def test_results_in_two_formats_compare_what_is_not_rounded(self, tmp_path: Path) -> None:
        values = gaussian(V, D, seed=1)
        fine = write_llama(tmp_path / "fine", values, "f32")
        coarse = write_llama(tmp_path / "coarse", values, "bf16")
        at_least = diff_two(results_of(fine), results_of(coarse)).moved_at_least
        assert at_least is not None
        assert set(at_least.by) == {"smallest", "largest"}
        nothing = diff_two(results_of(fine, "classes"), results_of(coarse, "classes"))
        assert nothing.moved_at_least is None
        assert "no figure in common" in nothing.rows_why

    def biased(self, directory: Path, bias: object, rows: object = None) -> Path:
        values = before() if rows is None else rows
        tensors = {"lm_head.weight": np.asarray(values), "lm_head.bias": np.asarray(bias)}
        return write_tensors(directory, tensors, "f32")

    def test_a_row_is_frozen_with_its_bias(self, tmp_path: Path) -> None:
        bias = np.zeros(V)
        later = bias.copy()
        later[[3, 50]] = [2.0**-149, 1.0]
        one, other = self.biased(tmp_path / "one", bias), self.biased(tmp_path / "other", later)
        found = diff_two(one, other)
        assert found.frozen is not None
        assert (found.frozen_rows, found.frozen.without_bias) == (V - 2, V)
        assert found.bias is not None
        assert (found.bias.same, found.bias.moved, found.bias.ulp) == (V - 2, 2, 0x3F800000)
        # The rows of W are all the same, so that none of them is said to have moved.
        assert found.moved is not None
        assert (found.moved.rows, found.moved.below_ulp) == (0, 0)
        assert found.classes.shrunk == 1  # 3 has left SPLITS

    def test_of_results_the_biases_are_not_known(self, tmp_path: Path) -> None:
        one = self.biased(tmp_path / "one", np.zeros(V))
        other = self.biased(tmp_path / "other", np.ones(V))
        found = diff_two(results_of(one), results_of(other))
        assert found.frozen is not None
        assert (found.frozen_rows, found.frozen.without_bias) == (None, V)
        assert "biases are not to be had" in found.rows_why

    def test_a_class_that_a_bias_split_is_no_row_that_moved(self, tmp_path: Path) -> None:
        one = self.biased(tmp_path / "one", np.zeros(V))
        rows = before()
        rows[59, 0] += 1
        other = self.biased(tmp_path / "other", np.arange(V), rows)
        at_least = diff_two(results_of(one), results_of(other)).moved_at_least
        assert at_least is not None
        assert (at_least.rows, at_least.token_ids) == (1, [59])

    def test_a_bias_of_one_alone_is_a_note(self, tmp_path: Path) -> None:
        plain = write_tensors(tmp_path / "plain", {"lm_head.weight": before()}, "f32")
        found = diff_two(plain, self.biased(tmp_path / "biased", np.zeros(V)))
        assert found.frozen_rows == V
        assert found.bias is None
        assert any("bias after alone" in note for note in found.notes)

    def test_scales_beside_the_weights_are_not_in_the_digest(self, tmp_path: Path) -> None:
        weights = np.ones((6, 4)).astype(ml_dtypes.float8_e4m3fn)
        models = []
        for name, scale in (("one", 1.0), ("other", 2.0)):
            scales = np.full((6, 1), scale, dtype=np.float32)
            tensors = {"lm_head.weight": weights, "lm_head.weight_scale": scales}
            (tmp_path / name).mkdir()
            save_file(tensors, tmp_path / name / "model.safetensors")
            models.append(tmp_path / name)
        whole = diff_two(*models)
        assert whole.from_.matrix.sha256 == whole.to.matrix.sha256
        assert whole.frozen is not None
        assert (whole.frozen.by, whole.frozen_rows) == ("values", 0)
        found = diff_two(*(results_of(model) for model in models))
        assert found.frozen is None
        assert found.moved_at_least is not None
        assert found.moved_at_least.rows == 6

    def test_a_nan_that_came_has_no_distance(self, tmp_path: Path) -> None:
        rows = before()
        later = rows.copy()
        later[2, 0] = np.nan
        later[8, 0] = np.nan
        later[8, 1] += 1
        models = [write_matrix(tmp_path / n, each) for n, each in (("a", rows), ("b", later))]
        moved = diff_two(*models).moved
        assert moved is not None
        assert (moved.rows, moved.only_nan, moved.unlike_nan) == (1, 1, 2)
        assert moved.below_ulp == 0
        assert sum(each.rows for each in moved.histogram) == 1


def test_classes_by_value_are_counted_where_they_are_fewer(tmp_path: Path) -> None:
    rows = before()
    rows[[7, 8]] = np.r_[0.0, np.full(D - 1, 2.0)]
    later = rows.copy()
    later[8, 0] = -0.0
    models = [write_matrix(tmp_path / n, each) for n, each in (("a", rows), ("b", later))]
    for pair in (models, [results_of(each) for each in models]):
        found = diff_two(*pair)
        assert found.by_value is not None
        assert found.classes.dissolved == 1
        assert (found.by_value.dissolved, found.by_value.persistent) == (0, 6)


class TestDirectories:
    """Result directories that are not what isologit wrote, or about another matrix."""

    @pytest.fixture
    def results(self, tmp_path: Path) -> Path:
        return results_of(two(tmp_path)[0])

    def changed(self, results: Path, change: Callable[[dict[str, Any]], None]) -> None:
        path = results / "summary.json"
        summary = json.loads(path.read_text())
        change(summary)
        path.write_text(json.dumps(summary))

    @pytest.mark.parametrize(
        ("name", "message"),
        [("summary.json", "cannot be read"), ("tokens.parquet", "cannot be read")],
    )
    def test_half_a_directory_is_named(self, results: Path, name: str, message: str) -> None:
        (results / name).unlink()
        with pytest.raises(ResultsError, match=f"{name} {message}.*-o DIR"):
            diff([str(results), str(results)])

    def test_another_document_is_refused(self, results: Path) -> None:
        self.changed(results, lambda summary: summary.update(schema="isologit.check/1"))
        with pytest.raises(
            ResultsError, match=r"expected isologit\.audit/1 or isologit\.classes/1"
        ):
            diff([str(results), str(results)])

    def test_another_number_of_rows_is_refused(self, results: Path) -> None:
        self.changed(results, lambda summary: summary["matrix"].update(shape=[V - 1, D]))
        with pytest.raises(ResultsError, match=f"{V} rows; expected {V - 1}"):
            diff([str(results), str(results)])

    def test_classes_that_the_summary_does_not_have_are_refused(self, results: Path) -> None:
        self.changed(results, lambda summary: summary["rows"].update(distinct=3))
        with pytest.raises(ResultsError, match="distinct rows; expected 3"):
            diff([str(results), str(results)])

    @pytest.mark.parametrize(
        ("column", "values", "message"),
        [
            ("row_class", lambda old: old[::-1], "row_class in another order"),
            (
                "row_value_class",
                lambda old: np.arange(V),
                "row_value_class that splits a row_class",
            ),
            ("norm", lambda old: [None, *old[1:]], "norm with nulls"),
        ],
    )
    def test_columns_that_contradict_each_other_are_refused(
        self, results: Path, column: str, values: Callable[[Any], Any], message: str
    ) -> None:
        path = results / "tokens.parquet"
        table = pq.read_table(path)
        old = table[column].to_pylist() if column in table.column_names else []
        kind = pa.float64() if column == "norm" else pa.int32()
        changed = pa.array(list(values(old)), kind)
        if column in table.column_names:
            table = table.drop_columns([column])
        table = table.append_column(column, changed)
        if column == "row_class":
            sizes = np.bincount(changed.to_numpy())[changed.to_numpy()]
            table = table.drop_columns(["row_class_size"])
            table = table.append_column("row_class_size", pa.array(sizes, pa.int32()))
        pq.write_table(table, path)
        with pytest.raises(ResultsError, match=message):
            diff([str(results), str(results)])

    def test_a_format_that_there_is_not_is_refused(self, results: Path) -> None:
        self.changed(results, lambda summary: summary["matrix"].update(values_dtype="q99"))
        with pytest.raises(ResultsError, match="values_dtype q99; expected bf16 or f16 or f32"):
            diff_two(results, results)

    @pytest.mark.parametrize("name", ["summary.json", "tokens.parquet"])
    def test_a_model_may_have_a_file_of_such_a_name(self, tmp_path: Path, name: str) -> None:
        model, _ = two(tmp_path)
        (model / "config.json").write_text("{}")
        (model / name).write_text("{}")
        assert diff_two(model, model).from_.read == "model"

    def test_the_other_matrix_is_refused(self, results: Path) -> None:
        with pytest.raises(ResultsError, match="role output, and what is compared is input"):
            diff([str(results), str(results)], Settings(role="input"))
        with pytest.raises(ResultsError, match=r"--tensor model\.norm\.weight"):
            diff([str(results), str(results)], Settings(tensor="model.norm.weight"))


def test_one_checkpoint_is_too_few() -> None:
    with pytest.raises(ValueError, match="expected two or more"):
        diff([])
