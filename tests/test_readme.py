"""What the README and the tour show is what the commands print, and their links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from cli.command import isologit

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": ROOT / "README.md", "tour.md": ROOT / "docs" / "tour.md"}


def blocks(page: str, language: str) -> list[str]:
    """Return a page's blocks in a language."""
    text = PAGES[page].read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def sessions(page: str) -> list[tuple[str, list[str]]]:
    """Return each command of a page and the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for block in blocks(page, "console"):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif line not in ("", "…"):
                found[-1][1].append(line)
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, as the pages have it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def models(folder: Path, shared: Path) -> Path:
    """That folder, with the models and tokenizers that the pages name."""
    for name in ("llama2xs-hf-bf16", "llama2xs-Q8_0.gguf", "rwkv-4v0-660K-fp16"):
        (folder / name).symlink_to(shared / "checkpoints" / name)
    (folder / "tokenizers").symlink_to(shared / "tokenizers")
    return folder


def test_the_pages_show_commands() -> None:
    shown = {page: [command.split()[:2] for command, _ in sessions(page)] for page in PAGES}
    tour = ("demo", "inspect", "audit", "audit", "tokens", "gap", "classes", "cast")
    assert shown == {
        "README.md": [["isologit", "never-top"]],
        "tour.md": [["isologit", name] for name in tour],
    }
    assert all(len(lines) > 2 for page in PAGES for _, lines in sessions(page))


@pytest.mark.parametrize(
    ("page", "command", "lines"),
    [(page, *session) for page in PAGES for session in sessions(page)],
    ids=lambda value: str(value)[:20],
)
def test_every_line_is_printed_in_this_order(
    page: str, command: str, lines: list[str], request: pytest.FixtureRequest
) -> None:
    arguments = shlex.split(command)[1:]
    request.getfixturevalue("folder" if "demo" in arguments else "models")
    ran = isologit(*arguments)
    assert ran.code == 0
    # What a terminal shows of the two streams, without the blanks that pad a table.
    printed = iter(line.rstrip() for line in (ran.out + ran.err).splitlines())
    for line in lines:
        assert line in printed, f"{page} shows, and {command} does not print: {line}"


def test_the_readmes_finding_holds(models: Path) -> None:
    told = re.search(r"answer `(.)`, `(.)` or `(.)`", PAGES["README.md"].read_text("utf-8"))
    assert told is not None
    ids = [ord(letter) for letter in told.groups()]
    asked = ("--token", ",".join(map(str, ids)), "--json")
    reachable = isologit("never-top", "rwkv-4v0-660K-fp16", "--domain", "reachable", *asked).json
    assert sorted(each["token"] for each in reachable["interior"]) == sorted(ids)
    everywhere = isologit("never-top", "rwkv-4v0-660K-fp16", "--domain", "all", *asked).json
    assert everywhere["n_won"] == len(ids)


def test_the_python_example_runs(models: Path) -> None:
    (program,) = blocks("tour.md", "python")
    assert "rows.refines(logits)" in program
    exec(compile(program, "tour.md", "exec"), {})


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    text = PAGES[page].read_text(encoding="utf-8")
    targets = re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)", text)
    local = [target for target in targets if not target.startswith("https://")]
    assert len(local) > 8
    for target in local:
        name, _, anchor = target.partition("#")
        path = PAGES[page].parent / name
        assert path.is_file(), target
        assert not anchor or anchor in anchors(path), target


def anchors(page: Path) -> set[str]:
    """Return what GitHub calls a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}
