"""The seed's own lines, run by torch beside `classes --members`: every figure must be the same.

The lines are those of the seed's notebook (1.5c) on the CPU; figures under ``--arithmetic
torch:cpu`` must equal theirs, and the files must be what ``load_file`` gives back.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import gaussian, write_matrix
from cli.command import Ran, isologit

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

N, D = 700, 48


@dataclass(frozen=True)
class Seed:
    """What the seed's lines leave."""

    centroid: Any
    cluster_norms: Any
    dots: Any
    unique_dots: Any
    counts: Any
    mode_dot: float
    indices: Any
    n_unique_embeddings: int


def run_the_seed(W: Any, cluster_token_ids: Any) -> Seed:
    """Run the seed's cells 6 to 11."""
    W_cluster = W[cluster_token_ids]
    centroid = W_cluster.mean(dim=0)
    with torch.no_grad():
        dots = W @ centroid
    unique_dots, counts = torch.unique(dots, return_counts=True)
    mode_dot = unique_dots[counts.argmax()].item()
    indices = (dots == mode_dot).nonzero(as_tuple=True)[0]
    return Seed(
        centroid=centroid,
        cluster_norms=W_cluster.norm(dim=1),
        dots=dots,
        unique_dots=unique_dots,
        counts=counts,
        mode_dot=mode_dot,
        indices=indices,
        n_unique_embeddings=len(torch.unique(W[indices], dim=0)),
    )


