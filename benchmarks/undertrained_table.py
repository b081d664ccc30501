"""Measure how well the evidence of under-training finds tokens that are known to be unseen.

    python benchmarks/undertrained_table.py [SHARED]

Three tables for docs/undertrained.md: precision and recall of each reason alone and of each grade,
where it is known which tokens training never saw; how well each number alone ranks them; and what
the grades say of matrices in which nothing is unseen. SHARED is the folder with the real
checkpoints, beside this repository by default; without it the embedded checkpoint is measured
alone.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from isologit.checkpoint.head import find_head
from isologit.checkpoint.open import open_checkpoint
from isologit.demo import checkpoint_path, load_training_record
from isologit.equivalence.cluster import find_clusters
from isologit.equivalence.rows import row_classes
from isologit.numerics.formats import BF16
from isologit.numerics.stored import Matrix
from isologit.tokens.evidence import GRADES, Evidence
from isologit.tokens.undertrained import undertrained_evidence

_SHARED = Path(__file__).resolve().parents[2] / "shared"
# No text in UTF-8 holds these.
_NO_UTF8 = (0xC0, 0xC1, *range(0xF5, 0x100))
# Line feed and what is printable; the text that rwkv's small model was trained on holds no other.
_SEEN_BYTES = (10, *range(32, 127))
_REASONS = {
    "reference": "among the reference set",
    "cluster": "in a cluster",
    "row_class": "row class that is no chance",
    "near": "near the reference set, not among it",
    "direction": "cosine, in the reference set's cone",
    "centred_direction": "the same without mean and first axis",
    "low_norm": "low norm",
}
_RANKED = {
    "norm": "norm, low",
    "distance": "distance, low",
    "cosine": "cosine, high",
    "centred_cosine": "cosine without mean and first axis, high",
}
_DRAWS = 20

Mask = npt.NDArray[np.bool_]


def evidence_of(matrix: Matrix, candidates: Mapping[str, Mask]) -> Evidence:
    """Find row classes and clusters, and grade all tokens."""
    rows = row_classes(matrix)
    clusters = [each.token_ids for each in find_clusters(matrix, rows.row_values)]
    return undertrained_evidence(matrix, candidates, rows.rows.labels, clusters)


def known_cases(shared: Path) -> Iterator[tuple[str, Matrix, Mapping[str, Mask], Mask]]:
    """Yield a name, a matrix, the candidates, and which tokens training never saw."""
    record = load_training_record()
    matrix = find_head(open_checkpoint(checkpoint_path())).matrix
    padding = _mask(matrix.n_tokens, record.padding_ids)
    unseen = padding | _mask(matrix.n_tokens, record.never_seen_ids)
    yield "embedded, tied", matrix, {"padding": padding}, unseen
    yield "the same, no tokenizer", matrix, {}, unseen
    if not shared.is_dir():
        return
    model = shared / "checkpoints" / "rwkv-4v0-660K-fp16"
    for role, name in (("output", "rwkv, head"), ("input", "rwkv, embedding")):
        matrix = find_head(open_checkpoint(model), role=role).matrix  # type: ignore[arg-type]
        unseen = ~_mask(256, _SEEN_BYTES)
        yield name, matrix, {"never_in_utf8": _mask(256, _NO_UTF8)}, unseen


def controls(shared: Path) -> Iterator[tuple[str, list[Matrix]]]:
    """Yield a name, and matrices in which nothing is unseen."""
    for name, matrix, _, unseen in known_cases(shared):
        if name != "the same, no tokenizer":
            yield f"{name}: rows of seen tokens", [matrix.take(np.flatnonzero(~unseen))]
    shape = (4000, 96)
    generators = [np.random.default_rng(seed) for seed in range(_DRAWS)]
    clouds = [generator.normal(size=shape) for generator in generators]
    yield "Gaussian rows", [Matrix.of_values(cloud, BF16) for cloud in clouds]
    for name, spread in (("norms e^N(0, 0.5)", 0.5), ("norms e^N(0, 2)", 2.0)):
        sizes = [np.exp(spread * each.normal(size=(shape[0], 1))) for each in generators]
        rows = [cloud * size for cloud, size in zip(clouds, sizes, strict=True)]
        yield name, [Matrix.of_values(each, BF16) for each in rows]
    rows = [each.standard_t(1.5, size=shape) for each in generators]
    yield "Student-t entries, 1.5", [Matrix.of_values(each, BF16) for each in rows]
    copied = [cloud.copy() for cloud in clouds]
    for generator, cloud in zip(generators, copied, strict=True):
        cloud[:100] = cloud[generator.integers(1000, 4000, size=100)]
    yield "100 copies of ordinary rows", [Matrix.of_values(each, BF16) for each in copied]


def main() -> None:
    """Print the three tables."""
    shared = Path(sys.argv[1]) if len(sys.argv) > 1 else _SHARED
    cases = [
        (name, evidence_of(matrix, candidates), unseen)
        for name, matrix, candidates, unseen in known_cases(shared)
    ]
    _print(["", *(f"{name}: {int(unseen.sum())} unseen" for name, _, unseen in cases)])
    for flag, words in _REASONS.items():
        _print([words, *(_score(each.flags[flag], unseen) for _, each, unseen in cases)])
    for grade in range(3, 0, -1):
        words = f"**{GRADES[grade]}**" if grade == 3 else f"**{GRADES[grade]}** or more"
        _print([words, *(_score(each.grades >= grade, unseen) for _, each, unseen in cases)])
    print()
    _print(["", *(name for name, _, _ in cases)])
    for indicator, words in _RANKED.items():
        sign = -1 if words.endswith("low") else 1
        _print(
            [
                words,
                *(_area(sign * each.indicators[indicator], unseen) for _, each, unseen in cases),
            ]
        )
    print()
    _print(["nothing unseen", "matrices", "cores", "strong", "likely", "weak"])
    for name, matrices in controls(shared):
        totals = np.zeros(4, dtype=np.int64)
        cores = runs = 0
        for seed in range(-(-_DRAWS // len(matrices))):
            for n, matrix in enumerate(matrices):
                found = evidence_of(matrix, _drawn(matrix.n_tokens, 100 * seed + n))
                totals += np.bincount(found.grades, minlength=4)
                cores += found.reference.kind is not None
                runs += 1
        weak = f"{totals[1] / totals.sum():.2%}"
        _print([name, str(runs), str(cores), str(totals[3]), str(totals[2]), weak])


def _drawn(n_tokens: int, seed: int) -> dict[str, Mask]:
    """Return candidates that are like everybody else: in every other matrix none at all."""
    if seed % 2:
        return {}
    generator = np.random.default_rng(seed)
    return {
        "padding": _mask(n_tokens, generator.choice(n_tokens, 13, replace=False)),
        "unreachable": _mask(n_tokens, generator.choice(n_tokens, n_tokens // 20, replace=False)),
    }


def _mask(n_tokens: int, token_ids: npt.ArrayLike) -> Mask:
    mask = np.zeros(n_tokens, dtype=np.bool_)
    mask[np.asarray(token_ids)] = True
    return mask


def _score(found: Mask, unseen: Mask) -> str:
    """Return precision / recall (number found)."""
    if not found.any():
        return "— (0)"
    hits = int((found & unseen).sum())
    return f"{hits / found.sum():.3f} / {hits / unseen.sum():.3f} ({int(found.sum()):,})"


def _area(scores: npt.NDArray[np.float64], unseen: Mask) -> str:
    """Return how often an unseen token has a higher score than a seen one; ties count half."""
    known = np.isfinite(scores)
    if not known.any():
        return "—"
    seen = np.sort(scores[known & ~unseen])
    own = scores[known & unseen]
    below = np.searchsorted(seen, own, side="left") + np.searchsorted(seen, own, side="right")
    return f"{below.mean() / (2 * len(seen)):.4f}"


def _print(cells: list[str]) -> None:
    print("| " + " | ".join(cells) + " |")
    if cells[0] in ("", "nothing unseen"):
        print("|" + "---|" * len(cells))


if __name__ == "__main__":
    main()
