"""An audit as its directory keeps it: the findings and the table of tokens, read back together."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa

from isologit.audit_checks import wrong_axes, wrong_in
from isologit.audit_counts import miscounted
from isologit.checkpoint.wording import shown
from isologit.claimed import with_claims
from isologit.findings import Audit, PlacesFacts
from isologit.result_files import PLACES, SUMMARY, TABLE, damaged, read_summary, read_table

# The columns that pages and pictures use beside those that are always there, and their types.
_COLUMNS: dict[str, pa.DataType] = {
    **dict.fromkeys(("norm", "logit", "cosine", "smallest", "largest"), pa.float64()),
    **dict.fromkeys(("evidence_distance", "evidence_offset"), pa.float64()),
    **dict.fromkeys(("in_cluster", "in_modal_class", "survives", "reserved_name"), pa.bool_()),
    **dict.fromkeys(("pc1", "pc2", "pc3"), pa.float32()),
    **dict.fromkeys(("category", "script", "evidence", "cause"), pa.string()),
    "row_value_class": pa.int32(),
    "bytes": pa.binary(),
}


@dataclass(frozen=True, eq=False)
class AuditTables:
    """What an audit found.

    Parameters
    ----------
    findings
        The figures: ``summary.json``.
    tokens
        A row per row of W: ``tokens.parquet``, or those of its columns that pages use.
    """

    findings: Audit
    tokens: pa.Table

    @property
    def places(self) -> PlacesFacts | None:
        """Along which axes the rows' places are; None of a table that an earlier version wrote."""
        stored = (self.tokens.schema.metadata or {}).get(PLACES)
        return None if stored is None else msgspec.json.decode(stored, type=PlacesFacts)


def read_audit(directory: Path, *, whole: bool = False) -> AuditTables:
    """Read the directory that ``audit -o`` wrote.

    Parameters
    ----------
    directory
        With its ``summary.json`` and ``tokens.parquet``.
    whole
        Read every column of the table, and not only those that pages use.

    Raises
    ------
    ResultsError
        A file cannot be read, is not what an audit writes, or the two do not go together.
    """
    # An earlier version said of fewer figures what kind of claim they are.
    findings = with_claims(read_summary(directory, Audit))
    found = AuditTables(findings, read_table(directory, findings.matrix, _COLUMNS, whole=whole))
    for wrong in (wrong_in, miscounted):
        for got, expected in wrong(findings, found.tokens):
            raise damaged(directory / SUMMARY, shown(got), shown(expected))
    try:
        places = found.places
    except msgspec.MsgspecError:
        raise damaged(directory / TABLE, "metadata of no audit", "the axes of its places") from None
    if places is not None and places.axes is not None:
        for got, expected in wrong_axes(places.axes, 3):
            raise damaged(directory / TABLE, got, expected)
    return found
