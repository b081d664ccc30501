"""What the README says that it found is found."""

import re
from pathlib import Path

from cli.command import isologit
from documentation.blocks import REPOSITORY


def test_the_readmes_finding_holds(shared: Path) -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    told = re.search(r"answer `(.)`, `(.)` or `(.)`", text)
    assert told is not None
    ids = [ord(letter) for letter in told.groups()]
    model = shared / "checkpoints" / "rwkv-4v0-660K-fp16"
    asked = ("--token", ",".join(map(str, ids)), "--json")
    reachable = isologit("never-top", model, "--domain", "reachable", *asked).json
    assert sorted(each["token"] for each in reachable["interior"]) == sorted(ids)
    everywhere = isologit("never-top", model, "--domain", "all", *asked).json
    assert everywhere["n_won"] == len(ids)
