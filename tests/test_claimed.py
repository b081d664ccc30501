"""What kind of claim each figure of an audit is, in its document and on its page."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import cluster_tensors, gaussian, write_cluster, write_llama
from cli.command import isologit
from isologit.claims import BOUND, ESTIMATED, EXACT, OBSERVED

_CLAIMED = re.compile(r"^(\S.*) \[(exact|certified bound|observed)\]$")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tied Llama of 200 tokens with a cluster of 40, two of them in one row class."""
    values = gaussian(200, 16, seed=7)
    values[100:140] = 0.25 + 0.03 * gaussian(40, 16, seed=8)
    values[120] = values[110]
    return write_llama(tmp_path_factory.mktemp("claimed") / "m", values)


def audited(*arguments: object) -> Any:
    ran = isologit("audit", *arguments, "--json")
    assert (ran.code, ran.err) == (0, "")
    return ran.json


def test_every_figure_of_an_audit_has_a_kind_of_claim(model: Path) -> None:
    found = audited(model)
    about = {"schema", "isologit", "model", "matrix", "head", "arithmetic", "claims", "notes"}
    there = {key for key, value in found.items() if value is not None}
    # What the cosines are against is no figure.
    assert set(found["claims"]) == there - about - {"reference"}
    assert found["claims"]["rows"] == found["claims"]["logits"] == EXACT
    assert found["claims"]["cluster"] == found["claims"]["greedy"] == BOUND


def test_a_cluster_is_claimed_by_how_it_was_had(model: Path, tmp_path: Path) -> None:
    given = write_cluster(tmp_path / "c.safetensors", cluster_tensors(range(100, 140), 200))
    assert audited(model, "--members", given)["claims"]["cluster"] == EXACT
    poled = audited(model, "--pole", "1,2")["claims"]
    assert (poled["cluster"], poled["axes"]) == (EXACT, ESTIMATED)


def test_the_page_shows_the_claims_of_the_document(model: Path) -> None:
    claims = audited(model)["claims"]
    page = isologit("audit", model).out.splitlines()
    shown = {match[1]: match[2] for line in page if (match := _CLAIMED.match(line))}
    titles = {
        "Row classes": "rows",
        "Cluster": "cluster",
        "Cosines with the cluster's centroid": "cosines",
        "Hidden state": "state",
        "Dot products": "logits",
        "Logit equivalence class": "logits",
        "The state's own class": "own_class",
        "Comparison with the cluster": "comparison",
        "Embedding-level duplicates": "class_rows",
        "Unique dot product values": "logits",
        "Iterated refinement": "refinement",
        "Why tokens tie": "ties",
        "Greedy certificate": "greedy",
    }
    assert {title: claims[figure] for title, figure in titles.items()} == shown


def test_what_a_device_computed_is_observed(model: Path) -> None:
    pytest.importorskip("torch")
    found = audited(model, "--arithmetic", "torch:cpu")
    assert found["claims"]["logits"] == found["claims"]["cosines"] == OBSERVED
    assert found["claims"]["rows"] == found["claims"]["class_rows"] == EXACT
    assert found["ties"] is found["greedy"] is None


def test_an_audit_says_why_its_largest_logits_tie(model: Path) -> None:
    found = audited(model)
    ties, rows = found["ties"], found["rows"]
    assert [each["value"] for each in ties["top"]] == [found["logits"]["max"]]
    assert ties["modal"]["n_tokens"] == found["logits"]["mode"]["n_tokens"]
    assert rows["redundant"] == 1
    causes = {cause["cause"]: cause["ties"] for cause in ties["modal"]["causes"]}
    assert sum(causes.values()) == ties["modal"]["n_tokens"] - 1


def test_an_audit_names_the_commands_that_go_on(model: Path, tmp_path: Path) -> None:
    asked = isologit("audit", model).section("Further questions")
    named = {word for line in asked for word in re.findall(r"isologit ([a-z-]+)", line)}
    assert named == {"gap", "never-top", "cast", "classes", "diff"}
    assert any(line.startswith("• 1 row repeats another's and is never") for line in asked)
    alone = write_llama(tmp_path / "m", np.eye(16))
    asked = isologit("audit", alone).section("Further questions")
    assert any(line.startswith("• can every token be the one argmax") for line in asked)
