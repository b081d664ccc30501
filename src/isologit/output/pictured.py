"""What pictures are made of: the table of an audit's tokens, as arrays, and each token in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isologit.audit_tables import AuditTables
from isologit.findings import Audit, PlacesFacts
from isologit.numerics.formats import Float64s
from isologit.table_words import Codes, Words, words_in
from isologit.tokens.categories import CATEGORIES
from isologit.tokens.evidence import GRADES
from isologit.tokens.text import LONGEST_NAMED, visible_token

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Pictured:
    """An audit's tokens as arrays of V.

    Parameters
    ----------
    findings
        The figures.
    row_classes, row_class_sizes
        The label of each token's row class, and how many tokens it has.
    norms, logits, cosines
        As in ``tokens.parquet``; NaN where there is none.
    in_cluster
        None where there is no cluster.
    in_modal_class
        Which tokens have the most common logit.
    categories, scripts
        None without a tokenizer.
    grades
        Signs of no training.
    distances, offsets
        From the centre of the reference set, and in its standard deviations from its mean.
    places
        ``[V, 3]`` components of each row along the three leading principal axes; None where these
        are not known: `why_no_places` says why.
    """

    findings: Audit
    row_classes: Codes
    row_class_sizes: Codes
    norms: Float64s
    logits: Float64s
    cosines: Float64s
    in_cluster: Mask | None
    in_modal_class: Mask
    categories: Words | None
    scripts: Words | None
    grades: Words | None
    distances: Float64s | None
    offsets: Float64s | None
    places: Float64s | None
    places_facts: PlacesFacts | None
    token_bytes: pa.ChunkedArray | None

    @classmethod
    def of(cls, audit: AuditTables) -> "Pictured":
        """Take the columns of an audit's table."""
        table = audit.tokens

        def column(name: str) -> npt.NDArray[Any] | None:
            return table[name].to_numpy() if name in table.column_names else None

        def required(name: str) -> npt.NDArray[Any]:
            found = column(name)
            return np.full(table.num_rows, np.nan) if found is None else found

        along = [each for n in (1, 2, 3) if (each := column(f"pc{n}")) is not None]
        modal = column("in_modal_class")
        return cls(
            findings=audit.findings,
            row_classes=required("row_class").astype(np.int64),
            row_class_sizes=required("row_class_size").astype(np.int64),
            norms=required("norm"),
            logits=required("logit"),
            cosines=required("cosine"),
            in_cluster=column("in_cluster"),
            in_modal_class=np.zeros(table.num_rows, np.bool_) if modal is None else modal,
            categories=words_in(table, "category", CATEGORIES),
            scripts=words_in(table, "script", None),
            grades=words_in(table, "evidence", GRADES),
            distances=column("evidence_distance"),
            offsets=column("evidence_offset"),
            places=np.stack(along, axis=1).astype(np.float64) if len(along) == 3 else None,
            places_facts=audit.places,
            token_bytes=table["bytes"] if "bytes" in table.column_names else None,
        )

    @property
    def why_no_logits(self) -> str | None:
        """Why there is no figure of logits; None where there is."""
        return None if np.isfinite(self.logits).any() else "no logit is a finite number"

    @property
    def why_no_norms(self) -> str | None:
        """Why there is no figure of norms; None where there is."""
        return None if np.isfinite(self.norms).any() else "no norm is a finite number"

    @property
    def why_no_places(self) -> str | None:
        """Why there are no maps; None where there are."""
        if self.places is not None:
            finite = np.isfinite(self.places).all(axis=1).any()
            return None if finite else "no row has a finite place along the axes"
        if self.places_facts is None:
            return "the table of tokens is of a version without places, so audit the model again"
        return f"{self.places_facts.why or 'the table has no places'}"

    @property
    def why_no_categories(self) -> str | None:
        """Why categories are not known; None where they are."""
        return None if self.categories is not None else "there is no tokenizer"

    @property
    def n_tokens(self) -> int:
        """Rows of W, V."""
        return len(self.row_classes)

    def shown(self, token_id: int) -> str:
        """Return a token fit for a line, escaped as `visible_token` does; not for HTML yet."""
        return self.shown_many([token_id], LONGEST_NAMED)[0]

    def shown_many(self, token_ids: Sequence[int], at_most: int) -> list[str]:
        """Return tokens as `shown` does, so many characters of each; empty without a tokenizer."""
        if self.token_bytes is None:
            return [""] * len(token_ids)
        raw = self.token_bytes.take(pa.array(token_ids, pa.int64())).to_pylist()
        return [visible_token(each, at_most) for each in raw]

    @cached_property
    def names(self) -> dict[int, str]:
        """What labels call tokens, kept for the next figure (`isologit.output.hover`)."""
        return {}
