"""What keeps the site whole by itself, without a network and without the repository.

A link to a file outside of the pages' folder becomes a copy of that file, and a built page that
would load anything from another host ends the build.
"""

import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.transforms import SphinxTransform

# Attributes whose value a browser fetches, whatever the element is but a link to click on.
_FETCHED = frozenset({"src", "srcset", "data", "poster", "background"})
_IN_STYLE = re.compile(r"""(?:url\(|@import)\s*['"]?((?:https?:)?//[^'")\s]+)""")
_IN_SCRIPT = re.compile(r"""['"]((?:https?:)?//[^'"\s]+)['"]""")
# Characters from which on a script in a page is a whole library. One of figures names addresses of
# maps, say, that it asks for only if a map is drawn.
_A_LIBRARY = 1 << 16
# Names of namespaces, which nobody fetches.
_NAMES = re.compile(r"https?://www\.w3\.org/")


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the transform and the check."""
    app.add_transform(Links)
    app.connect("build-finished", refuse_loads)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class Links(SphinxTransform):
    """Makes of links that are meant for readers of files what readers of the site expect.

    A link whose text is the file's own name gets the title of the page. Of Markdown outside of the
    pages' folder, as ../README.md, which the parser takes for a page that is not there, a copy is
    linked; other files outside become copies anyway.
    """

    default_priority = 500

    def apply(self, **_options: Any) -> None:
        """Look at each link to Markdown."""
        folder = Path(self.env.doc2path(self.env.docname)).parent
        for node in list(self.document.findall(addnodes.pending_xref)):
            if node.get("refdomain") != "doc":
                continue
            target = Path(f"{node['reftarget']}.md")
            if target.is_absolute() and target.is_file():
                copy = addnodes.download_reference(
                    "", "", *node.children, reftarget=os.path.relpath(target, folder)
                )
                copy["refdoc"], copy["classes"] = self.env.docname, ["download"]
                node.replace_self(copy)
            elif node.astext() == target.name:
                node["refexplicit"] = False


def refuse_loads(app: Sphinx, exception: Exception | None) -> None:
    """End the build where a page or a style sheet loads something from another host."""
    if exception is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    found = [
        f"{path.relative_to(out)}: {load}"
        for path in sorted(out.rglob("*"))
        if path.suffix in (".html", ".css")
        for load in loads_of(path)
    ]
    if found:
        raise ExtensionError("the site would load from other hosts:\n" + "\n".join(found))


def loads_of(path: Path) -> list[str]:
    """Return the addresses on other hosts that a browser fetches with a page or a style sheet."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".css":
        return _foreign(_IN_STYLE, text)
    page = _Page()
    page.feed(text)
    return page.loads


def _foreign(pattern: re.Pattern[str], text: str) -> list[str]:
    return [load for load in pattern.findall(text) if not _NAMES.match(load)]


class _Page(HTMLParser):
    """Notes what an HTML page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at the attributes that a browser follows by itself."""
        self._inside = tag
        for name, value in attrs:
            text = value or ""
            followed = name in _FETCHED or (tag == "link" and name == "href")
            if followed and re.match(r"\s*(?:https?:)?//", text):
                self.loads.append(text)
            elif name == "style":
                self.loads += _foreign(_IN_STYLE, text)

    def handle_data(self, data: str) -> None:
        """Look at what stands in a script or a style."""
        if self._inside == "style":
            self.loads += _foreign(_IN_STYLE, data)
        elif self._inside == "script" and len(data) < _A_LIBRARY:
            self.loads += _foreign(_IN_SCRIPT, data)

    def handle_endtag(self, tag: str) -> None:
        """Leave a script or a style."""
        self._inside = ""
