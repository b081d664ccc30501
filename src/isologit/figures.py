"""Published figures: reading a file of them, choosing a model's, and comparing one with another.

A file maps model names to sections, and a section's name ends in the notebook that printed it, in
parentheses: ``"rows (1.9a)": {"distinct": 149849, …}``.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeGuard

from isologit.errors import PublishedFiguresError
from isologit.findings import ArithmeticFacts, MatrixFacts
from isologit.record import Model, Record

# What a section says of how it was computed: put in, not compared.
FIELDS_OF_INPUT = frozenset(
    {"arithmetic", "north_pc", "meridian_pc", "equinox_pc", "lat_deg", "lon_deg"}
    | {"centre_lat_deg", "centre_lon_deg", "field_deg"}
)
REPRODUCE_SCHEMA = "isologit.reproduce/1"
# Digits after the point that the seed line printed, where not eight.
_DECIMALS = {
    **dict.fromkeys(("eigenvalues", "centroid_norm", "distance"), 6),
    **dict.fromkeys(("member_norm_min", "member_norm_max", "member_norm_mean"), 6),
    "variance_percent": 2,
}
# Sections whose figures are of stored bits alone.
_OF_BITS = frozenset({"matrix", "rows", "tokenizer"})
_SECTION = re.compile(r"(?P<kind>[^(]*?)(?: (?P<token>[0-9]+))?(?: \((?P<notebook>.*)\))?")


class PublishedFigure(Record, frozen=True, kw_only=True):
    """One published figure beside this run's."""

    section: str
    figure: str
    published: Any
    this_run: Any
    verdict: Literal["equal", "differs", "not compared"]
    difference: float | None
    depends_on_arithmetic: bool
    note: str


class Reproduction(Record, frozen=True, kw_only=True):
    """Every published figure beside this run's."""

    schema: str = REPRODUCE_SCHEMA
    isologit: str
    model: Model
    matrix: MatrixFacts
    arithmetic: ArithmeticFacts
    published: str
    axes: list[int] | None
    equal: int
    differs: int
    not_compared: int
    figures: list[PublishedFigure]
    notes: list[str]


@dataclass(frozen=True)
class Section:
    """One notebook's figures; `kind` is the section's name without token id and notebook."""

    name: str
    kind: str
    token_id: int | None
    figures: Mapping[str, Any]

    @classmethod
    def of(cls, name: str, figures: object, where: str) -> "Section":
        """Read a section's name, and check that it holds figures."""
        if not isinstance(figures, dict):
            raise PublishedFiguresError(
                f"{where}: section {name!r} is not an object of figures; expected "
                '{"figure": value, …}'
            )
        for field in FIELDS_OF_INPUT & figures.keys() - {"arithmetic"}:
            _check_input(field, figures[field], f"{where}: section {name!r}")
        match = _SECTION.fullmatch(name)
        kind, token = (match["kind"], match["token"]) if match else (name, None)
        return cls(name, kind.strip(), None if token is None else int(token), figures)


@dataclass(frozen=True)
class Figures:
    """One model's published sections, in the file's order."""

    sections: tuple[Section, ...]

    @property
    def pole(self) -> tuple[float, float, tuple[int, int, int]] | None:
        """The latitude and longitude of the cosine class, and its axes' numbers."""
        for section in self.sections:
            given = section.figures
            if section.kind == "cosine class" and {"lat_deg", "lon_deg"} <= given.keys():
                axes = (
                    given.get("north_pc", 2),
                    given.get("meridian_pc", 1),
                    given.get("equinox_pc", 3),
                )
                if len({abs(n) for n in axes}) < 3:
                    raise PublishedFiguresError(
                        f"section {section.name!r} has the axes {list(axes)} at north, meridian "
                        "and equinox; expected three different ones"
                    )
                return given["lat_deg"], given["lon_deg"], axes
        return None

    @property
    def axes_needed(self) -> int:
        """How many principal axes the figures speak of; 0 where they speak of none."""
        pole = self.pole
        if pole is None and not any(s.kind == "pca" for s in self.sections):
            return 0
        return max(3, *(abs(n) for n in pole[2])) if pole else 3

    @classmethod
    def choose(
        cls,
        published: Mapping[str, Any],
        entry: str | None,
        name: str,
        shape: tuple[int, int],
        where: str,
    ) -> tuple[str, "Figures"]:
        """Choose the entry that was named, or that has the checkpoint's name, or its shape.

        Raises
        ------
        PublishedFiguresError
            None fits, or several; the message lists them.
        """
        entries = {key: value for key, value in published.items() if isinstance(value, dict)}
        fitting = [key for key in entries if entry in (key, key.split("/")[-1])]
        if entry is None:
            fitting = [key for key in entries if key.split("/")[-1] == name] or [
                key for key, value in entries.items() if _shape_of(value) == list(shape)
            ]
        if len(fitting) != 1 or fitting[0] is None:
            wanted = f"no entry {entry!r}" if entry else f"no one entry for {name} {list(shape)}"
            raise PublishedFiguresError(
                f"{where}: {wanted}; it holds {', '.join(entries) or 'none'}. Name one with "
                "--entry, or another file with --figures"
            )
        chosen = fitting[0]
        sections = (Section.of(key, value, where) for key, value in entries[chosen].items())
        return chosen, cls(tuple(sections))


