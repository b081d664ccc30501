"""The entry point: finds the command, runs it, and turns errors into one line and an exit code.

Commands are imported when they are asked for, so that ``--help`` and ``--version`` start at once.
"""

import contextlib
import gc
import io
import os
import sys
import traceback
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from isologit import __version__
from isologit.cli import interrupts
from isologit.errors import IsologitError

# Command → what it does; the module of the same name under isologit.cli holds it, an underscore
# standing for a dash.
COMMANDS = {
    "demo": "Audit the embedded checkpoint.",
    "audit": "Analyse a checkpoint: row classes, cluster, logit classes.",
    "classes": "Row classes; logit classes at a hidden state, or at many.",
    "inspect": "Tensors, the head and why; reads headers alone.",
    "cast": "What casting W to other formats would merge.",
    "gap": "Near twins: tokens that no reachable state drives far apart.",
    "never-top": "Tokens that can never be the one argmax, with proof.",
    "tokens": "Who the tokens are; which no text reaches or training knew.",
    "diff": "Classes and rows of two checkpoints: born, merged, frozen, moved.",
    "check": "A gate for releases: exits with 1 where a rule is broken.",
    "export": "Masks and lists that servers take as they are.",
    "explore": "A local page to point at any hidden state.",
    "census": "Many checkpoints, each audited once, into one dataset.",
    "report": "The page of an earlier audit again.",
    "reproduce": "The seed's published figures beside this model's.",
    "cache": "What has been fetched of hub models: list it, remove it.",
}

INTERRUPTED = 130
BROKEN_PIPE = 141
INTERNAL = 70


class Commands(click.Group):
    """A group whose commands are modules, imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of the README."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"isologit.cli.{cmd_name.replace('-', '_')}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; of a name that there is not, say the nearest."""
        near = get_close_matches(args[0], COMMANDS, n=1)
        if args[0] not in COMMANDS and near and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}; did you mean {near[0]}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="isologit")
def cli() -> None:
    """Find the tokens that a language model cannot tell apart, exactly, from the checkpoint alone.

    MODEL is a file of weights (safetensors, GGUF, torch pickle, .npy, .npz), a directory that holds
    them as models are published, or org/name[@revision], a model of the Hugging Face hub. Data goes
    to stdout, progress and words to stderr.
    """


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    for name in ("stdout", "stderr"):
        # A stream that was closed before the start is None, and there is nowhere to say so.
        if getattr(sys, name) is None:
            setattr(sys, name, io.StringIO())
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a sign gets an escape, not a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        result: Any = cli.main(args=arguments, prog_name="isologit", standalone_mode=False)
        sys.stdout.flush()
        interrupts.raise_any()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        with contextlib.suppress(OSError):
            click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has gone; the interpreter must not complain when it closes stdout.
        from isologit.cli.terminal import discard_stdout

        discard_stdout()
        return BROKEN_PIPE
    except IsologitError as error:
        return _report(error, error.exit_code, "")
    except (SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic of a library in Rust is no Exception
        hint = "; this is a fault in isologit, please report it with ISOLOGIT_DEBUG=1"
        return _report(error, INTERNAL, hint)
    return result if isinstance(result, int) else 0


def _report(error: BaseException, code: int, hint: str) -> int:
    if os.environ.get("ISOLOGIT_DEBUG") == "1":
        traceback.print_exception(error)
    message = " ".join(str(error).split())
    with contextlib.suppress(OSError):  # the code says it too
        click.echo(f"{type(error).__name__}: {message}{hint}", err=True)
    return code


def main() -> None:
    """Run and exit."""
    # What is imported is a few hundred thousand objects that live to the end: looking among them
    # for garbage as often as Python would, and once more at the end, takes 0.2 s and finds none.
    gc.set_threshold(200_000, 30, 30)
    interrupts.watch()
    code = run()
    interrupts.ignore()
    gc.freeze()
    sys.exit(code)
