"""The greedy certificate as a step of a job: at some states, kept as columns, as a record."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from isologit.checkpoint.head import Head
from isologit.equivalence.device_sums import MOST_TERMS, ROUNDING, TRUNCATING
from isologit.equivalence.greedy import Certifier, TopToken, Verdict, output_formats
from isologit.equivalence.rows import RowClasses
from isologit.equivalence.states import State
from isologit.equivalence.values import TokenValues
from isologit.numerics import exact
from isologit.numerics.formats import Format, ulp
from isologit.states_findings import GreedyFacts, GreedyFormat, GreedyShare, GreedyState
from isologit.subject import Subject

Columns = dict[str, npt.NDArray[Any]]

_VERDICTS: tuple[Verdict, ...] = ("certain", "order-dependent", "tied", "undefined")
# So many of the tokens that share the top are listed.
_LISTED = 8


def _why_none(head: Head) -> str | None:
    """Return why nothing can be certified of a head, if nothing can."""
    scale = head.scale
    if head.matrix.width >= MOST_TERMS:
        return f"no order of so many terms is bounded (d = {head.matrix.width:,})"
    if scale is None:
        return None
    if scale.multiply <= 0:
        return "the head's scale is not positive, so it turns the order"
    if scale.applies_to == "state" and head.bias is not None:
        return "the head scales the state and not the bias, which may change the order"
    return None


def certifier_of(subject: Subject, rows: RowClasses) -> Certifier | None:
    """Return what certifies states of a model; None where nothing can be."""
    head = subject.head
    if _why_none(head) is not None:
        return None
    return Certifier(
        head.matrix,
        head.bias,
        norms=exact.norm_bounds(head.matrix),
        same=rows.values,
        formats=output_formats(subject.logit_format, head.matrix.format),
    )


def certificate_at(
    subject: Subject, rows: RowClasses, state: State, logits: TokenValues
) -> GreedyFacts | None:
    """Return the certificate at one state; None where logits are observed, not exact."""
    if subject.settings.arithmetic.name != "exact":
        return None
    certifier = certifier_of(subject, rows)
    return None if certifier is None else certificate_by(certifier, state, logits)


def certificate_by(certifier: Certifier, state: State, logits: TokenValues) -> GreedyFacts:
    """Return the certificate at one state, by what certifies the model's."""
    table = CertificateTable(certifier.formats)
    table.add(certifier.at(state.vector, logits.values, logits.format))
    return table.facts()


def notes(subject: Subject) -> list[str]:
    """Say what a certificate leaves out."""
    head = subject.head
    if (why := _why_none(head)) is not None:
        return [f"no greedy certificate: {why}"]
    after = [
        name
        for name, there in (("scale", head.scale), ("softcap", head.softcap))
        if there is not None
    ]
    found = []
    if after:
        found.append(
            f"the greedy certificate is of logits before the head's {' and '.join(after)}, which "
            "keeps their order and may make equal what differs; so are its margins"
        )
    if head.matrix.coding is not None:
        found.append(
            "the greedy certificate is of products with the decoded values of "
            f"{head.matrix.stored_as}; an engine may multiply the stored ones, and round the state"
        )
    return found


@dataclass
class CertificateTable:
    """Certificates at states, one after the other, for two output formats."""

    formats: tuple[Format, Format]
    _rows: list[Columns] = field(default_factory=list)

    def add(self, found: TopToken) -> None:
        """Append the certificate at the next state."""
        row: dict[str, Any] = {
            "top": np.int32(found.token_id),
            "runner_up": np.int32(found.runner_up),
            "margin": found.margin,
            "top_logit": found.top,
        }
        for format_ in self.formats:
            here, name = found.formats[format_.name], format_.name
            listed = np.full(_LISTED, -1, dtype=np.int32)
            listed[: len(here.top_ids)] = here.top_ids[:_LISTED]
            row |= {
                f"{name}.verdict": np.int8(_VERDICTS.index(here.verdict)),
                f"{name}.if_truncated": np.int8(_VERDICTS.index(here.if_truncated)),
                f"{name}.identical": np.int8(here.identical),
                f"{name}.n_top": np.int32(len(here.top_ids)),
                f"{name}.top_ids": listed,
            }
        self._rows.append({key: np.asarray(value)[None] for key, value in row.items()})

    def columns(self) -> Columns:
        """Return an array a figure, ``[n, …]``; none where there are no states yet."""
        if len(self._rows) > 1:
            self._rows = [
                {key: np.concatenate([row[key] for row in self._rows]) for key in self._rows[0]}
            ]
        return dict(self._rows[0]) if self._rows else {}

    def restore(self, columns: Columns) -> None:
        """Begin with columns that were kept."""
        self._rows = [columns] if columns else []

    def facts(self) -> GreedyFacts:
        """Return them as a record."""
        columns = self.columns()
        return GreedyFacts(
            assumes=list(ROUNDING.assumptions),
            assumes_if_truncated=list(TRUNCATING.assumptions),
            shares=[self._share(columns, format_.name) for format_ in self.formats],
            states=[self._state(columns, k) for k in range(len(columns["top"]))],
        )

    def _share(self, columns: Columns, name: str) -> GreedyShare:
        verdicts = columns[f"{name}.verdict"]
        counts = {word: int((verdicts == n).sum()) for n, word in enumerate(_VERDICTS)}
        identical = (columns[f"{name}.identical"] > 0) & (verdicts == _VERDICTS.index("tied"))
        return GreedyShare(
            dtype=name,
            states=len(verdicts),
            certain=counts["certain"],
            order_dependent=counts["order-dependent"],
            tied=counts["tied"],
            tied_by_identical_rows=int(identical.sum()),
            undefined=counts["undefined"],
            certain_if_truncated=int((columns[f"{name}.if_truncated"] == 0).sum()),
        )

    def _state(self, columns: Columns, k: int) -> GreedyState:
        runner_up, margin = int(columns["runner_up"][k]), float(columns["margin"][k])
        formats = {}
        for format_ in self.formats:
            name = format_.name
            ids = columns[f"{name}.top_ids"][k]
            formats[name] = GreedyFormat(
                verdict=_VERDICTS[int(columns[f"{name}.verdict"][k])],
                if_truncated=_VERDICTS[int(columns[f"{name}.if_truncated"][k])],
                margin_ulp=margin / float(ulp(columns["top_logit"][k], format_)),
                n_top=int(columns[f"{name}.n_top"][k]),
                top_ids=ids[ids >= 0].tolist(),
            )
        return GreedyState(
            state=k,
            top=int(columns["top"][k]),
            runner_up=None if runner_up < 0 else runner_up,
            margin_nats=margin,
            formats=formats,
        )
