"""A matrix in a coding is, to everything that computes, the matrix of its decoded words.

The coding here is a table of words by stored byte, so that what is stored looks nothing like what
it stands for; those of real files have tests of their own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from isologit.equivalence.axes import coordinates, principal_axes
from isologit.equivalence.cluster import find_clusters
from isologit.equivalence.partition import Partition
from isologit.equivalence.rows import row_classes
from isologit.numerics import exact, kernels
from isologit.numerics.covariance import moments_of
from isologit.numerics.distances import sketch_rows, square_distances
from isologit.numerics.formats import BF16, F32, Format
from isologit.numerics.many_states import logits_at_states
from isologit.numerics.scan import scan_rows
from isologit.numerics.stored import Matrix, StoredWords, Vector, as_bits

V, D = 3_000, 70


@dataclass(frozen=True, eq=False)
class Table:
    """A coding by table: entry k of row i is ``words[stored[i, k]]``."""

    words: StoredWords
    format: Format
    width: int
    row_keys: npt.NDArray[np.integer] | None = None
    name: str = "table"

    def decode(
        self, stored: StoredWords, rows: npt.NDArray[np.int64], out: npt.NDArray[Any]
    ) -> None:
        out[:] = self.words[stored[rows]]


def pair(format_: Format, *, odd: bool = False) -> tuple[Matrix, Matrix]:
    """Return a matrix in a coding and the same one as plain words, with classes of equal rows."""
    rng = np.random.default_rng(0)
    width = D + odd
    words = Vector.of_values(np.r_[rng.normal(size=250), 0.0, -0.0, 1.5, 1.5, 0.25, 3.0], format_)
    stored = rng.integers(0, 250, (V, width)).astype(np.uint8)
    stored[500:520] = stored[7]
    stored[1000:1300] = stored[1000]
    stored[1000:1300, 3] = rng.integers(250, 256, 300)
    # Other bytes, the same values: 252 and 253 stand for one number, 250 and 251 for ±0.
    stored[2000] = stored[2001] = 252
    stored[2001, 5] = 253
    stored[2002] = stored[2003] = 250
    stored[2003, 5] = 251
    coded = Matrix(stored, format_, Table(words.words, format_, width))
    return coded, Matrix(words.words[stored], format_)


def h_of(width: int, format_: Format) -> Vector:
    return Vector.of_values(np.random.default_rng(1).normal(size=width), format_)


SOME = np.array([5, 2999, 7, 7, 510, 1001])
JOBS: dict[str, Callable[[Matrix], Any]] = {
    "logits": lambda m: exact.logits(m, h_of(m.width, m.format), BF16).values,
    "logits in f32": lambda m: exact.logits(m, h_of(m.width, m.format), F32).values,
    "cosines": lambda m: exact.cosines(m, h_of(m.width, m.format), F32).values,
    "norms": lambda m: exact.norms(m, m.format).values,
    "sums": lambda m: exact.sums(m, m.format).values,
    "mean": lambda m: exact.mean_row(m, np.arange(m.n_tokens))[0].words,
    "mean of the same row": lambda m: exact.mean_row(m, [7] * 5_000)[0].words,
    "real dot": lambda m: exact.exact_dot(m, 11, h_of(m.width, m.format).values),
    "equal dots": lambda m: exact.equal_dots(m, [7, 500, 519], h_of(m.width, m.format)),
    "hashes": lambda m: scan_rows(m).hashes,
    "folded hashes": lambda m: scan_rows(m).hashes_without_signed_zeros(),
    "extremes": lambda m: np.stack([scan_rows(m).smallest, scan_rows(m).largest]),
    "kinds": lambda m: np.stack([scan_rows(m).zero, scan_rows(m).subnormal, scan_rows(m).finite]),
    "sketches": lambda m: sketch_rows(m, SOME),
    "distances": lambda m: square_distances(m, SOME, np.ones(m.width)),
    "moments": lambda m: moments_of(m).mean,
    "axes": lambda m: principal_axes(m, 1, tolerance=1.0).axes,
    "coordinates": lambda m: np.stack(coordinates(m, principal_axes(m, 3, tolerance=1.0))),
    "many states": lambda m: logits_at_states(m, m.take(range(20)), BF16).values,
    "rows": lambda m: m.rows(SOME),
    "one row": lambda m: m.row(510).words,
    "classes of values": lambda m: row_classes(m).values.labels,
    "cluster": lambda m: [c.token_ids.tolist() for c in find_clusters(m, row_classes(m).values)],
}


@pytest.mark.parametrize("format_", [BF16, F32], ids=lambda f: f.name)
@pytest.mark.parametrize("job", JOBS)
def test_what_is_computed_is_that_of_the_decoded_words(job: str, format_: Format) -> None:
    coded, plain = pair(format_)
    found, expected = JOBS[job](coded), JOBS[job](plain)
    if isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("job", ["mean", "mean of the same row", "moments", "axes"])
def test_how_many_rows_are_decoded_at_a_time_changes_nothing(
    job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coded, plain = pair(F32)
    monkeypatch.setattr(kernels, "_PIECE_BYTES", 1)
    np.testing.assert_array_equal(JOBS[job](coded), JOBS[job](plain))


@pytest.mark.parametrize("format_", [BF16, F32], ids=lambda f: f.name)
def test_a_mean_on_a_midpoint_is_decided_by_all_rows(
    format_: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Half of the rows are 1 and half are its neighbour: the mean is a midpoint, a tie that goes to
    # 1. One row more of either kind decides, wherever it is; no bound does.
    monkeypatch.setattr(kernels, "_PIECE_BYTES", 1_000)
    neighbour = 1.0 + 2.0 ** (1 - format_.precision)
    words = Vector.of_values([1.0, neighbour], format_).words
    stored = np.repeat(np.array([0, 1], dtype=np.uint8), 3_000)[:, None]
    coded = Matrix(stored, format_, Table(words, format_, 1))
    rows = list(range(6_000))
    for more, expected in (([], 1.0), ([0], 1.0), ([5_999], neighbour)):
        mean, refined = exact.mean_row(coded, rows + more)
        assert mean.values.tolist() == [expected]
        assert refined == (0 if more else 1)


def by_content(rows: list[bytes]) -> Partition:
    """Return the partition of tokens by some bytes of each."""
    names = {content: n for n, content in enumerate(dict.fromkeys(rows))}
    return Partition.of_keys([names[content] for content in rows])


@pytest.mark.parametrize("odd", [False, True])
def test_stored_bits_and_values_have_classes_of_their_own(odd: bool) -> None:
    coded, plain = pair(F32, odd=odd)
    found = row_classes(coded)
    assert found.rows == by_content([row.tobytes() for row in coded.words])
    # +0.0 makes −0 into +0.
    values = plain.rows(np.arange(V)) + 0.0
    assert found.row_values == by_content([row.tobytes() for row in values])
    assert found.rows.labels[2000] != found.rows.labels[2001]
    assert found.row_values.labels[2000] == found.row_values.labels[2001]
    assert found.row_values.labels[2002] == found.row_values.labels[2003]
    assert found.rows.refines(found.row_values)


def test_rows_of_equal_bytes_and_other_scales_are_stored_differently() -> None:
    coded, _ = pair(F32)
    coding = coded.coding
    assert isinstance(coding, Table)
    keys = np.zeros(V, dtype=np.int64)
    keys[510:] = 1
    scaled = Matrix(
        coded.words, F32, Table(coding.words, coding.format, coding.width, row_keys=keys)
    )
    labels = row_classes(scaled).rows.labels
    assert labels[7] == labels[509]
    assert labels[7] != labels[510]
    assert labels[510] == labels[519]


def test_stored_bits_of_an_odd_number_of_bytes_are_told_apart_to_the_last() -> None:
    stored = np.zeros((2, 3), dtype=np.uint8)
    stored[1, 2] = 1
    matrix = Matrix(stored, F32, Table(np.zeros(256, np.uint32), F32, 3))
    assert as_bits(matrix).words.shape == (2, 2)
    assert row_classes(matrix).rows.n_classes == 2
    assert row_classes(matrix).row_values.n_classes == 1


def test_a_coding_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="table decodes into f32"):
        Matrix(np.zeros((2, 3), np.uint8), BF16, Table(np.zeros(256, np.uint32), F32, 3))