def read_figures(path: Path | None) -> Mapping[str, Any]:
    """Read a file of published figures, or the one that comes with the package.

    Raises
    ------
    PublishedFiguresError
        The file is not there, or is not JSON of the expected form.
    """
    try:
        if path is None:
            text = files("isologit").joinpath("published/azimuth.json").read_text("utf-8")
        else:
            text = path.read_text("utf-8")
        published = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise PublishedFiguresError(
            f"{path} is not a file of published figures: {error}"
        ) from error
    if not isinstance(published, dict):
        raise PublishedFiguresError(f"{path} is not an object of models; got {type(published)}")
    return published


def compared(
    section: Section, this_run: Mapping[str, Any], why_not: str
) -> Iterator[PublishedFigure]:
    """Yield each figure of a section beside this run's."""
    for figure, published in section.figures.items():
        if figure in FIELDS_OF_INPUT:
            continue
        known = figure in this_run and this_run[figure] is not None
        own = this_run.get(figure)
        decimals = _DECIMALS.get(figure, 8)
        equal = known and _equal(published, own, decimals)
        yield PublishedFigure(
            section=section.name,
            figure=figure,
            published=published,
            this_run=own,
            verdict=("equal" if equal else "differs") if known else "not compared",
            difference=_difference(published, own) if known and not equal else None,
            depends_on_arithmetic=section.kind not in _OF_BITS,
            note=why_not if not known else "" if equal else _where(published, own, decimals),
        )


def _check_input(field: str, value: object, where: str) -> None:
    """Refuse a place or an axis that cannot be one."""
    number = value if _is_number(value) and math.isfinite(value) else None
    wanted, good = "a finite number", number is not None
    if field.endswith("_pc"):
        wanted, good = "the number of an axis, from 1", isinstance(number, int) and number != 0
    elif field.endswith("lat_deg"):
        wanted = "a latitude from -90 to 90"
        good = number is not None and -90 <= number <= 90
    if not good:
        raise PublishedFiguresError(f"{where} has {field} {value!r}; expected {wanted}")


def _shape_of(sections: Mapping[str, Any]) -> object:
    matrix = sections.get("matrix")
    return matrix.get("shape") if isinstance(matrix, dict) else None


def _equal(published: Any, own: Any, decimals: int) -> bool:
    """Say whether two figures print alike at the published digits."""
    if isinstance(published, list) and isinstance(own, list):
        return len(published) == len(own) and all(
            _equal(a, b, decimals) for a, b in zip(published, own, strict=True)
        )
    if _is_number(published) and _is_number(own):
        if isinstance(published, int) and isinstance(own, int):
            return published == own
        return _printed(published, decimals) == _printed(own, decimals)
    return bool(published == own and type(published) is type(own))


def _printed(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _difference(published: Any, own: Any) -> float | None:
    return float(own - published) if _is_number(published) and _is_number(own) else None


def _where(published: Any, own: Any, decimals: int) -> str:
    """Return the first place where two lists differ, in words."""
    if not (isinstance(published, list) and isinstance(own, list)):
        return ""
    for n, (theirs, ours) in enumerate(zip(published, own, strict=False), start=1):
        if not _equal(theirs, ours, decimals):
            difference = _difference(theirs, ours)
            by = "" if difference is None else f" by {difference:+.6g}"
            return f"at entry {n}{by}"
    return f"in length: {len(published)}, here {len(own)}"


def _is_number(value: object) -> TypeGuard[int | float]:
    """Say whether a value is a number that binary64 can hold, near enough."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < 2**1023
