"""Build the full-size twin, and hold what isologit finds in it against what was planted.

    python benchmarks/check_twin.py [--keep FILE] [--tokenizer QWEN3_TOKENIZER.json]

Prints sizes, precision and recall, and the leading eigenvalues; with Qwen3's tokenizer also who the
rows are, beside the published counts; and of the report its size, and how long a browser takes with
it. Exits 1 if anything is wrong. How long it all takes is for
`speed.py`.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

import isologit
from isologit.audit import audit
from isologit.equivalence.rows import row_classes
from isologit.findings import Audit
from isologit.numerics.kernels import sum_columns
from isologit.numerics.stored import Matrix
from isologit.subject import Settings
from isologit.tokens.evidence import GRADES, Evidence
from twin import HALO, POPULATIONS, SPECTRUM, Truth, make_twin
from twin_report import check_report


def main() -> None:
    """Run the check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="write the twin here and leave it there")
    parser.add_argument("--tokenizer", type=Path, help="Qwen3's, which the published counts are of")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.keep or Path(folder) / "twin.safetensors"
        truth = make_twin(path)
        print(f"twin of {truth.n_tokens} × {truth.width}")
        wrong = _check(path, truth, options.tokenizer, Path(folder))
    for each in wrong:
        print(f"WRONG: {each}")
    sys.exit(1 if wrong else 0)


def _check(path: Path, truth: Truth, tokenizer: Path | None, folder: Path) -> list[str]:
    checkpoint = isologit.open_checkpoint(path)
    matrix = checkpoint.matrix("W")
    wrong = []

    eigenvalues = leading_eigenvalues(matrix, len(SPECTRUM))
    print("leading eigenvalues:", *(f"{value:.4f}" for value in eigenvalues))
    if not np.array_equal(eigenvalues.round(4), np.round(SPECTRUM, 4)):
        wrong.append(f"the leading eigenvalues should be {SPECTRUM}")

    classes = row_classes(matrix)
    clusters = isologit.find_clusters(matrix, classes.values)
    found = [ids.tolist() for ids in classes.bits.groups()]
    print("row classes:", *(len(ids) for ids in found))
    if sorted(found) != sorted(truth.populations):
        wrong.append(f"the row classes should be the planted populations: {POPULATIONS}")

    planted = set(truth.cluster.tolist())
    print(f"planted: {len(planted)} tokens, {HALO} of them the halo; found: {len(clusters)}")
    for cluster in clusters:
        members = set(cluster.token_ids.tolist())
        both = len(members & planted)
        precision, recall = both / len(members), both / len(planted)
        print(f"cluster: {len(members)} tokens, precision {precision:.4f}, recall {recall:.4f}")
        print(f"  {cluster.why}")
        if min(precision, recall) < 0.99:
            wrong.append("precision and recall should be 0.99 or more")
    if len(clusters) != 1:
        wrong.append(f"there should be one cluster, not {len(clusters)}")

    return wrong + _audited(path, truth, tokenizer, folder)


def _audited(path: Path, truth: Truth, tokenizer: Path | None, folder: Path) -> list[str]:
    """Hold the audit, unaided, against what was planted, and its tokens against what is known."""
    settings = Settings(tokenizer=None if tokenizer is None else str(tokenizer))
    findings, arrays = audit(str(path), settings)
    found = [ids.tolist() for ids in arrays.rows.bits.groups()]
    cluster = findings.cluster
    planted = set(truth.cluster.tolist())
    members = set() if cluster is None else set(cluster.token_ids)
    mode = findings.logits.mode
    print(
        f"audit: {findings.rows.classes} row classes, a cluster of {len(members)}, and at its "
        f"centroid {mode.n_tokens} tokens with the logit {mode.value}"
    )
    wrong = []
    if sorted(found) != sorted(truth.populations):
        wrong.append("the audit's row classes should be the planted populations")
    if not members or min(len(members & planted) / len(s) for s in (members, planted)) < 0.99:
        wrong.append("the audit should find the planted cluster")
    if tokenizer is not None:
        wrong += _tokens(findings, planted, arrays.evidence)
    return wrong + check_report(findings, arrays, folder)


def _tokens(findings: Audit, planted: set[int], evidence: Evidence | None) -> list[str]:
    tokens = findings.tokens
    if tokens is None or evidence is None:
        return ["the tokenizer should load"]
    counts = (tokens.in_tokenizer, tokens.padding, tokens.unreachable)
    found = set(np.flatnonzero(evidence.grades >= GRADES.index("likely")).tolist())
    print(
        f"tokens: {counts[0]} ids, {counts[1]} padding rows, {counts[2]} do not survive; "
        f"{len(found & planted)} of {len(planted)} planted show no training, and "
        f"{len(found - planted)} others"
    )
    wrong = []
    # Azimuth_II, Qwen3-4B-Instruct-2507.
    if counts != (151_669, 267, 3_357):
        wrong.append("there should be 151,669 ids, 267 padding rows, and 3,357 that do not survive")
    if found != planted:
        wrong.append("what was planted, and nothing else, should show no training")
    return wrong


def leading_eigenvalues(matrix: Matrix, n: int) -> npt.NDArray[np.float64]:
    """Return the largest eigenvalues of the covariance of rows, by subspace iteration."""
    width = matrix.width
    sums, magnitudes = np.zeros(width), np.zeros(width)
    sum_columns(matrix.words, np.arange(matrix.n_tokens), sums, magnitudes)
    mean = sums / matrix.n_tokens
    covariance = np.zeros((width, width))
    for start in range(0, matrix.n_tokens, 8192):
        rows = np.arange(start, min(start + 8192, matrix.n_tokens))
        centred = (matrix.rows(rows) - mean).astype(np.float32)
        covariance += centred.T @ centred
    covariance /= matrix.n_tokens
    basis = np.random.default_rng(0).standard_normal((width, 2 * n + 10))
    for _ in range(30):
        basis = np.linalg.qr(covariance @ basis)[0]
    eigenvalues = np.linalg.eigvalsh(basis.T @ covariance @ basis)
    return np.asarray(eigenvalues[::-1][:n], dtype=np.float64)


if __name__ == "__main__":
    main()
