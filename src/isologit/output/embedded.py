"""What a page of HTML holds besides its text: scripts, data, and the policy that allows just those.

A page that opens offline has everything in it. Its Content-Security-Policy names the scripts by
their hashes, so that no text that comes out of a model can become one.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from isologit.checkpoint.wording import is_plain

# In JSON, where these can be written otherwise; a browser takes the first for markup, and old
# engines the others for ends of lines.
_IN_JSON = {ord("<"): "\\u003c", 0x2028: "\\u2028", 0x2029: "\\u2029"}
_END_OF_SCRIPT = re.compile(r"</(?=script)|<!(?=--)", re.IGNORECASE)


def script(source: str) -> Markup:
    """Return what stands between the tags of a script.

    ``</script`` would end it and ``<!--`` change how it is read; in JavaScript a backslash between
    the two characters means nothing. A browser hashes line feeds, whatever the line ends were.
    """
    lines = source.replace("\r\n", "\n").replace("\r", "\n")
    return Markup(_END_OF_SCRIPT.sub(lambda found: f"<\\{found.group()[1]}", lines))


@cache
def theme() -> str:
    """Return the rules that give a page its colours and letters, in both themes."""
    return files("isologit.output").joinpath("templates", "theme.css").read_text(encoding="utf-8")


def data(value: Any) -> Markup:
    """Return what stands between the tags of a block of JSON, which no text in it can end."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.translate(_IN_JSON))


def policy(scripts: Sequence[Markup]) -> str:
    """Return the Content-Security-Policy of a page with these scripts, and nothing from elsewhere.

    Styles cannot be named by hashes: plotly.js makes rules and attributes as it draws.
    """
    hashes = " ".join(f"'sha256-{_digest(each)}'" for each in scripts)
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {hashes}",
            "style-src 'unsafe-inline'",
            # Pictures that plotly.js makes: of a figure to be saved, and within one.
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def seen(value: Any) -> Any:
    """Return a text with escapes in place of what cannot be seen or turns the direction of text."""
    if not isinstance(value, str) or isinstance(value, Markup) or is_plain(value):
        return value
    return "".join(c if is_plain(c) else ascii(c)[1:-1] for c in value)


def _digest(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
