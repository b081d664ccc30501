"""The options for many hidden states, and how a run over them shows how far it is."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from isologit.cli.options import Shared
from isologit.cli.text_bar import duration, text_bar
from isologit.request import FileState, RandomStates
from isologit.subject import Progress

if TYPE_CHECKING:
    # It brings the compiler of the kernels with it.
    from isologit.across_states import HowFar, Kept

# Runs that are estimated to take longer are told of where no bar is seen.
_LONG_SECONDS = 20.0


@dataclass(frozen=True)
class Asked:
    """What the options for many states say."""

    random: int | None
    seed: int | None
    resume: Path | None
    greedy: bool

    def states(self, file: Path | None, index: int | None) -> Any:
        """Return the states that are asked for: one of a file, all of it, or random ones."""
        if self.random is not None:
            return RandomStates(self.random, self.seed or 0)
        from isologit.checkpoint.state_file import read_state, read_states

        assert file is not None
        stored = read_states(file)
        if index is None and stored.n_states > 1:
            return stored
        return FileState(read_state(file, index), str(file))

    def check(self, at: object, shared: Shared) -> None:
        """Refuse options that go with many states alone."""
        if self.seed is not None and self.random is None:
            raise click.UsageError("--seed is that of --random K; give that too")
        if not are_many(at):
            if self.resume is not None or not self.greedy:
                raise click.UsageError(
                    "--resume and --no-greedy are for many states: --random K, or a --state FILE "
                    "that holds several"
                )
        elif shared.settings.arithmetic.name != "exact":
            raise click.UsageError("many states are computed exactly; leave out --arithmetic")

    def kept(self) -> "Kept | None":
        """Return what an earlier run left in the file of ``--resume``, if there is one."""
        if self.resume is None:
            return None
        from isologit.output.resume_file import read_kept

        return read_kept(self.resume)

    def how_far(self, kept: "Kept | None", progress: Progress, shared: Shared) -> "HowFar":
        """Return how a run over many states goes: from where, what is kept, what is shown."""
        from isologit.across_states import HowFar

        keep: Callable[[Kept], None] = _keep_nothing
        if self.resume is not None:
            from isologit.output.resume_file import write_kept

            keep = partial(write_kept, self.resume)
        return HowFar(
            with_greedy=self.greedy,
            kept=kept,
            keep=keep,
            advance=_Shown(progress, shared, self).advance,
        )


def _keep_nothing(_kept: "Kept") -> None:
    """Keep nothing."""


def are_many(at: object) -> bool:
    """Return whether a request is for many states."""
    from isologit.checkpoint.state_file import StoredStates

    return isinstance(at, StoredStates | RandomStates)


def options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options for many states; the command gets them as ``many``."""

    @wraps(function)
    def command(
        *,
        random: int | None,
        seed: int | None,
        resume: Path | None,
        greedy: bool,
        **own: Any,
    ) -> None:
        function(**own, many=Asked(random, seed, resume, greedy))

    decorated: Callable[..., None] = command
    for option in reversed(
        [
            click.option(
                "--random",
                type=click.IntRange(1, 1_000_000),
                metavar="K",
                help="Many states: K random ones that the final norm can output.",
            ),
            click.option(
                "--seed",
                type=click.IntRange(min=0),
                metavar="S",
                help="Of the random states; state k depends on S and k alone.  [default: 0]",
            ),
            click.option(
                "--resume",
                type=click.Path(path_type=Path, dir_okay=False),
                metavar="FILE",
                help="Keep what is known there after each part, and go on from it.",
            ),
            click.option(
                "--greedy/--no-greedy",
                default=True,
                help="Certify the top token at each of many states, which takes every logit.  "
                "[default: greedy]",
            ),
        ]
    ):
        decorated = option(decorated)
    return decorated


class _Shown:
    """How far a run is: a bar on a terminal, and one line elsewhere if it takes long."""

    def __init__(self, progress: Progress, shared: Shared, asked: Asked) -> None:
        self._progress, self._shared = progress, shared
        self._resume = asked.resume
        self._begun: list[tuple[int, float]] = []
        self._said = False

    def advance(self, done: int, total: int) -> None:
        """Take in that so many states are done."""
        self._begun.append((done, time.monotonic()))
        left = self._seconds_left(total)
        if self._shared.verbose:
            # A name for each part would end in as many lines of times.
            from isologit.cli import interrupts

            interrupts.raise_any()
        else:
            self._progress(_bar(done, total, left))
        quiet = self._shared.quiet or self._said or left is None
        if not quiet and left is not None and left > _LONG_SECONDS and not sys.stderr.isatty():
            from isologit.cli.terminal import Words

            self._said = True
            hint = "" if self._resume else "; --resume FILE would keep what is done"
            Words().print(
                f"logits at {total:,} states: about {duration(left)} left{hint}", soft_wrap=True
            )

    def _seconds_left(self, total: int) -> float | None:
        """Return an estimate from what has been measured; None where nothing has."""
        # The first part is small, compiles, and where only what still shares a class is computed
        # says nothing of the others: it does not count.
        if len(self._begun) < 3:
            return None
        measured = self._begun[1:]
        (first, since), (done, now) = measured[0], measured[-1]
        return (total - done) * (now - since) / (done - first)


def _bar(done: int, total: int, left: float | None) -> str:
    rest = "" if left is None or done == total else f", about {duration(left)} left"
    return f"logits at many states {text_bar(done, total)}{rest}"
