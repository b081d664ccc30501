"""What a run of ``census`` came to: the record, and its last lines."""

from isologit.checkpoint.wording import counted
from isologit.record import Record

CENSUS_SCHEMA = "isologit.census/1"


class CensusSummary(Record, frozen=True, kw_only=True):
    """What a run of ``census`` came to; what ``--json`` prints.

    ``asked`` models are ``before`` (had a record), ``done`` by this run, or ``failed`` (now, or
    before and not tried again); ``left`` are those that an interrupted run did not come to.
    ``errors`` counts the failed ones by class.
    """

    schema: str = CENSUS_SCHEMA
    isologit: str
    directory: str
    asked: int
    before: int
    done: int
    failed: int
    left: int
    errors: dict[str, int]
    seconds: float


def last_lines(summary: CensusSummary) -> list[str]:
    """Return how many models there are, how many this run did, and which errors there were."""
    done = summary.before + summary.done
    left = f", {summary.left:,} left" if summary.left else ""
    return [
        f"{counted(summary.asked, 'model')}: {done:,} done, {summary.failed:,} failed{left}",
        *(f"  {n:,} × {name}" for name, n in summary.errors.items()),
        f"{summary.done:,} done by this run, in {summary.seconds:.1f} s",
        f"Rows: {summary.directory}/models/*.parquet",
    ]
