"""What can be pointed at, as text: it goes into an address and comes back as what it was.

A point is asked for by whoever has the address, so nothing in it is a path or a command: only
numbers, of tokens, of classes, of degrees, of states in a file that was opened before.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import parse_qsl, quote, urlencode

from isologit.errors import PointError

# Numbers as `str` writes them, so that a point has one text. ASCII's digits alone.
_ID = re.compile(r"(?:0|[1-9][0-9]{0,9})")
_NUMBER = re.compile(r"-?[0-9]{1,17}(?:\.[0-9]{1,17})?(?:e[+-]?[0-9]{1,3})?")
_THOUSANDTHS = 1000
# Points of an address: more than anyone visits by hand, and less than servers take of an address.
MOST_SEEN = 64
_LONGEST = 200
_RIM = "!rim"
_MOST_TOP, TOP = 1_000, 20


@dataclass(frozen=True)
class TokenPoint:
    """The row of a token."""

    token_id: int
    name: ClassVar[str] = "token"

    def __str__(self) -> str:
        return f"token:{self.token_id}"


@dataclass(frozen=True)
class ClassPoint:
    """The centroid of a row class, by its label in ``tokens.parquet``: the row of its tokens."""

    label: int
    name: ClassVar[str] = "class"

    def __str__(self) -> str:
        return f"class:{self.label}"


@dataclass(frozen=True)
class ClusterPoint:
    """The centroid of the cluster."""

    name: ClassVar[str] = "cluster"

    def __str__(self) -> str:
        return "cluster"


@dataclass(frozen=True)
class SpherePoint:
    """A place on the sphere of the seed's axes, as ``--pole`` takes it.

    Without a distance it is as far as the mean row of the fullest cosine class there.
    """

    lat_deg: float
    lon_deg: float
    distance: float | None = None
    name: ClassVar[str] = "sphere"

    def __str__(self) -> str:
        given = (self.lat_deg, self.lon_deg, self.distance)
        return "sphere:" + ",".join(_short(number) for number in given if number is not None)


@dataclass(frozen=True)
class FilePoint:
    """A state of the file that the explorer was started with, from 0."""

    index: int
    name: ClassVar[str] = "state"

    def __str__(self) -> str:
        return f"state:{self.index}"


Single = TokenPoint | ClassPoint | ClusterPoint | SpherePoint | FilePoint


@dataclass(frozen=True)
class MixPoint:
    """(1 − t) · a + t · b, with t in thousandths."""

    thousandths: int
    a: Single
    b: Single
    name: ClassVar[str] = "mix"

    def __str__(self) -> str:
        return f"mix:{self.thousandths / _THOUSANDTHS:g}({self.a})({self.b})"


@dataclass(frozen=True)
class Point:
    """What is pointed at; `rim` puts it where the final norm can output it, as ``--reachable``."""

    at: Single | MixPoint
    rim: bool = False

    def __str__(self) -> str:
        return f"{self.at}{_RIM if self.rim else ''}"


@dataclass(frozen=True)
class Asked:
    """What an address asks for.

    Parameters
    ----------
    at
        What is looked at; None where nothing has been pointed at yet.
    seen
        What was looked at before, each once, the first first.
    top
        How many of the largest logits are listed.
    """

    at: Point | None = None
    seen: tuple[Point, ...] = ()
    top: int = TOP

    def moved_to(self, point: Point) -> "Asked":
        """Return what is asked once something else is pointed at: what was looked at is seen then.

        Of more than fits the last are kept.
        """
        before = self.seen if self.at is None else (*self.seen, self.at)
        return Asked(point, _last(each for each in before if each != point), self.top)

    @property
    def visited(self) -> tuple[Point, ...]:
        """Everything that was looked at, what is looked at now last."""
        return self.seen if self.at is None else _last((*self.seen, self.at), MOST_SEEN + 1)

    def query(self) -> str:
        """Return the query of the address, without its question mark."""
        parts: list[tuple[str, str]] = []
        if self.at is not None:
            parts.append(("at", str(self.at)))
        if self.seen:
            parts.append(("seen", "~".join(map(str, self.seen))))
        if self.top != TOP:
            parts.append(("top", str(self.top)))
        return urlencode(parts, safe=":,()!~", quote_via=quote)


def parse_query(query: str) -> Asked:
    """Return what an address asks for; `Asked.query` writes it.

    Other keys are left alone.

    Raises
    ------
    PointError
        A value is not what is expected of it.
    """
    try:
        given = dict(parse_qsl(query.removeprefix("?"), max_num_fields=16))
    except ValueError:
        raise PointError("the address has more than 16 keys; expected at, seen and top") from None
    at = parse_point(given["at"]) if given.get("at") else None
    texts = given["seen"].split("~") if given.get("seen") else []
    if len(texts) > MOST_SEEN:
        raise PointError(
            f"the address has {len(texts)} points that were seen; expected {MOST_SEEN} at most. "
            "Begin again, without seen"
        )
    seen = tuple(dict.fromkeys(parse_point(text) for text in texts))
    top = given.get("top", str(TOP))
    if not _ID.fullmatch(top) or not 1 <= int(top) <= _MOST_TOP:
        raise PointError(f"top is {_shown(top)}; expected a number from 1 to {_MOST_TOP:,}")
    return Asked(at, seen, int(top))


def parse_point(text: str) -> Point:
    """Return the point that a text stands for; `str` of it writes the text.

    Raises
    ------
    PointError
        It stands for none.
    """
    if len(text) > _LONGEST:
        raise PointError(f"a point of {len(text)} characters; expected {_LONGEST} at most")
    rim = text.endswith(_RIM)
    return Point(_parse_any(text.removesuffix(_RIM)), rim)


def _last(points: Iterable[Point], at_most: int = MOST_SEEN) -> tuple[Point, ...]:
    """Return each of some points once, where it came last."""
    return tuple(reversed(dict.fromkeys(reversed(list(points)))))[-at_most:]


def _parse_any(text: str) -> Single | MixPoint:
    mixed = re.fullmatch(r"mix:([0-9.]{1,5})\(([^()]*)\)\(([^()]*)\)", text)
    if mixed is None:
        return _parse_single(text)
    share = re.fullmatch(r"(?:0(?:\.[0-9]{1,3})?|1(?:\.0{1,3})?)", mixed[1])
    if share is None:
        raise PointError(
            f"a mix of {_shown(mixed[1])}; expected a share from 0 to 1 with three decimals at most"
        )
    thousandths = round(float(mixed[1]) * _THOUSANDTHS)
    return MixPoint(thousandths, _parse_single(mixed[2]), _parse_single(mixed[3]))


def _parse_single(text: str) -> Single:
    name, _, rest = text.partition(":")
    if text == "cluster":
        return ClusterPoint()
    whole: dict[str, type[TokenPoint | ClassPoint | FilePoint]] = {
        each.name: each for each in (TokenPoint, ClassPoint, FilePoint)
    }
    if name in whole and _ID.fullmatch(rest):
        return whole[name](int(rest))
    numbers = rest.split(",")
    if name == "sphere" and len(numbers) in (2, 3) and all(map(_NUMBER.fullmatch, numbers)):
        lat, lon, *distance = map(float, numbers)
        if abs(lat) > 90 or abs(lon) > 360:
            raise PointError(
                f"{_shown(text)} is no place on a sphere; expected a latitude from -90 to 90 and a "
                "longitude from -360 to 360, in degrees"
            )
        if distance and not 0 < distance[0] < float("inf"):
            raise PointError(f"{_shown(text)} has no positive finite distance")
        return SpherePoint(lat, lon, *distance)
    raise PointError(
        f"{_shown(text)} is no point; expected token:ID, class:LABEL, cluster, "
        "sphere:LAT,LON[,DISTANCE], state:N or mix:SHARE(POINT)(POINT), and !rim behind it to put "
        "it where the final norm can output it"
    )


def _short(number: float) -> str:
    """Return the shortest text that reads as a number."""
    return repr(number).removesuffix(".0")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "…")
