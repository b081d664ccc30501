"""`Record`, the base of everything that a job returns and ``--json`` prints, and whose it is."""

import msgspec


class Record(msgspec.Struct, frozen=True):
    """Base of all records; each is frozen and keyword-only."""


class Model(Record, frozen=True, kw_only=True):
    """Which checkpoint this is about."""

    spec: str
    source: str
    revision: str | None
    name: str