@pytest.fixture(scope="module", params=["bf16", "f16", "f32"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Write a matrix with a cluster and duplicates, and the seed's cluster file, by torch."""
    folder = tmp_path_factory.mktemp("seed")
    values = gaussian(N, D, seed=11)
    values[200:260] = 0.25 + 0.002 * gaussian(60, D, seed=12)
    values[230:250] = values[200]
    model = write_matrix(folder / "model", values, request.param)
    W = safetensors_torch.load_file(model / "W.safetensors")["W"]
    ids = torch.arange(195, 262)
    mask = torch.zeros(N, dtype=torch.uint8)
    mask[ids] = 1
    path = folder / "1.4a_cluster_members.safetensors"
    safetensors_torch.save_file(
        {
            "cluster_mask": mask,
            "cluster_token_ids": ids.to(torch.int32),
            "cluster_cosine": torch.tensor([0.84375], dtype=torch.float32),
            "n_cluster_members": torch.tensor([len(ids)], dtype=torch.int32),
            "ref_lat": torch.tensor([-7.288], dtype=torch.float32),
            "ref_lon": torch.tensor([6.941], dtype=torch.float32),
        },
        path,
    )
    return model, path, run_the_seed(W, ids), ids


def observed(model: Path, path: Path, *more: object) -> Ran:
    ran = isologit("classes", model, "--members", path, "--arithmetic", "torch:cpu", *more)
    assert ran.code == 0, ran.err
    return ran


def test_every_figure_is_the_seed_s(case: Any) -> None:
    model, path, seed, ids = case
    found = observed(model, path, "--json").json
    logits = found["logits"]
    assert logits["min"] == seed.dots.min().item()
    assert logits["max"] == seed.dots.max().item()
    assert logits["mean"] == seed.dots.mean().item()
    assert logits["median"] == seed.dots.median().item()
    assert logits["mode"]["value"] == seed.mode_dot
    assert logits["mode"]["token_ids"] == seed.indices.tolist()
    assert logits["mode"]["n_tokens"] == seed.counts.max().item()
    assert logits["max_class"]["n_tokens"] == (seed.dots == seed.dots.max()).sum().item()
    assert logits["distinct"] == seed.unique_dots.numel()
    assert logits["share_of_vocabulary"] == seed.unique_dots.numel() / N
    tens = torch.argsort(seed.counts, descending=True, stable=True)[:10]
    assert [(top["value"], top["n_tokens"]) for top in logits["top"]] == [
        (seed.unique_dots[i].item(), seed.counts[i].item()) for i in tens
    ]
    assert found["centroid"] == {
        "norm": seed.centroid.norm().item(),
        "member_norm": {
            "min": seed.cluster_norms.min().item(),
            "max": seed.cluster_norms.max().item(),
            "mean": seed.cluster_norms.mean().item(),
        },
    }
    overlap = len(set(seed.indices.tolist()) & set(ids.tolist()))
    assert (found["comparison"]["a"], found["comparison"]["b"]) == (len(ids), len(seed.indices))
    assert found["comparison"]["both"] == overlap
    assert found["comparison"]["only_a"] == len(ids) - overlap
    assert found["comparison"]["only_b"] == len(seed.indices) - overlap
    assert found["comparison"]["share_of_a"] == overlap / len(ids)
    assert found["comparison"]["share_of_b"] == overlap / len(seed.indices)
    assert found["class_rows"]["distinct"] == seed.n_unique_embeddings
    assert found["cluster"]["cosine"] == 0.84375


def test_the_page_prints_what_the_notebook_prints(case: Any) -> None:
    model, path, seed, ids = case
    out = observed(model, path).out.splitlines()
    overlap = len(set(seed.indices.tolist()) & set(ids.tolist()))

    def shown(value: Any) -> str:
        """Return the notebook's eight decimals, or what it takes to tell f32 numbers apart."""
        text = f"{value:.8f}"
        if torch.tensor(float(text), dtype=value.dtype) == value:
            return text
        longer = np.format_float_positional(np.float32(value), unique=True, min_digits=8)
        assert f"{float(longer):.8f}" == text
        return longer

    for line in (
        f"Token space: {N:,} tokens in {D:,} dimensions",
        f"  Range: [{shown(seed.dots.min())}, {shown(seed.dots.max())}]",
        f"  Mean: {shown(seed.dots.mean())}",
        f"  Median: {shown(seed.dots.median())}",
        f"  ({len(seed.indices) / N * 100:.2f}% of vocabulary)",
        f"Unique embeddings: {seed.n_unique_embeddings:,}",
        f"  Of the cluster in the logit class: {overlap / len(ids) * 100:.1f}%",
        f"  Of the logit class in the cluster: {overlap / len(seed.indices) * 100:.1f}%",
    ):
        assert line in out


def test_load_file_reads_the_written_files_under_the_seed_s_keys_and_dtypes(
    case: Any, tmp_path: Path
) -> None:
    model, path, seed, ids = case
    observed(model, path, "-o", tmp_path / "out")
    members = safetensors_torch.load_file(tmp_path / "out" / "cluster_members.safetensors")
    assert {name: (t.dtype, tuple(t.shape)) for name, t in members.items()} == {
        "cluster_mask": (torch.uint8, (N,)),
        "cluster_token_ids": (torch.int32, (len(ids),)),
        "cluster_cosine": (torch.float32, (1,)),
        "n_cluster_members": (torch.int32, (1,)),
    }
    # As the seed reads it: .long(), .item(), .item().
    assert members["cluster_token_ids"].long().tolist() == ids.tolist()
    assert members["n_cluster_members"].item() == len(ids)
    assert members["cluster_cosine"].item() == 0.84375
    logits = safetensors_torch.load_file(tmp_path / "out" / "cluster_logits.safetensors")
    assert {name: (t.dtype, tuple(t.shape)) for name, t in logits.items()} == {
        "logit_equiv_mask": (torch.uint8, (N,)),
        "logit_equiv_token_ids": (torch.int32, tuple(seed.indices.shape)),
        "logit_equiv_dot_product": (torch.float32, (1,)),
        "n_logit_equiv_members": (torch.int32, (1,)),
        "cluster_centroid": (seed.centroid.dtype, (D,)),
    }
    assert torch.equal(logits["cluster_centroid"], seed.centroid)
    assert torch.equal(logits["logit_equiv_mask"], (seed.dots == seed.mode_dot).to(torch.uint8))
    assert torch.equal(logits["logit_equiv_token_ids"], seed.indices.to(torch.int32))
    assert logits["logit_equiv_dot_product"].item() == seed.mode_dot
    assert logits["n_logit_equiv_members"].item() == len(seed.indices)


def test_what_is_written_is_taken_again_and_gives_the_same(case: Any, tmp_path: Path) -> None:
    model, path, _, _ = case
    observed(model, path, "-o", tmp_path / "first")
    again = observed(
        model, tmp_path / "first" / "cluster_members.safetensors", "-o", tmp_path / "second"
    )
    assert again.code == 0
    first, second = (
        json.loads((tmp_path / name / "summary.json").read_text()) for name in ("first", "second")
    )
    for summary in (first, second):
        del summary["cluster"]["why"]
    assert first == second
    # Not by one library's grace: the other reads the mask as numpy does.
    numpy = safetensors_torch.load_file(tmp_path / "second" / "cluster_members.safetensors")
    assert np.flatnonzero(numpy["cluster_mask"].numpy()).tolist() == second["cluster"]["token_ids"]
