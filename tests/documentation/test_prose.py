"""What stands between the blocks of the README and the docs: commands, links, a table of codes."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import click
import pytest

from documentation.blocks import PAGES, REPOSITORY, parsed
from isologit import errors
from isologit.cli.main import BROKEN_PIPE, COMMANDS, INTERNAL, INTERRUPTED, cli


def inline_commands(page: str) -> Iterator[str]:
    """Yield each command of isologit that a page names in the middle of its text."""
    for token in parsed(page):
        for child in token.children or ():
            if child.type == "code_inline" and child.content.startswith("isologit "):
                yield child.content


def unknown_in(command: str) -> list[str]:
    """Return what a command line names that there is not: the command, or options of it."""
    words = command.split()[1:]
    name = words[0] if words else ""
    if not re.fullmatch(r"[a-z-]+", name) or name.startswith("-"):
        return []
    found = cli.get_command(click.Context(cli), name)
    if found is None:
        return [name]
    known = set(cli.context_settings["help_option_names"])
    for each in (found, *(found.commands.values() if isinstance(found, click.Group) else ())):
        known |= {option for parameter in each.params for option in parameter.opts}
    return [word for word in words[1:] if re.fullmatch(r"--?[a-z-]+", word) and word not in known]


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_the_text_are_there_with_their_options(page: str) -> None:
    assert {each: wrong for each in inline_commands(page) if (wrong := unknown_in(each))} == {}


def test_a_command_or_an_option_that_is_not_there_is_caught() -> None:
    assert unknown_in("isologit adit MODEL") == ["adit"]
    assert unknown_in("isologit audit MODEL --no-weight -o DIR") == ["--no-weight"]
    assert unknown_in("isologit cache rm org/name --all") == []
    assert sum(len(list(inline_commands(page))) for page in PAGES) > len(COMMANDS)


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md"])
def test_relative_links_outside_of_the_site_lead_to_files(page: str) -> None:
    # Sphinx looks after those of the pages in docs.
    links = {
        str(child.attrs["href" if child.type == "link_open" else "src"])
        for token in parsed(page)
        for child in token.children or ()
        if child.type in ("link_open", "image")
    }
    paths = {urlsplit(link).path for link in links if not urlsplit(link).scheme}
    assert [path for path in paths if path and not (REPOSITORY / path).exists()] == []


def test_every_exit_code_is_in_the_table() -> None:
    page = (REPOSITORY / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([0-9]+) \| (?:`([A-Za-z]+Error)`: )?", page, re.MULTILINE)
    leaves = {
        each.exit_code: name
        for name, each in vars(errors).items()
        if isinstance(each, type)
        and issubclass(each, errors.IsologitError)
        and not each.__subclasses__()
    }
    others = dict.fromkeys((0, 1, click.UsageError.exit_code), "")
    others |= dict.fromkeys((INTERNAL, INTERRUPTED, BROKEN_PIPE), "")
    assert {int(code): name for code, name in rows} == leaves | others
    assert [int(code) for code, _ in rows] == sorted(int(code) for code, _ in rows)
