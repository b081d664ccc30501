"""Audits whose reports are worth looking at, and a reader of HTML that takes nothing on trust."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken

from checkpoints import gaussian, write_llama
from cli.command import isologit
from tokens.small_tokenizers import byte_level, save

# Tokens that would like to be something else than text: in HTML, in an attribute, in a script, in
# JSON, in a template, in plotly's own markup, and to the eye.
HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "<script>alert(2)</script>",
    "<!--<script>",
    "\"><b onmouseover=alert(3)>'",
    "{{ 7*7 }}{% include 'x' %}",
    "${alert(4)}`",
    "<b>bold</b><a href='http://example.com/'>out</a>",
    "&lt;i&gt;&amp;",
    "\u202eabc\u202c\u2066",
    "\u2028\u2029\u0000\x1b[31m",
    "\u0640\u0627\u0644",
    "]]>--><style>*{display:none}</style>",
)
PADDING = 4
_VOID = {"meta", "link", "input", "br", "img", "hr"}


def hostile_rows() -> npt.NDArray[np.float64]:
    """Return rows of which the hostile tokens share three, and the rows without a token one."""
    n_tokens = 256 + len(HOSTILE) + 1 + PADDING
    rows = gaussian(n_tokens, 16, seed=5)
    for n in range(len(HOSTILE)):
        rows[256 + n] = rows[n % 3]
    rows[-PADDING:] = rows[3]
    return rows


def hostile_audit(folder: Path) -> Path:
    """Return the directory of an audit of a model whose tokens are hostile."""
    added = [AddedToken("<|x\"'><script>|>", special=True, normalized=False)]
    model = write_llama(folder / "<b>m&m", hostile_rows())
    save(byte_level(HOSTILE, added=added), model)
    ran = isologit("audit", model, "-o", folder / "out", "-q")
    assert ran.code == 0, ran.err
    return folder / "out"


@dataclass
class Element:
    """A tag with what is in it."""

    name: str
    attributes: dict[str, str]
    children: list["Element | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it, blanks as they are."""
        return "".join(c if isinstance(c, str) else c.text for c in self.children)

    def every(self, *names: str) -> Iterator["Element"]:
        """Yield the elements of these names in it, in their order."""
        for child in self.children:
            if isinstance(child, Element):
                if child.name in names or not names:
                    yield child
                yield from child.every(*names)

    def one(self, id_: str) -> "Element":
        """Return the element of an id."""
        (found,) = [each for each in self.every() if each.attributes.get("id") == id_]
        return found


class _Tree(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice in {tag}"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].name == tag, f"</{tag}> where {self.open[-1].name} is open"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


@cache
def parsed(html: str) -> Element:
    """Return a page as a tree; every tag that is opened is closed, and no other."""
    tree = _Tree()
    tree.feed(html)
    tree.close()
    assert len(tree.open) == 1, f"{tree.open[-1].name} is never closed"
    return tree.root
