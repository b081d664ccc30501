"""``isologit never-top``: tokens that can never be the one argmax."""

import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from isologit.cli import options
from isologit.cli.fetching import open_model
from isologit.cli.text_bar import duration, text_bar
from isologit.subject import LocatedSubject, Progress

if TYPE_CHECKING:
    # They bring the compiler of the kernels with them.
    from isologit.equivalence.argmax import Witness
    from isologit.never_top import Question

# A search that takes longer is told of where no bar is seen.
_LONG_SECONDS = 10.0
_SAVED_EVERY = 10.0
_STEPS = {"OWN": "along each row", "WHITENED": "along each whitened row", "SHORTEST": "one by one"}


@click.command("never-top")
@options.model_argument
@click.option(
    "--domain",
    type=click.Choice(["all", "reachable"]),
    default="all",
    show_default=True,
    help="Every hidden state of R^d, or those that the final norm can output.",
)
@click.option(
    "--token", "--tokens", "tokens", metavar="LIST", help="Decide these alone: 124,180-187."
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="S",
    help="Seconds after which the rest stays undecided; inf for none.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Keep what is decided there, and go on from it.",
)
@click.option(
    "--witnesses",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.safetensors",
    help="Write a state for every token that wins.",
)
@click.option("--force", is_flag=True, help="Replace the file of --witnesses if it is there.")
@options.exact_options(
    dtype_help="Of no effect here: real logits are meant.", why="never-top is about real logits"
)
def command(
    model: str,
    domain: Any,
    tokens: str | None,
    time_limit: float,
    resume: Path | None,
    witnesses: Path | None,
    force: bool,
    shared: options.Shared,
) -> None:
    """Tokens that can never be the one argmax, with evidence; real logits are meant.

    Each token is won (a state is known where it is strictly on top), shadowed by one with the same
    row, interior or boundary (proved to be on top nowhere), or undecided when the time is over.
    """
    if time_limit != time_limit:
        raise click.BadParameter("nan is no number of seconds", param_hint="--time-limit")
    from isologit.output.single_file import check_file_target

    ids = None if tokens is None else options.token_ids_of(tokens, "--token")
    if witnesses is not None:
        if witnesses.suffix != ".safetensors":
            raise click.BadParameter(
                f"{witnesses.name!r} does not end in .safetensors, which it is written as",
                param_hint="--witnesses",
            )
        check_file_target(witnesses, force=force)
    if resume is not None:
        # One that is there is gone on from.
        check_file_target(resume, force=True)

    def check(located: LocatedSubject) -> None:
        """Find before W is fetched what its number of rows has against the request."""
        from isologit.equivalence.states import token_id_list

        if ids is not None:
            token_id_list(ids, located.head.form.info.shape[0], "--token")

    subject = open_model(model, shared, check)
    # Not before: W is being digested beside these.
    from isologit.cli import terminal
    from isologit.never_top import answered, asked, witness_states
    from isologit.output.decided_file import read_decided, write_decided
    from isologit.output.never_top_page import never_top_page
    from isologit.output.witness_file import write_witnesses

    paths: list[Path] = []
    with terminal.progress(quiet=shared.quiet, verbose=shared.verbose) as progress:
        progress("row classes")
        question = asked(subject, domain)
        if resume is not None:
            question.standing = read_decided(resume, question) or question.standing
        shown = _Shown(progress, shared, question, resume, time_limit)
        try:
            findings = answered(question, tokens=ids, time_limit=time_limit, watch=shown)
        except KeyboardInterrupt:
            if resume is not None:
                terminal.say_kept(resume, quiet=shared.quiet)
            raise
        finally:
            if resume is not None:
                write_decided(resume, question)
        if resume is not None:
            paths.append(resume)
        if witnesses is not None:
            progress("writing")
            states = witness_states(question, ids)
            paths.append(write_witnesses(witnesses, states, findings, force=force))
    page = partial(never_top_page, findings)
    terminal.deliver(findings, page, paths, as_json=shared.as_json, quiet=shared.quiet)


class _Shown:
    """How far the search is: a bar on a terminal, elsewhere a line if it takes long; and saved."""

    def __init__(
        self,
        progress: Progress,
        shared: options.Shared,
        question: "Question",
        resume: Path | None,
        time_limit: float,
    ) -> None:
        self._progress, self._shared, self._question = progress, shared, question
        self._resume, self._limit = resume, time_limit
        self._step, self._done, self._total = "", 0, 0
        self._estimate = ""
        self._began = self._saved = time.monotonic()

    def planned(
        self,
        kind: "Witness",
        n_tokens: int,
        least_seconds: float | None,
        most_seconds: float | None,
    ) -> None:
        """Say what is to be done, and how long it takes."""
        self._step, self._done, self._total = _STEPS[kind.name], 0, n_tokens
        self._began = time.monotonic()
        self._estimate = ""
        if most_seconds is not None:
            if least_seconds is None:
                self._estimate = f"about {duration(most_seconds)} in all, by their dimensions"
            else:
                span = f"{duration(least_seconds)} to {duration(most_seconds)}"
                self._estimate = f"{span} in all, by a block that was timed"
        if self._shared.verbose:
            self._progress(f"witnesses {self._step}")
        else:
            self._show()
        long = most_seconds is not None and most_seconds > _LONG_SECONDS
        if (
            long
            and not self._shared.quiet
            and not (sys.stderr.isatty() and not self._shared.verbose)
        ):
            from isologit.cli.terminal import Words

            end = "" if self._limit == float("inf") else f"; --time-limit {self._limit:g} s"
            kept = "" if self._resume else "; --resume FILE would keep what is decided"
            Words().print(
                f"witnesses {self._step}: {n_tokens:,} tokens, {self._estimate}{end}{kept}",
                soft_wrap=True,
                markup=False,
            )

    def advanced(self, n_tokens: int) -> None:
        """Show the bar, and save what is decided every few seconds."""
        self._done += n_tokens
        if not self._shared.verbose:
            self._show()
        if self._resume is not None and time.monotonic() - self._saved > _SAVED_EVERY:
            from isologit.output.decided_file import write_decided

            write_decided(self._resume, self._question)
            self._saved = time.monotonic()

    def going_on(self, needed_seconds: float = 0.0) -> bool:
        """Go on, unless an interrupt has been lost."""
        from isologit.cli import interrupts

        interrupts.raise_any()
        return True

    def _show(self) -> None:
        rest = self._estimate
        if self._done:
            seconds = (time.monotonic() - self._began) * (self._total - self._done) / self._done
            rest = f"about {duration(seconds)} left at this rate"
        more = f", {rest}" if rest and self._done < self._total else ""
        self._progress(f"witnesses {self._step} {text_bar(self._done, self._total)}{more}")
