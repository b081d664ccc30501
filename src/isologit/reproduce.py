"""The seed's published figures beside this run's, each with its verdict.

A figure is *equal* when it prints as the published one does, at the digits that were published.
Published figures are compared, never aimed at: cosines and logits were computed in bfloat16 on a
device of Apple's, and a correctly rounded computation may differ from them by a few tokens.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from typing import Any

from isologit import clusters, steps, token_steps
from isologit.equivalence.axes import PrincipalAxes, principal_axes
from isologit.equivalence.cosines import pairwise_cosines
from isologit.equivalence.partition import Overlap, TokenIds
from isologit.equivalence.refinement import refine
from isologit.equivalence.rows import RowClasses, row_classes
from isologit.equivalence.values import TokenValues
from isologit.figures import Figures, PublishedFigure, Reproduction, Section, compared
from isologit.numerics.formats import Float64s
from isologit.numerics.stored import Vector
from isologit.request import Members, Pole
from isologit.subject import (
    Progress,
    Settings,
    Subject,
    open_subject,
    silent,
)


def reproduce(
    spec: str,
    published: Mapping[str, Any],
    settings: Settings | None = None,
    *,
    entry: str | None = None,
    members: Members | None = None,
    source: str = "the seed line's figures",
    progress: Progress = silent,
) -> Reproduction:
    """Set each published figure beside this run's.

    Parameters
    ----------
    spec
        The checkpoint.
    published
        Entries by model name, as in the file that comes with the package.
    settings
        How to compute.
    entry
        Which model's figures; by default the entry of the checkpoint's name, or of its shape.
    members
        The cosine cluster (1.4a), if it is to be taken as given. Without it the pole's fullest
        cosine class is taken, under one of the eight sign choices of the axes: signs are a
        convention that the figures do not record. Kept is the choice whose most common cosine is
        largest, of those where it holds at least half as many tokens as where it holds the most.
    source
        Where the figures come from, for the record.
    progress
        Called with the name of each step.

    Raises
    ------
    PublishedFiguresError
        No entry fits, or the figures are not of the expected form.
    """
    return reproduce_of(
        open_subject(spec, settings or Settings()),
        published,
        entry=entry,
        members=members,
        source=source,
        progress=progress,
    )


def reproduce_of(
    subject: Subject,
    published: Mapping[str, Any],
    *,
    entry: str | None = None,
    members: Members | None = None,
    source: str = "the seed line's figures",
    progress: Progress = silent,
) -> Reproduction:
    """Set each published figure beside those of an opened checkpoint; see `reproduce`."""
    matrix = subject.head.matrix
    given = None if members is None else clusters.checked_members(members, matrix.n_tokens)
    name, figures = Figures.choose(
        published, entry, subject.checkpoint.name, (matrix.n_tokens, matrix.width), source
    )
    run = _Run(subject, figures, given, progress)
    rows = list(run.figures())
    verdicts = [figure.verdict for figure in rows]
    return Reproduction(
        isologit=subject.version,
        model=subject.model,
        matrix=subject.matrix_facts(),
        arithmetic=steps.arithmetic_facts(subject, run.refined),
        published=f"{name}, {source}",
        axes=None if run.pole is None else list(run.pole.axes),
        equal=verdicts.count("equal"),
        differs=verdicts.count("differs"),
        not_compared=verdicts.count("not compared"),
        figures=rows,
        notes=run.notes,
    )


@dataclass(eq=False)
class _Run:
    """One run over the sections; what a later section needs of an earlier one is kept here."""

    subject: Subject
    published: Figures
    given: TokenIds | None
    progress: Progress

    def __post_init__(self) -> None:
        self.notes: list[str] = []
        self.pole: Pole | None = None
        self.refined = 0
        self._matrix = self.subject.head.matrix
        self._arithmetic = self.subject.settings.arithmetic
        self.progress("row classes")
        self._rows: RowClasses = row_classes(self._matrix, self.subject.head.bias)
        self._axes: PrincipalAxes | None = None
        self._cosines: TokenValues | None = None
        self._cluster: TokenIds | None = self.given
        if count := self.published.axes_needed:
            self.progress("principal axes")
            self._axes = principal_axes(self._matrix, count)
            self._point()

    def figures(self) -> Iterator[PublishedFigure]:
        """Yield every published figure with this run's."""
        makers = {
            "matrix": self._matrix_section,
            "tokenizer": self._tokenizer_section,
            "rows": self._rows_section,
            "pca": self._pca_section,
            "cosine class": self._cosine_section,
            "pairwise cosines of that class": self._pairwise_section,
            "logit class at a spherical state": self._spherical_section,
            "multiplicity of the 1.5a logits": self._multiplicity_section,
            "logit class at the cluster centroid": self._centroid_section,
            "logit class at token": self._token_section,
            "iterated centroid": self._iterated_section,
        }
        for section in self.published.sections:
            maker = makers.get(section.kind)
            if maker is None:
                yield from compared(section, {}, "not known here")
                continue
            self.progress(section.name)
            reason = "needs the tokenizer" if section.kind == "tokenizer" else "not computed here"
            yield from compared(section, maker(section), reason)

    def _point(self) -> None:
        """Settle the signs of the axes, and take the cosine class at the pole."""
        if self._axes is None or self.published.pole is None:
            return
        lat, lon, numbers = self.published.pole
        poles = []
        for signs in product((1, -1), repeat=3):
            north, meridian, equinox = (s * n for s, n in zip(signs, numbers, strict=True))
            poles.append(Pole(lat, lon, None, (north, meridian, equinox)))
        if self.given is not None:
            centroid = self._matrix.rows(self.given).mean(axis=0)
            axes = self._axes
            self.pole = max(poles, key=lambda pole: steps.pole_direction(axes, pole) @ centroid)
            self._cosines = self._cosines_at(self.pole)
            how = "it lies nearest to the centroid of the given members"
        else:
            tried = [(pole, self._cosines_at(pole)) for pole in poles]
            fullest = max(cosines.mode.n_tokens for _, cosines in tried)
            # A tight cluster shares one cosine in every direction, so the counts hardly differ, and
            # those of opposite directions never do (docs/decisions/0004).
            full = [each for each in tried if 2 * each[1].mode.n_tokens >= fullest]
            self.pole, self._cosines = max(full, key=lambda each: each[1].mode.value)
            self._cluster = self._cosines.tokens_with(self._cosines.mode.value)
            how = (
                "of those whose cosine mode is among the fullest it has the largest cosine, "
                f"{self._cosines.mode.value:g} ({self._cosines.mode.n_tokens:,} tokens; the "
                f"fullest has {fullest:,})"
            )
        self.notes.append(
            f"of the eight sign choices of the axes, {list(self.pole.axes)} (north, meridian, "
            f"equinox) was kept: {how}"
        )

    def _cosines_at(self, pole: Pole) -> TokenValues:
        if self._axes is None:
            raise ValueError("there are no axes to point along")
        return steps.cosines_at(self.subject, steps.pole_vector(self._matrix, self._axes, pole))

    def _matrix_section(self, _section: Section) -> dict[str, Any]:
        head = self.subject.head
        return {
            "shape": [self._matrix.n_tokens, self._matrix.width],
            "dtype": self._matrix.format.torch,
            "tied": head.tied,
            "bytes": self._matrix.words.nbytes,
        }

    def _tokenizer_section(self, _section: Section) -> dict[str, Any]:
        tokens = token_steps.begin_reading(self.subject).result()
        self.notes += tokens.notes
        table = tokens.table
        if table is None:
            return {}
        figures: dict[str, Any] = {
            "ids": table.tokenizer.vocabulary.n_tokens,
            "padding_rows": table.n_padding,
        }
        if table.reachability is not None:
            survives = table.reachability.survives
            figures["round_trip_reachable"] = int((survives == 1).sum())
            figures["round_trip_unreachable"] = int((survives == 0).sum())
        return figures

    def _rows_section(self, section: Section) -> dict[str, Any]:
        groups = self._rows.bits.groups()
        sizes = [len(group) for group in groups]
        wanted = section.figures.get("first_ids")
        first = wanted[0] if isinstance(wanted, list) and wanted else None
        shown = len(first) if isinstance(first, list) else 5
        largest = section.figures.get("largest")
        return {
            "distinct": self._rows.bits.n_classes,
            "redundant": self._rows.bits.n_tokens - self._rows.bits.n_classes,
            "classes": len(groups),
            "tokens_in_classes": sum(sizes),
            "sizes": sizes,
            "largest": sizes[: len(largest)] if isinstance(largest, list) else sizes[:1],
            "first_ids": [group[:shown].tolist() for group in groups],
        }

    def _pca_section(self, _section: Section) -> dict[str, Any]:
        if self._axes is None:
            return {}
        return {
            "eigenvalues": self._axes.eigenvalues[:3].tolist(),
            "variance_percent": (100 * self._axes.variance_share[:3]).tolist(),
        }

    def _cosine_section(self, section: Section) -> dict[str, Any]:
        if self._cosines is None:
            return {}
        values = self._cosines
        return {
            **_value_figures(values),
            "first_ids": self._first(section, values.tokens_with(values.mode.value)),
            "top_counts": [count.n_tokens for count in values.top(10)],
        }

    def _pairwise_section(self, _section: Section) -> dict[str, Any]:
        if self._cluster is None:
            return {}
        arithmetic, format_ = self.subject.settings.arithmetic, self.subject.logit_format
        return asdict(
            pairwise_cosines(self._matrix, self._rows.rows, self._cluster, arithmetic, format_)
        )

    def _spherical_section(self, _section: Section) -> dict[str, Any]:
        values = self._spherical
        if values is None:
            return {}
        return {**_value_figures(values), "distance": self._distance, **self._overlap(values)}

    def _multiplicity_section(self, _section: Section) -> dict[str, Any]:
        values = self._spherical
        if values is None:
            return {}
        held = values.multiplicity()
        names = ["values_held_by_one_token", "by_two", "by_three", "by_four_or_more"]
        names += ["by_100_or_more", "by_1000_or_more"]
        return dict(zip(names, held.values(), strict=True))

    def _centroid_section(self, section: Section) -> dict[str, Any]:
        if self._cluster is None:
            return {}
        centroid, _ = self._arithmetic.mean_row(self._matrix, self._cluster)
        norms = self._member_norms
        values = self._logits(centroid)
        return {
            **_value_figures(values),
            **self._overlap(values),
            "centroid_norm": self._arithmetic.norm(centroid, centroid.format),
            "member_norm_min": float(norms.min()),
            "member_norm_max": float(norms.max()),
            "member_norm_mean": self._arithmetic.mean(norms, self._matrix.format),
            "first_ids": self._first(section, values.tokens_with(values.mode.value)),
            "top": [[count.value, count.n_tokens] for count in values.top(10)],
        }

    def _token_section(self, section: Section) -> dict[str, Any]:
        token = section.token_id
        if token is None or token >= self._matrix.n_tokens:
            return {}
        h = self._matrix.row(token)
        square = self._arithmetic.dot(h, h, self.subject.logit_format)
        ids = self._logits(h).tokens_with(square)
        return {
            "h_dot_h": square,
            "tokens": len(ids),
            "first_ids": self._first(section, ids),
        }

    def _iterated_section(self, section: Section) -> dict[str, Any]:
        figures = section.figures
        given = {"centre_lat_deg", "centre_lon_deg", "field_deg"} <= figures.keys()
        if self._axes is None or self.pole is None or not given:
            return {}
        centre = Pole(figures["centre_lat_deg"], figures["centre_lon_deg"], None, self.pole.axes)
        field = steps.field_of_view(self._matrix, self._axes, centre, figures["field_deg"])
        if not len(field):
            return {"in_field": 0}
        refinement = refine(self._matrix, field, self._arithmetic, self.subject.logit_format)
        return {
            "in_field": len(field),
            "sizes_by_iteration": [step.n_members for step in refinement.steps],
            "class_by_iteration": [step.n_class for step in refinement.steps],
        }

    @cached_property
    def _distance(self) -> float:
        """The cluster's mean norm, as far out as the state at the pole lies."""
        return self._arithmetic.mean(self._member_norms, self._matrix.format)

    @cached_property
    def _spherical(self) -> TokenValues | None:
        """The logits at the pole, as far out as the cluster's mean row."""
        if self._axes is None or self.pole is None or self._cluster is None:
            return None
        unit = steps.pole_direction(self._axes, self.pole)
        return self._logits(Vector.of_values(unit * self._distance, self._matrix.format))

    def _logits(self, hidden_state: Vector) -> TokenValues:
        logits = steps.logits_at(self.subject, hidden_state)
        self.refined += logits.refined
        return logits

    @cached_property
    def _member_norms(self) -> Float64s:
        """The norms of the cluster's rows, in W's format."""
        return self._arithmetic.norms(self._matrix, self._matrix.format).values[self._cluster]

    def _overlap(self, values: TokenValues) -> dict[str, int]:
        if self._cluster is None:
            return {}
        ids = values.tokens_with(values.mode.value)
        overlap = Overlap.of(self._cluster, ids)
        return {
            "distinct_rows_in_class": len(set(self._rows.rows.labels[ids].tolist())),
            "overlap_with_1.4a": overlap.both,
            "cosine_only": overlap.only_a,
            "logit_only": overlap.only_b,
        }

    @staticmethod
    def _first(section: Section, ids: TokenIds) -> list[int]:
        wanted = section.figures.get("first_ids")
        first: list[int] = ids[: len(wanted) if isinstance(wanted, list) else 20].tolist()
        return first


def _value_figures(values: TokenValues) -> dict[str, Any]:
    return {
        "min": values.min,
        "max": values.max.value,
        "mean": values.mean,
        "median": values.median,
        "mode": values.mode.value,
        "mode_tokens": values.mode.n_tokens,
        "max_tokens": values.max.n_tokens,
        "distinct": values.n_distinct,
    }
