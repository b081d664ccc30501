"""`Record`, the base of everything that a job returns and ``--json`` prints, and whose it is."""

from typing import Any

import msgspec


class Record(msgspec.Struct, frozen=True):
    """Base of all records; each is frozen and keyword-only, and a notebook shows it as a tree."""

    def _repr_html_(self) -> str:
        # Not before: what prints JSON has no need of it.
        from isologit.record_display import record_html

        return record_html(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Write what IPython shows as text; `repr` has every entry of every list."""
        from isologit.record_display import record_line

        printer.text(record_line(self))


class Model(Record, frozen=True, kw_only=True):
    """Which checkpoint this is about."""

    spec: str
    source: str
    revision: str | None
    name: str
