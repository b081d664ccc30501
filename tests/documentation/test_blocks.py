"""Every block of code in the README and in the docs runs, and prints what is shown beneath it."""

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from documentation.blocks import PAGES, REPOSITORY, Block, blocks_of
from documentation.prepared import add_real_ones, prepare, publish
from documentation.sessions import Session, commands_of, first_not_printed, shown_in
from hub.loopback import only_hub
from isologit.errors import FailedModelsError, MissingExtraError, PublishedFiguresError
from isologit.policy import read_policy

# Run by another test, which has a model for them: page, how the block begins, and the test.
ELSEWHERE = {
    ("docs/states.md", "import torch\n"): "tests/test_captured_states_torch.py",
    ("docs/masking-and-reusing-ids.md", "model.resize_"): "tests/output/test_exports_torch.py",
}
# Blocks that CI takes out of the README and runs, on whichever page they stand.
BY_CI = {
    block.text
    for block in blocks_of("README.md")
    if block.text.startswith("python3 -m venv .venv && ")
}
# Commands that stand in text because they cannot be run here: page, how they begin, and why not.
NOT_HERE = {
    ("docs/greedy.md", "isologit classes MODEL --random 1000"): "of a model of 151,936 rows",
    ("docs/history.md", "isologit reproduce"): "of models of gigabytes",
}
# What ends otherwise than with 0 for the models here.
CODES = {
    "isologit census models.txt": FailedModelsError.exit_code,
    # There are published figures of two large models alone.
    "isologit reproduce MODEL": PublishedFiguresError.exit_code,
}
LANGUAGES = {"console", "sh", "python", "toml", "yaml", "json", "text"}
REAL = re.compile(r"\b(llama2xs|rwkv|checkpoints/|tokenizers/|org/)")
BLOCKS = {page: list(blocks_of(page)) for page in PAGES}
TO_RUN = {
    page: [
        block
        for block in blocks
        if block.language in LANGUAGES - {"text"}
        and block.text not in BY_CI
        and not any(page == at and block.text.startswith(begin) for at, begin in ELSEWHERE)
    ]
    for page, blocks in BLOCKS.items()
}


@pytest.mark.parametrize("page", [page for page, blocks in TO_RUN.items() if blocks])
def test_every_block_of_the_page_runs(
    page: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = prepare(tmp_path / "here")
    session, names = Session(folder), dict[str, Any]()
    text = "".join(block.text for block in TO_RUN[page])
    # Whatever a page names, no other hub is asked.
    with only_hub(tmp_path / "home", monkeypatch) as hub:
        if REAL.search(text):
            shared: Path = request.getfixturevalue("shared")
            add_real_ones(folder, shared)
            publish(hub, tmp_path, shared)
        monkeypatch.chdir(folder)
        for block in TO_RUN[page]:
            match block.language:
                case "console":
                    show(session, block)
                case "sh":
                    follow(session, block)
                case "python":
                    program = "\n" * (block.line - 1) + block.text
                    exec(compile(program, page, "exec"), names)
                case _:
                    read(block, folder)


def show(session: Session, block: Block) -> None:
    """Run a console block, and hold what is shown to what is printed."""
    for command, shown in shown_in(block.text):
        printed = session.run(command)
        missing = first_not_printed(shown, printed)
        if missing is not None:
            pytest.fail(f"{block}: {command}\nshown: {missing}\nprinted:\n" + "\n".join(printed))
        assert session.code in allowed(command), f"{block}: {command}\n" + "\n".join(printed)


def follow(session: Session, block: Block) -> None:
    """Run a block of shell."""
    for command in commands_of(block.text):
        printed = session.run(command)
        assert session.code in allowed(command), f"{block}: {command}\n" + "\n".join(printed)


def allowed(command: str) -> set[int]:
    """Return the exit codes that a command may end with."""
    for begin, code in CODES.items():
        if command.startswith(begin):
            return {code}
    codes = {0, 1} if command.startswith("isologit check") else {0}
    if "torch:" in command and importlib.util.find_spec("torch") is None:
        codes.add(MissingExtraError.exit_code)
    return codes


def read(block: Block, folder: Path) -> None:
    """Read a block of data, as what it is."""
    if block.language == "json":
        json.loads(block.text)
    elif block.language == "yaml":
        assert isinstance(yaml.safe_load(block.text), dict | list), block
    elif "rules" in tomllib.loads(block.text):
        (folder / "shown.toml").write_text(block.text, encoding="utf-8")
        assert read_policy(folder / "shown.toml").rules, block


def test_every_block_says_what_it_is() -> None:
    # Sphinx runs directives, which stand in braces.
    unknown = [
        f"{block}: {block.language or 'indented, or without a language'}"
        for blocks in BLOCKS.values()
        for block in blocks
        if block.language not in LANGUAGES and not (block.language or "").startswith("{")
    ]
    assert unknown == []


def test_blocks_that_run_elsewhere_are_there_and_run_there() -> None:
    for (page, begin), where in ELSEWHERE.items():
        assert [b for b in BLOCKS[page] if b.text.startswith(begin)], (page, begin)
        assert f'"{page}"' in (REPOSITORY / where).read_text(encoding="utf-8"), where
    assert all(text.endswith(("isologit demo\n", "pytest\n")) for text in BY_CI)
    assert len(BY_CI) == 2


def test_no_command_hides_in_a_block_of_text() -> None:
    hidden = [
        (page, line.removeprefix("$ "))
        for page, blocks in BLOCKS.items()
        for block in blocks
        if block.language == "text"
        for line in block.text.splitlines()
        if line.removeprefix("$ ").startswith("isologit ")
    ]
    known = {
        (page, line): (at, begin)
        for page, line in hidden
        for at, begin in NOT_HERE
        if page == at and line.startswith(begin)
    }
    assert [each for each in hidden if each not in known] == []
    assert set(known.values()) == NOT_HERE.keys()
