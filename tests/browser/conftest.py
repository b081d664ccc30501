"""A real browser, one for all tests, and pages that watch what they do."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cli.command import isologit
from isologit.demo import checkpoint_path
from report_pages import hostile_audit

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright")


@dataclass
class Watched:
    """A page, and what it said and asked for."""

    page: Any
    file: str
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def is_quiet(self) -> None:
        """Check that it said nothing, and asked for nothing but itself."""
        assert self.said == []
        assert [url for url in self.asked if url != self.file and url != "data:,"] == []

    def draw(self, key: str) -> Any:
        """Scroll a figure near, and return its place once it is drawn."""
        place = self.page.locator(f'[data-figure="{key}"]')
        place.scroll_into_view_if_needed()
        self.page.wait_for_selector(f'[data-figure="{key}"].drawn')
        return place


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The system's Chromium; a user's machine may have none."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium")
    with playwright.sync_playwright() as started:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = started.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def opened(chromium: Any) -> Iterator[Callable[..., Watched]]:
    """Open a file as a context of these options has it; the same again is the page that is open.

    To read plotly.js takes a second, so a test that changes a page puts it back.
    """
    pages: dict[Any, Watched] = {}

    def open_(path: Path, width: int = 1280, **options: Any) -> Watched:
        key = (path, width, *sorted(options.items()))
        if key in pages:
            return pages[key]
        size = {"width": width, "height": 800}
        context = chromium.new_context(viewport=size, **{"color_scheme": "light", **options})
        watched = pages[key] = Watched(context.new_page(), path.as_uri())
        watched.page.on("console", lambda message: watched.said.append(message.text))
        watched.page.on("pageerror", lambda error: watched.said.append(str(error)))
        watched.page.on("request", lambda request: watched.asked.append(request.url))
        watched.page.goto(watched.file)
        return watched

    yield open_
    for watched in pages.values():
        watched.page.context.close()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the embedded checkpoint."""
    out = tmp_path_factory.mktemp("demo") / "out"
    assert isologit("audit", checkpoint_path(), "-o", out, "-q").code == 0
    return out / "report.html"


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    """The report of llama2xs."""
    out = tmp_path_factory.mktemp("llama") / "out"
    model = shared / "checkpoints" / "llama2xs-hf-bf16"
    assert isologit("audit", model, "-o", out, "-q").code == 0
    return out / "report.html"


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a model whose tokens would like to be something else than text."""
    return hostile_audit(tmp_path_factory.mktemp("hostile")) / "report.html"
