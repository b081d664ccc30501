"""The report as people use it: opened from a file in a real browser, without a network."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from isologit.tokens.text import visible_token
from report_pages import HOSTILE

expect = pytest.importorskip("playwright.sync_api", reason="no playwright").expect

Open = Callable[..., Any]

# The page in pixels that is to be seen sideways without being scrolled as a whole.
_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Where a mark of a figure is on the screen, by trace and place.
_WHERE = """([key, trace, n]) => {
  const place = document.querySelector(`[data-figure="${key}"]`);
  const { xaxis, yaxis } = place._fullLayout;
  const data = place._fullData[trace];
  const box = place.querySelector(".nsewdrag").getBoundingClientRect();
  return [box.x + xaxis.c2p(data.x[n]), box.y + yaxis.c2p(data.y[n])];
}"""


def scroll_through(page: Any) -> None:
    """Go down a page, so that every figure comes near, and wait until all are drawn."""
    for place in page.locator(".plot").all():
        place.scroll_into_view_if_needed()
    page.wait_for_selector(".plot:not(.drawn)", state="detached")


@pytest.mark.parametrize(
    ("report", "width", "theme"),
    [
        ("demo", 1280, "light"),
        ("demo", 390, "dark"),
        ("llama", 390, "light"),
        ("hostile", 1280, "dark"),
    ],
)
def test_it_opens_draws_everything_and_asks_for_nothing(
    opened: Open, request: pytest.FixtureRequest, report: str, width: int, theme: str
) -> None:
    watched = opened(request.getfixturevalue(report), width, color_scheme=theme)
    page = watched.page
    # What is far from the screen is not drawn before it is wanted.
    assert page.locator(".plot.drawn").count() < page.locator(".plot").count()
    scroll_through(page)
    assert page.locator(".plot svg .xtitle, .plot svg .annotation").count() >= 6
    assert page.evaluate(_OVERFLOW) == 0
    # Nothing in a figure leads out of the page.
    assert page.locator(".plot a[href]").count() == 0
    watched.is_quiet()


def test_a_mark_says_which_token_it_is(opened: Open, demo: Path) -> None:
    watched = opened(demo)
    page = watched.page
    watched.draw("vocabulary_map").scroll_into_view_if_needed()
    table = pq.read_table(demo.parent / "tokens.parquet", columns=["bytes", "pc1", "pc2"])
    # The token farthest to the left has no other near it.
    token_id = int(table["pc1"].to_numpy().argmin())
    found = page.evaluate(
        """(wanted) => {
          const data = document.querySelector('[data-figure="vocabulary_map"]')._fullData;
          for (const [trace, each] of data.entries())
            for (let n = 0; n < (each.visible === true ? each.x.length : 0); n++)
              if (Math.abs(each.x[n] - wanted) < 1e-6) return [trace, n];
        }""",
        table["pc1"][token_id].as_py(),
    )
    page.mouse.move(*page.evaluate(_WHERE, ["vocabulary_map", *found]))
    label = page.locator(".hoverlayer .hovertext").text_content()
    shown = visible_token(table["bytes"][token_id].as_py(), 16)
    assert re.search(rf"\b{token_id} ", label)
    assert shown in label
    watched.is_quiet()


def test_groups_are_hidden_and_shown_by_mouse_and_by_keyboard(opened: Open, demo: Path) -> None:
    watched = opened(demo)
    page = watched.page
    watched.draw("vocabulary_map")
    controls = page.locator('[data-controls="vocabulary_map"]')
    drawn = page.locator('[data-figure="vocabulary_map"] .scatterlayer .trace')
    before = drawn.count()
    group = controls.get_by_role("group", name="Shown").get_by_role("button").first
    group.click()
    expect(group).to_have_attribute("aria-pressed", "false")
    expect(drawn).to_have_count(before - 1)
    group.press("Enter")
    expect(group).to_have_attribute("aria-pressed", "true")
    expect(drawn).to_have_count(before)
    # Another colouring has other groups.
    names = controls.get_by_role("group", name="Shown").inner_text()
    script = controls.get_by_role("button", name="script", exact=True)
    script.focus()
    page.keyboard.press("Space")
    controls.get_by_role("button", name=re.compile("Latin")).wait_for()
    expect(script).to_have_attribute("aria-pressed", "true")
    assert controls.get_by_role("group", name="Shown").inner_text() != names
    controls.get_by_role("button", name="class", exact=True).click()
    group.wait_for()
    watched.is_quiet()


def test_the_filter_finds_tokens_by_text_id_and_kind(opened: Open, demo: Path) -> None:
    watched = opened(demo)
    page = watched.page
    field, kind = page.get_by_label("Text or id"), page.get_by_label("Script or category")
    count = page.locator("#filter-count")
    chips = page.locator("#classes .chips li:visible")
    assert count.inner_text() == "882 tokens in 36 classes"
    assert page.locator("#classes .class:visible").count() == 8
    field.press_sequentially("pad|")
    assert [text.split() for text in chips.all_text_contents()] == [['"<|pad|>"', "1"]]
    assert count.inner_text() == "1 token in 1 class of 882 tokens in 36 classes"
    field.fill("")
    kind.select_option("Hebrew")
    assert count.inner_text().startswith("27 tokens in ")
    # Those behind "more" are found too, and seen; classes as well.
    assert chips.count() == 27
    expect(page.locator("#more-classes")).to_have_attribute("open", "")
    kind.select_option("all")
    field.fill("no token")
    assert chips.count() == 16
    field.fill("nothing has this text")
    assert count.inner_text().startswith("0 tokens in 0 classes")
    field.press("Enter")
    field.fill("")
    assert count.inner_text() == "882 tokens in 36 classes"
    assert page.locator("#classes details[open]").count() == 0
    # A capital is meant, and so is a blank.
    field.fill("PAD|")
    assert chips.count() == 0
    field.fill(" pad|")
    assert chips.count() == 0
    watched.is_quiet()


def test_the_theme_can_be_changed_and_figures_go_along(opened: Open, llama: Path) -> None:
    watched = opened(llama, 390)
    page = watched.page
    watched.draw("logit_ranks")
    text = page.locator('[data-figure="logit_ranks"] .xtick text').first

    def colour() -> str:
        """Return the page's colour of text, once the figure has it too."""
        found: str = page.evaluate("getComputedStyle(document.body).color")
        expect(text).to_have_css("fill", found)
        return found

    light = colour()
    # With the system, until the button has been used.
    page.emulate_media(color_scheme="dark")
    assert colour() != light
    page.locator("#theme").focus()
    page.keyboard.press("Enter")
    assert page.locator("#theme").inner_text() == "Theme: light"
    assert colour() == light
    page.keyboard.press("Enter")
    assert page.locator("#theme").inner_text() == "Theme: dark"
    assert colour() != light
    page.keyboard.press("Enter")
    assert page.locator("#theme").inner_text() == "Theme: as the system"
    page.emulate_media(color_scheme="light")
    assert colour() == light
    watched.is_quiet()


