"""The site's own machinery: what a built page would load from elsewhere is seen."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from documentation.blocks import REPOSITORY

pytest.importorskip("sphinx")


@pytest.fixture(scope="module")
def machinery() -> dict[str, Any]:
    """What docs/site_extensions/self_contained.py defines."""
    return runpy.run_path(str(REPOSITORY / "docs" / "site_extensions" / "self_contained.py"))


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//cdn.example/x.css">',
        '<img src="http://example/x.png">',
        '<img srcset="https://example/x.png 2x">',
        '<p style="background: url(https://example/x.png)">',
        "<style>@import 'https://example/x.css';</style>",
        '<script>require.config({paths: {a: "https://cdn.example/a"}})</script>',
        '<iframe src="https://example/"></iframe>',
    ],
)
def test_what_a_page_loads_from_elsewhere_is_seen(
    page: str, machinery: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "x.html").write_text(page)
    assert len(machinery["loads_of"](tmp_path / "x.html")) == 1


@pytest.mark.parametrize(
    "page",
    [
        '<a href="https://example/">a link to click on</a>',
        '<script src="_static/x.js"></script><img src="data:image/png;base64,AA">',
        '<p>https://example/ in the text, "https://example/" in quotes</p>',
        "<style>a { background: url('data:image/svg+xml,<svg xmlns=http://www.w3.org/>') }</style>",
        f'<script>{" " * (1 << 16)} const map = "https://example/"</script>',
    ],
)
def test_what_a_page_names_and_does_not_load_is_no_load(
    page: str, machinery: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "x.html").write_text(page)
    assert machinery["loads_of"](tmp_path / "x.html") == []


def test_style_sheets_are_looked_at_too(machinery: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "x.css").write_text("a { background: url(https://example/a.png) } /* http://b/ */")
    assert machinery["loads_of"](tmp_path / "x.css") == ["https://example/a.png"]
