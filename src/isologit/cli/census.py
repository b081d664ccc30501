"""``isologit census``: many checkpoints, each audited once, into one dataset that grows."""

import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import click

from isologit.checkpoint.hub.cache import parse_size
from isologit.cli import options
from isologit.errors import FailedModelsError
from isologit.numerics.formats import parse_format

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from isologit.census.pools import Workers
    from isologit.census.summary import CensusSummary

_LOCAL = "local"
# What Dask's own addresses begin with.
_ADDRESS = re.compile(r"(tcp|tls|ws|wss|ucx|ucxx|inproc)://", re.IGNORECASE)
_RUN = "run"


class _Census(click.Group):
    """``census LIST`` and ``census report DIR``: the run is meant where no other is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the name of the run where there is none."""
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = [_RUN, *args]
        return super().parse_args(ctx, args)


class _Run(click.Command):
    """``--dask`` alone starts a cluster; only an address after it belongs to it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give the option its value where it has none."""
        args = [
            f"--dask={_LOCAL}" if each == "--dask" and not _ADDRESS.match(after) else each
            for each, after in pairwise([*args, ""])
        ]
        return super().parse_args(ctx, args)


def _dask(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None and value != _LOCAL and not _ADDRESS.match(value):
        raise click.BadParameter(f"{value!r}: expected an address like tcp://host:8786, or none")
    return value


def _size(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    size = None if value is None else parse_size(value)
    if value is not None and not size:
        raise click.BadParameter(f"{value!r}: expected bytes, such as 16GiB or 500MB")
    return size


def _analyses(_context: click.Context, _option: click.Parameter, value: str) -> tuple[str, ...]:
    from isologit.census.task import ANALYSES

    named = [each.strip() for each in value.split(",")]
    if strangers := [each for each in named if each not in ("rows", *ANALYSES)]:
        raise click.BadParameter(
            f"{strangers[0]!r}: expected some of rows, {', '.join(ANALYSES)}, with commas between"
        )
    return tuple(each for each in ANALYSES if each in named)


@click.group("census", cls=_Census)
def command() -> None:
    """Audit many checkpoints, each once, into one dataset of Parquet that grows.

    isologit census LIST|GLOB|- -o DIR runs (its options: isologit census run --help), isologit
    census report DIR makes a page of what is there.
    """


@command.command(_RUN, cls=_Run)
@click.argument("listed", metavar="LIST|GLOB|-")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    required=True,
    help="The dataset: models/, classes/ and, with --tokens, tokens/.",
)
@click.option(
    "--analyses",
    default="rows,logits,tokens,gap",
    show_default=True,
    callback=_analyses,
    metavar="A,B,…",
    help="What is asked of each; rows always are.",
)
@click.option(
    "--within",
    type=click.FloatRange(min=0, max=1e6),
    default=1.0,
    show_default=True,
    metavar="NATS",
    help="The gap of near twins.",
)
@click.option("--tokens", is_flag=True, help="Keep a row a token too: MBs a model.")
@click.option("--retry-failed", is_flag=True, help="Try again those that failed.")
@click.option(
    "--refresh",
    is_flag=True,
    help="Ask hubs and stores again which version a model is; files here are always looked at.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 4096),
    metavar="W",
    help="Processes of this machine.  [default: a core each]",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 4096),
    metavar="T",
    help="Threads of each worker.  [default: cores / W]",
)
@click.option(
    "--memory",
    callback=_size,
    metavar="SIZE",
    help="What the workers may take together, mapped files apart.  [default: 4/5 of what is free]",
)
@click.option(
    "--downloads",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    metavar="N",
    help="Models that this machine fetches from one hub at a time.",
)
@click.option(
    "--dask",
    callback=_dask,
    metavar="[ADDRESS]",
    help="Run on Dask: a cluster of this machine, or the one at tcp://….",
)
@options.tensor_option
@options.role_option
@options.dtype_option("Format of logits and cosines.  [default: W's own]")
@options.tokenizer_option
@options.json_option
@options.quiet_option
def run(
    listed: str,
    output: Path,
    analyses: tuple[str, ...],
    within: float,
    tokens: bool,
    retry_failed: bool,
    refresh: bool,
    workers: int | None,
    threads: int | None,
    memory: int | None,
    downloads: int,
    dask: str | None,
    tensor: str | None,
    role: str,
    dtype: str | None,
    tokenizer: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Audit every model of a list: a file with a model a line, a pattern in quotes, or - for stdin.

    A model that has a record already is left alone, and one that fails becomes a row with its
    error. A run that is ended, however, goes on where it was with the same command.
    """
    from rich.console import Group

    from isologit.census.dataset import Dataset
    from isologit.census.listing import models_of
    from isologit.census.memory import available_bytes
    from isologit.census.pools import cluster_at, local_cluster, local_workers, shares
    from isologit.census.running import census
    from isologit.census.summary import last_lines
    from isologit.census.task import Plan
    from isologit.cli import terminal
    from isologit.cli.census_bar import showing

    if dask is not None and dask != _LOCAL and (workers or memory):
        raise click.UsageError("a cluster that runs has its workers and its memory already")
    plan = Plan(
        role="input" if role == "input" else "output",
        tensor=tensor,
        dtype=None if dtype is None else parse_format(dtype).name,
        tokenizer=tokenizer,
        analyses=analyses,
        within_nats=within,
        with_tokens=tokens,
        downloads=downloads,
    )
    models = models_of(listed, sys.stdin.buffer.read)
    dataset = Dataset(output, plan.settings)
    total = memory or available_bytes()
    n_workers, n_threads = shares(workers, threads, len(models), total)
    pool: AbstractContextManager[Workers]
    if dask is None:
        pool = local_workers(n_workers, n_threads, total)
    elif dask == _LOCAL:
        pool = local_cluster(n_workers, n_threads, total)
    else:
        pool = cluster_at(dask, threads or 1)
    with showing(quiet=quiet) as shown, pool as running:
        shown.begin(running.dashboard)
        summary = census(
            models,
            dataset,
            plan,
            running,
            retry_failed=retry_failed,
            refresh=refresh,
            listen=shown.listen,
            say=shown.say,
        )
    page = Group(*last_lines(summary))
    terminal.deliver(summary, lambda: page, [], as_json=as_json, quiet=quiet)
    if summary.failed:
        _refuse(summary)


def _refuse(summary: "CensusSummary") -> None:
    """Say with the exit code that models failed.

    Raises
    ------
    FailedModelsError
    """
    counted = ", ".join(f"{n} {name}" for name, n in summary.errors.items())
    raise FailedModelsError(
        f"{summary.failed:,} of {summary.asked:,} models failed ({counted}); each has a row with "
        f"its error in {summary.directory}/models/failed.parquet. Mend what they say, and run "
        "again with --retry-failed"
    )


@command.command("report")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@options.page_file_options
@options.quiet_option
def report(directory: Path, output: Path | None, force: bool, quiet: bool) -> None:
    """Write one page of what is in a census: across models, and by the steps of a run."""
    from isologit.census.dataset import Dataset
    from isologit.census.report import census_html
    from isologit.cli import terminal

    page = census_html(Dataset(directory, None)).encode()
    terminal.write_page(directory, page, output, force=force, quiet=quiet)