def test_it_can_be_used_by_keyboard_from_the_start(opened: Open, demo: Path) -> None:
    # Without plotly.js to be read, which is all the same to a keyboard.
    page = opened(demo, 600, java_script_enabled=False).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#verdict"
    outline = page.evaluate(
        """() => { document.querySelector("nav a").focus({focusVisible: true});
          return getComputedStyle(document.activeElement).outlineStyle; }"""
    )
    assert outline == "solid"


def test_a_wide_table_scrolls_within_its_box(opened: Open, demo: Path) -> None:
    page = opened(demo, 390, color_scheme="dark").page
    box = page.get_by_role("region", name="Tokens by category")
    expect(box).to_have_attribute("tabindex", "0")
    assert box.evaluate("(box) => box.scrollWidth > box.clientWidth")
    # On a wide screen nothing scrolls, and there is nothing to stop at.
    wide = opened(demo).page
    assert wide.locator("#tokens .scroll").count() == 4
    assert wide.locator("#tokens .scroll[tabindex]").count() == 0


def test_it_prints_light_and_with_every_figure(opened: Open, llama: Path) -> None:
    watched = opened(llama, color_scheme="dark")
    page = watched.page
    assert page.locator(".plot:not(.drawn)").count()
    pdf = page.pdf(prefer_css_page_size=True)
    assert 6 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 15
    assert page.locator(".plot:not(.drawn)").count() == 0
    # What printing changed is as it was.
    assert page.evaluate("document.documentElement.dataset.theme") is None
    widths = page.locator(".plot").evaluate_all("(all) => all.map((p) => p._fullLayout.width)")
    assert len(set(widths)) == 1
    assert widths[0] > 700
    page.emulate_media(media="print")
    assert page.locator("#theme, #filter, nav, .command button").filter(visible=True).count() == 0
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(26, 28, 31)"
    watched.is_quiet()


def test_without_scripts_every_number_is_there(opened: Open, demo: Path) -> None:
    page = opened(demo, java_script_enabled=False).page
    assert "drawn by the script" in page.locator("noscript").first.inner_text()
    assert page.locator("#filter, #theme").filter(visible=True).count() == 0
    figure = page.locator("#figure-vocabulary_map")
    figure.locator("summary").click()
    assert figure.locator("td").first.is_visible()
    page.locator("#classes summary").first.click()
    assert page.locator("#classes article").first.locator("li:visible").count() == 102


def test_hostile_tokens_stay_text_wherever_they_are_shown(opened: Open, hostile: Path) -> None:
    watched = opened(hostile, color_scheme="dark")
    page = watched.page
    page.on("dialog", lambda dialog: pytest.fail(f"a token ran: {dialog.message}"))
    scroll_through(page)
    assert page.locator("img, iframe, main b, main script:not([type])").count() == 0
    assert page.locator("h1").inner_text() == "<b>m&m"
    for text in HOSTILE[:8]:
        shown = '"' + text[:24].replace('"', '\\"')
        assert page.locator("#classes bdi", has_text=shown).count() >= 1
    # In labels of marks too, which plotly reads for markup.
    data = """() => document.querySelector('[data-figure="logits_by_id"]')._fullData"""
    marks = page.evaluate(
        f"({data})().flatMap((t, n) => [...t.hovertext].map((text, at) => [n, at, text]))"
    )
    trace, at = next((n, at) for n, at, text in marks if "onerror" in text or "/script" in text)
    watched.draw("logits_by_id")
    page.mouse.move(*page.evaluate(_WHERE, ["logits_by_id", trace, at]))
    label = page.locator(".hoverlayer .hovertext")
    assert "onerror" in label.text_content() or "/script>" in label.text_content()
    assert label.locator("a").count() == 0
    watched.is_quiet()
