"""``isologit export``: masks and lists that servers take as they are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from isologit.checkpoint.head import Role
from isologit.checkpoint.wording import counted
from isologit.cli import options
from isologit.cli.fetching import open_model
from isologit.subject import Settings
from isologit.tokens.categories import CATEGORIES

if TYPE_CHECKING:
    from isologit.exportable import Exportable
    from isologit.selection import Selection

# Written out here so that --help need not import what writes them; a test holds them together.
FORMATS = (
    *("openai", "vllm-allowed", "transformers", "llama.cpp", "llama.cpp-server", "bitmask"),
    *("reusable", "card"),
)
# What no terminal and no pipe of text should get.
BINARY = ("bitmask",)
_OF_TEXT = ("token that text may need", "tokens that text may need")
# As users of its interface found; its documentation does not say.
MOST_OF_OPENAI = 300


@click.command("export")
@click.argument("target", metavar="DIR|MODEL")
@click.option(
    "--as",
    "as_",
    type=click.Choice(FORMATS),
    required=True,
    metavar="FORMAT",
    help=f"For whom: {', '.join(FORMATS)}.",
)
@click.option(
    "--select",
    "names",
    multiple=True,
    default=("padding",),
    show_default=True,
    metavar="NAME,…",
    help=f"Which tokens: {', '.join(CATEGORIES)}, untrained, duplicates, class:K, id:1,5-9. May "
    "be repeated.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write there instead of to stdout; bitmask needs it.",
)
@click.option("--force", is_flag=True, help="Replace FILE.")
@options.tensor_option
@options.role_option
@options.tokenizer_option
@options.quiet_option
def command(
    target: str,
    as_: str,
    names: tuple[str, ...],
    output: Path | None,
    force: bool,
    tensor: str | None,
    role: Role,
    tokenizer: str | None,
    quiet: bool,
) -> None:
    """Write tokens that are not meant to be generated as a server takes them.

    DIR is what audit -o wrote; a MODEL is audited for it. The padding rows are selected unless
    --select says otherwise. Special tokens, and those that text is encoded with, are selected only
    where their category or their ids are named.
    """
    _check(as_, names, output, force=force)
    of, current = _opened(
        target, options.settings_of(tensor, role, None, "exact", 0, tokenizer), as_, quiet
    )
    from isologit.output.exports import FORMATS as WRITERS
    from isologit.output.exports import Request
    from isologit.selection import select

    selection = select(of.columns, names)
    written = WRITERS[as_].write(Request(of, selection, current))
    content = written.encode() if isinstance(written, str) else written
    paths = []
    if output is None:
        from isologit.cli import terminal

        terminal.show_text(content.decode())
    else:
        from isologit.output.single_file import write_file

        paths.append(write_file(output, content, force=force))
    if not quiet:
        _tell(as_, selection, paths, of.notes, is_config_known=bool(current))


def _check(as_: str, names: Sequence[str], output: Path | None, *, force: bool) -> None:
    """Refuse what cannot be done before anything is read for it."""
    if output is None and as_ in BINARY:
        raise click.UsageError(f"{as_} is no text: give -o FILE")
    if output is None and force:
        raise click.UsageError("--force is for -o FILE; give that too")
    from isologit.output.single_file import check_file_target
    from isologit.selection import parse_names

    try:
        parse_names(names)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--select") from error
    if output is not None:
        check_file_target(output, force=force)


def _opened(
    target: str, settings: Settings, as_: str, quiet: bool
) -> tuple["Exportable", Mapping[str, Any]]:
    """Read a directory, or audit a model; with what its generation is set to, if that is needed."""
    from isologit.exportable import generation_config, read_results
    from isologit.result_files import is_results

    if is_results(path := Path(target)):
        if settings.tensor or settings.tokenizer or settings.role != "output":
            raise click.UsageError(
                "--tensor, --role and --tokenizer are for a MODEL, and DIR has been audited. "
                "Audit the model again with them"
            )
        return read_results(path), {}
    subject = open_model(target, options.Shared(settings, False, quiet, False))
    from isologit.cli import terminal
    from isologit.output.exported_model import exportable_of

    current = generation_config(subject.checkpoint) if as_ == "transformers" else {}
    with terminal.progress(quiet=quiet, verbose=False) as progress:
        return exportable_of(subject, progress), current


def _tell(
    as_: str,
    selection: "Selection",
    paths: list[Path],
    notes: Sequence[str],
    *,
    is_config_known: bool,
) -> None:
    """Say on stderr what was selected, what was left out, and what the format cannot do."""
    from isologit.cli import terminal
    from isologit.output.exports import FORMATS as WRITERS

    n = len(selection.token_ids)
    said = [f"{counted(n, 'token')} of {selection.n_rows:,}: {', '.join(selection.names)}"]
    special, of_text = len(selection.special), len(selection.of_text)
    left_out = [
        *([counted(special, "special token")] if special else []),
        *([counted(of_text, *_OF_TEXT)] if of_text else []),
    ]
    if left_out:
        said.append(
            f"left out: {' and '.join(left_out)}; --select special, ordinary, byte or id:… takes "
            "them in"
        )
    if (note := WRITERS[as_].note) is not None:
        said.append(note)
    if as_ == "openai" and n > MOST_OF_OPENAI:
        said.append(f"OpenAI's own service takes up to {MOST_OF_OPENAI} of them; others may not")
    said += [f"note: {note}" for note in notes]
    if as_ == "transformers" and not is_config_known:
        said.append(
            "merge it into the model's generation_config.json: a file with nothing else in it "
            "hides config.json's eos_token_id. Of a MODEL with its config it is merged already"
        )
    words = terminal.Words()
    for line in said:
        words.print(line, markup=False, soft_wrap=True)
    if paths:
        terminal.show_written(paths)
