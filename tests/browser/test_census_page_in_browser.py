"""The page of a census as people use it: from a file, in a real browser, without a network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from census.many_models import begin, finished, write_corrupt, write_models
from cli.command import isologit

pytest.importorskip("playwright.sync_api", reason="no playwright")

Open = Callable[..., Any]
_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def census_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("census")
    write_models(folder / "models", 30)
    write_corrupt(folder / "models" / "<img src=x onerror=alert(1)>")
    code, _, err = finished(begin(str(folder / "models" / "*"), "-o", folder / "out"))
    assert code == 47, err
    ran = isologit("census", "report", folder / "out")
    assert ran.code == 0
    return folder / "out" / "report.html"


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (1280, "dark"), (390, "dark")])
def test_it_opens_draws_everything_and_asks_for_nothing(
    opened: Open, census_page: Path, width: int, theme: str
) -> None:
    watched = opened(census_page, width, color_scheme=theme)
    page = watched.page
    for place in page.locator(".plot").all():
        place.scroll_into_view_if_needed()
    page.wait_for_selector(".plot:not(.drawn)", state="detached")
    # Redundant rows and near twins across models, and four figures of the run.
    assert page.locator(".plot svg .xtitle").count() == 6
    assert page.evaluate(_OVERFLOW) == 0
    watched.is_quiet()


def test_a_mark_says_which_model_it_is(opened: Open, census_page: Path) -> None:
    watched = opened(census_page)
    page = watched.page
    watched.draw("redundant").scroll_into_view_if_needed()
    place = page.evaluate(
        """() => {
          const place = document.querySelector('[data-figure="redundant"]');
          const { xaxis, yaxis } = place._fullLayout;
          const data = place._fullData[0];
          const box = place.querySelector(".nsewdrag").getBoundingClientRect();
          return [box.x + xaxis.c2p(data.x[0]), box.y + yaxis.c2p(data.y[0])];
        }"""
    )
    page.mouse.move(*place)
    label = page.locator(".hoverlayer .hovertext").text_content()
    # Numbers 6, 13, 20 and 27 have six rows that repeat another; by name the first is 13.
    assert label.startswith("step-13")
    assert "6 of 40 rows" in label
    watched.is_quiet()
