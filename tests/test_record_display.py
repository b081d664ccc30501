"""How records look in a notebook: whole, closed to begin with, cut where long, and only text."""

import tracemalloc
from html.parser import HTMLParser
from typing import Any

import pytest

from isologit.claims import EXACT
from isologit.record import Model, Record
from isologit.record_display import record_html, record_line
from isologit.token_findings import TokenFacts

V = 152_000
HOSTILE = "</details><script>alert(1)</script><img src=x onerror=alert(1)>&\u202e\u2028\x00\ud800\n"


class Part(Record, frozen=True, kw_only=True):
    """A part of a record."""

    value: float
    token_ids: list[int]


class Whole(Record, frozen=True, kw_only=True):
    """Fields of every kind."""

    name: str | None = None
    value: float = 0.0
    part: Part | None = None
    parts: list[Part] = []  # noqa: RUF012 - msgspec copies it
    token_ids: list[int] = []  # noqa: RUF012
    given: Any = None
    texts: dict[str, str] = {}  # noqa: RUF012
    claims: dict[str, str] = {}  # noqa: RUF012


class Reader(HTMLParser):
    """Collects elements, attributes and text; every element that needs an end has to have one."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self._opened: list[str] = []
        self.feed(html)
        self.close()
        assert self._opened == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self._opened.append(tag)
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        """Close it."""
        assert self._opened.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text, a space between any two pieces."""
        self.text += f"{data} "


def read(record: Record) -> Reader:
    return Reader(record._repr_html_())


def test_every_field_is_there_and_its_parts_are_closed_to_begin_with() -> None:
    record = Whole(name="a name", part=Part(value=0.5, token_ids=[3]), token_ids=[1, 2])
    html = record_html(record)
    page = Reader(html)
    for text in (*Whole.__struct_fields__[:-1], "a name", "0.5", "[3]", "[1, 2]"):
        assert text in page.text
    assert html.count("<details open>") == 1
    assert html.count("<details>") == 1


def test_a_claim_stands_behind_its_figure() -> None:
    page = read(Whole(claims={"value": EXACT}))
    assert "value  [exact]" in page.text
    assert "claims" not in page.text
    assert "name  None" in page.text


def test_a_claim_about_a_part_of_a_figure_stands_there() -> None:
    page = read(Whole(part=Part(value=1.0, token_ids=[]), claims={"part.value": EXACT}))
    assert page.text.count("[exact]") == 1
    assert "part  ·" in page.text
    assert "value  [exact] 1.0" in page.text


def test_a_record_inside_has_its_own_claims_besides() -> None:
    inside = Whole(claims={"value": EXACT})
    page = read(Whole(given=inside, claims={"given.name": EXACT}))
    assert page.text.count("[exact]") == 2


def test_a_claim_about_what_is_not_there_is_not_lost() -> None:
    assert "elsewhere exact" in read(Whole(claims={"elsewhere": EXACT})).text


@pytest.mark.parametrize(
    "record",
    [
        Whole(name=HOSTILE),
        Whole(given={HOSTILE: HOSTILE}),
        Whole(given=[[HOSTILE], {"a": HOSTILE}]),
        Whole(texts={HOSTILE: HOSTILE}, claims={HOSTILE: HOSTILE}),
        Whole(claims={"value": HOSTILE}),
        Model(spec=HOSTILE, source=HOSTILE, revision=HOSTILE, name=HOSTILE),
    ],
)
def test_no_text_becomes_an_element_or_hides(record: Record) -> None:
    page = read(record)
    assert page.elements <= {"details", "summary", "b", "ul", "li", "table", "p"}
    assert page.attributes <= {"open", "style"}
    assert "<script>" in page.text
    assert "\\u202e" in page.text
    assert page.text.isprintable()
    page.text.encode()


def test_the_html_loads_nothing_runs_nothing_and_has_no_colours_of_its_own() -> None:
    record = Whole(parts=[Part(value=1.0, token_ids=[1])], given={"a": [1]})
    html = record_html(record)
    for word in ("script", "color", "background", "http", "src", "<style", "id="):
        assert word not in html


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_says_so(value: float) -> None:
    record = Whole(value=value, parts=[Part(value=value, token_ids=[])])
    assert read(record).text.count(str(value)) == 2
    assert f"value={value}" in record_line(record)


def test_of_a_long_list_the_first_are_shown_and_all_counted() -> None:
    ids = list(range(9))
    assert "[0, 1, 2, 3, 4, 5, 6, 7, …] (9)" in read(Whole(token_ids=ids)).text
    assert "[0, 1, 2, 3, 4, 5, 6, 7]" in read(Whole(token_ids=ids[:8])).text
    parts = [Part(value=n + 0.25, token_ids=[]) for n in range(11)]
    page = read(Whole(parts=parts))
    assert "11 Part" in page.text
    assert "… (11 in all)" in page.text
    assert "9.25" in page.text
    assert "10.25" not in page.text
    texts = {f"key {n}": "" for n in range(21)}
    page = read(Whole(texts=texts))
    assert "key 19" in page.text
    assert "key 20" not in page.text
    assert "… (21 in all)" in page.text


def test_long_text_is_cut_and_its_length_said() -> None:
    assert "x… (301 characters)" in read(Whole(name="x" * 301)).text
    assert "characters" not in read(Whole(name="x" * 300)).text


def test_a_list_as_long_as_a_vocabulary_costs_no_more_than_a_short_one() -> None:
    token = dict.fromkeys(TokenFacts.__struct_fields__) | {"id": 1}
    tokens = [TokenFacts(**token)] * V  # type: ignore[arg-type]
    ids = list(range(V))
    record = Whole(
        token_ids=ids,
        parts=[Part(value=0.0, token_ids=ids)] * V,
        given=tokens,
        texts={str(n): "x" for n in ids},
        name="x" * V,
    )
    tracemalloc.start()
    html, line = record_html(record), record_line(record)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A pointer for each of V entries alone would be more than a megabyte.
    assert peak < 1_000_000
    assert len(html) < 50_000
    assert len(line) < 1_000


def test_what_is_nested_without_end_has_one() -> None:
    given: Any = []
    for _ in range(5_000):
        given = [given]
    read(Whole(given=given))
    keyed: Any = {}
    for _ in range(5_000):
        keyed = {"a": keyed}
    read(Whole(given=keyed))


def test_a_line_names_the_parts_and_cuts_the_lists() -> None:
    part = Part(value=0.5, token_ids=list(range(V)))
    assert record_line(part) == "Part(value=0.5, token_ids=[0, 1, 2, 3, 4, 5, 6, 7, …] (152,000))"
    assert record_line(Whole(part=part, parts=[part], texts={"a": "b"})) == (
        "Whole(name=None, value=0.0, part=Part(…), parts=1 Part, token_ids=[], given=None, "
        "texts={1 key}, claims={})"
    )


def test_a_notebook_shows_the_line_as_text_and_not_every_entry() -> None:
    formatters = pytest.importorskip("IPython.core.formatters")
    data, _ = formatters.DisplayFormatter().format(Part(value=0.5, token_ids=list(range(V))))
    assert data["text/plain"].endswith("(152,000))")
    assert data["text/html"].startswith("<details open>")
