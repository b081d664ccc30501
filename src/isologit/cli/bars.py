"""The columns of a fetch's bar: how much of how much, how fast, how long still."""

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from isologit.output.sentences import n_bytes


class Amount(ProgressColumn):
    """``2.61 MiB of 8.00 MiB``, in the units of every other page."""

    def render(self, task: Task) -> Text:
        """Return the text of a task."""
        return Text(f"{n_bytes(int(task.completed))} of {n_bytes(int(task.total or 0))}")


class Rate(ProgressColumn):
    """``6.30 MiB/s``; nothing until it is known."""

    def render(self, task: Task) -> Text:
        """Return the text of a task."""
        speed = task.finished_speed or task.speed
        return Text(f"{n_bytes(int(speed))}/s" if speed else "")


def bars(console: Console) -> Progress:
    """Return bars on a console, one for each task added; none where it is no terminal."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        Amount(),
        Rate(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
