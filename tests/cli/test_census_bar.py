"""How far a census is, in one line."""

import time

from isologit.census.running import Progress
from isologit.cli.census_bar import _line


def test_the_line_says_what_is_done_and_how_long_the_rest_takes() -> None:
    progress = Progress(asked=40, before=10, failed_before=6, started=time.monotonic() - 36)
    assert _line(progress).endswith(" 0 of 24: 0 done, 0 failed, 0 running")
    progress.done, progress.failed, progress.running = 11, 1, 2
    line = _line(progress)
    assert " 12 of 24: 11 done, 1 failed, 2 running, 1," in line
    assert line.endswith(" an hour, 36 s left")
    progress.done = 23
    assert "left" not in _line(progress)
