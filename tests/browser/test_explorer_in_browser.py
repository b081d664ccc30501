"""The explorer as people use it: a real browser, a server on loopback, nothing from elsewhere."""

import re
import socketserver
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import gaussian
from explorer.pages import serving, views_of
from isologit.checkpoint.state_file import read_state
from isologit.demo import checkpoint_path
from isologit.explorer.points import parse_point
from isologit.explorer.view import Views
from isologit.output.mollweide import from_map

pytest.importorskip("dash")
expect = pytest.importorskip("playwright.sync_api", reason="no playwright").expect

_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# How many tokens have no dot where they lie.
_WITHOUT_A_DOT = """() => {
  const map = isologitMap;
  map.draw();
  let missing = 0;
  for (let i = 0; i < map.n; i += 1) {
    const [x, y] = map.at(i).map(Math.trunc);
    missing += map.pixels[y * map.width + x] === 0;
  }
  return missing;
}"""
# Whether a token is seen in the colour of its group.
_IN_ITS_COLOUR = """(i) => {
  const map = isologitMap;
  map.draw();
  const [x, y] = map.at(i).map(Math.trunc);
  return map.pixels[y * map.width + x] === map.colours[map.codes[i]];
}"""


class Page:
    """A page of the explorer that remembers what it said and whom it asked."""

    def __init__(self, context: Any, url: str) -> None:
        self.page = context.new_page()
        self.base = url.partition("?")[0]
        self.said: list[str] = []
        self.page.on("console", lambda each: self.said.append(each.text))
        self.page.on("pageerror", lambda each: self.said.append(str(each)))
        self.page.on("request", self._asked)
        self.page.goto(url)
        self.page.locator("#map canvas").wait_for()
        self.at("centroid of the cluster")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.base, "data:", "blob:")):
            self.said.append(f"asked {request.url}")

    def at(self, title: str | re.Pattern[str]) -> None:
        expect(self.page.locator("#title")).to_contain_text(title)

    def until(self, expression: str) -> None:
        """Wait for a script to say so: Playwright's own way evaluates text, which the CSP bars."""
        for _ in range(300):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(100)
        pytest.fail(f"not within 30 s: {expression}")

    def is_quiet(self) -> None:
        assert self.said == []


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Views:
    path = tmp_path_factory.mktemp("states") / "states.npy"
    np.save(path, gaussian(3, 96, seed=5))
    return views_of(checkpoint_path(), path)


@pytest.fixture(scope="module")
def url(views: Views) -> Iterator[str]:
    with serving(views) as server:
        yield server.url


@pytest.fixture
def context(chromium: Any) -> Iterator[Any]:
    found = chromium.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    yield found
    found.close()


def test_search_click_mix_share_reload_and_export(
    context: Any, url: str, views: Views, tmp_path: Path
) -> None:
    watched = Page(context, url)
    page = watched.page
    # The address is without the secret.
    assert "token=" not in page.url

    page.get_by_label("Find a token by text, id or bytes").press_sequentially("pad")
    found = page.locator("#found .chip")
    expect(found.first).to_contain_text('" pad"')
    found.nth(1).click()
    watched.at('token 1 "<|pad|>"')
    assert page.url.endswith("?at=token:1&seen=cluster")
    expect(page.locator("#neighbours")).to_contain_text("31 other tokens have its row, bit for bit")
    expect(page.locator("#ties")).to_contain_text("same row")
    expect(page.locator("#greedy")).to_contain_text("rounded to bfloat16")
    view = views.view(parse_point("token:1"), 20)
    expect(page.locator("#verdict")).to_contain_text(f"{view.logits.distinct} distinct logits")
    expect(page.locator("#top tbody tr")).to_have_count(20)

    # A token of the table, by the keyboard.
    page.locator("#top .chip").nth(4).focus()
    page.keyboard.press("Enter")
    watched.at("token 120")

    # The map: what is pointed at is said, and looked at when clicked.
    box = page.locator("#map canvas").bounding_box()
    place = page.evaluate("isologitMap.at(300).map((x) => x / isologitMap.ratio)")
    page.mouse.move(box["x"] + place[0], box["y"] + place[1])
    near = page.evaluate(
        "([x, y]) => isologitMap.nearest(x * isologitMap.ratio, y * isologitMap.ratio, 10)", place
    )
    expect(page.locator("#map-tip")).to_contain_text(str(near))
    page.mouse.click(box["x"] + place[0], box["y"] + place[1])
    watched.at(f"token {near} ")

    # Half way to a state of the file.
    page.get_by_role("textbox", name="Second point").fill("state:1")
    page.keyboard.press("Enter")
    page.get_by_role("slider").focus()
    for _ in range(3):
        page.keyboard.press("PageUp")
    watched.at(re.compile(r"\d+ % token .* and \d+ % state 1 of the file"))
    mixed = page.url
    assert re.search(rf"at=mix:0\.\d+\(token:{near}\)\(state:1\)&seen=", mixed)
    # Those on the way are not states that were looked at.
    assert mixed.count("mix:") == 1
    expect(page.locator("#meet")).to_contain_text("still not told apart after 5 states")

    page.get_by_label("Put it where the final norm can output it").check()
    watched.at("put where the final norm can output it")
    page.go_back()
    watched.at(re.compile("state 1 of the file$"))
    expect(page.get_by_label("Put it where the final norm can output it")).not_to_be_checked()

    # Shared: the same address in another tab is the same view.
    other = context.new_page()
    other.goto(page.url)
    title = page.locator("#title").inner_text()
    expect(other.locator("#title")).to_have_text(title)
    expect(other.locator("#meet")).to_have_text(page.locator("#meet").inner_text())
    other.close()
    page.reload()
    watched.at(title)

    with page.expect_download() as caught:
        page.get_by_text("the state (safetensors)").click()
    caught.value.save_as(tmp_path / "state.safetensors")
    at = re.search(r"at=([^&]+)", page.url)
    assert at is not None
    state = views.state(parse_point(at[1])).vector.values
    np.testing.assert_array_equal(read_state(tmp_path / "state.safetensors"), state)
    for name, file in (("all tokens (CSV)", "tokens.csv"), ("this view (JSON)", "view.json")):
        with page.expect_download() as caught:
            page.get_by_text(name).click()
        assert caught.value.suggested_filename == file
    page.locator("#map canvas").wait_for()
    for name in ("the map (PNG)", "the histogram (PNG)"):
        with page.expect_download() as caught:
            page.get_by_role("button", name=name).click()
        assert Path(caught.value.path()).read_bytes().startswith(b"\x89PNG")
    watched.is_quiet()


def test_places_are_gone_to_and_what_is_none_is_said(context: Any, url: str) -> None:
    watched = Page(context, url)
    page = watched.page
    page.get_by_role("textbox", name="Row class").fill("1")
    page.get_by_role("button", name="Go to this row class").click()
    watched.at("row class 1, of 32 tokens")
    page.get_by_role("textbox", name="Row class").fill("99999")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("there is no row class 99999")
    watched.at("row class 1")
    page.get_by_label("Latitude in degrees").fill("-7.5")
    page.get_by_label("Longitude in degrees").fill("6")
    page.keyboard.press("Enter")
    watched.at("latitude -7.5°, longitude 6°")
    expect(page.get_by_role("alert")).to_be_empty()
    page.get_by_role("textbox", name="State of the file").fill("2")
    page.get_by_role("button", name="Go to this state of the file").click()
    watched.at("state 2 of the file")
    page.get_by_role("button", name="Go to the centroid of the cluster").click()
    watched.at("centroid of the cluster")
    # Every place is one step back.
    page.go_back()
    watched.at("state 2 of the file")
    watched.is_quiet()


def test_the_map_draws_every_token_and_is_used_by_keyboard(
    context: Any, url: str, views: Views
) -> None:
    watched = Page(context, url)
    page = watched.page
    canvas = page.locator("#map canvas")
    assert page.evaluate("isologitMap.n") == views.explored.n_tokens
    assert page.evaluate(_WITHOUT_A_DOT) == 0
    # The nearest is the nearest, by numpy.
    places = views.explored.pictured.places
    assert places is not None
    for token in (5, 136, 2000):
        near = page.evaluate("(i) => isologitMap.nearest(...isologitMap.at(i), 40)", token)
        distances = np.square(places[:, :2].astype("f4") - places[token, :2]).sum(axis=1)
        assert distances[near] == distances.min()
    # Zoomed in on one token, its dot is where it should be, in its group's colour.
    page.evaluate(
        "[isologitMap.x, isologitMap.y] = [isologitMap.places[10], isologitMap.places[11]]"
    )
    canvas.focus()
    before = page.evaluate("isologitMap.scale")
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert page.evaluate("isologitMap.scale") == pytest.approx(2.25 * before)
    assert page.evaluate(_IN_ITS_COLOUR, 5)
    x = page.evaluate("isologitMap.x")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("isologitMap.x") > x
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    watched.at("token 5 ")
    canvas.focus()
    page.keyboard.press("0")
    assert page.evaluate("isologitMap.scale") == pytest.approx(before)
    told = {"ties here": "who ties here", "logit here": "its logit here"}
    for name in ("category", "script", "norm", *told, "class"):
        page.get_by_role("button", name=name, exact=True).click()
        what = told.get(name, f"{name}, as the audit found it")
        expect(page.locator("#map-said")).to_contain_text(f"coloured by {what}")
    watched.is_quiet()


def test_a_place_on_the_globe_is_a_direction(context: Any, url: str, views: Views) -> None:
    watched = Page(context, url)
    page = watched.page
    # What comes after the first answer moves the page, and the map with it.
    expect(page.locator("#ties table").first).to_be_visible()
    page.get_by_role("button", name="sphere", exact=True).click()
    watched.until("isologitMap.lines !== undefined")
    assert page.evaluate(_WITHOUT_A_DOT) == 0
    # Where there is no token: by what a click has to give back.
    x, y = 0.9, -0.7
    lat, lon = from_map(np.array([x]), np.array([y]), views.explored.sphere.middle)
    box = page.locator("#map canvas").bounding_box()
    place = page.evaluate(
        "([x, y]) => { const m = isologitMap; m.places = m.places.map(() => NaN); return ["
        "((x - m.x) * m.scale + m.width / 2) / m.ratio, "
        "((m.y - y) * m.scale + m.height / 2) / m.ratio]; }",
        [x, y],
    )
    page.mouse.click(box["x"] + place[0], box["y"] + place[1])
    watched.at("latitude ")
    at = re.search(r"at=sphere:([-\d.]+),([-\d.]+)", page.url)
    assert at is not None
    assert [float(at[1]), float(at[2])] == pytest.approx([lat[0], lon[0]], abs=1.5)
    page.get_by_role("button", name="axes", exact=True).click()
    watched.until("isologitMap.lines === undefined")
    watched.is_quiet()


def test_data_that_do_not_fit_are_refused_in_words(context: Any, url: str) -> None:
    page = Page(context, url).page
    for spoiled in ("new ArrayBuffer(3)", "new ArrayBuffer(16)", "new Uint8Array(24).buffer"):
        said = page.evaluate(
            f"(() => {{ try {{ IsologitMap.opened({spoiled}, 1); }} "
            "catch (error) { return error.message; } })()"
        )
        assert "not what this page expects" in said


@pytest.mark.parametrize(("width", "theme"), [(1280, "dark"), (390, "light"), (390, "dark")])
def test_it_is_read_on_any_screen_in_either_theme(
    chromium: Any, url: str, width: int, theme: str
) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    watched = Page(context, url)
    page = watched.page
    expect(page.locator("#ties table").first).to_be_visible()
    assert page.evaluate(_OVERFLOW) == 0
    # What is written is told from its ground, fields of Dash's own included.
    for place in ("#verdict", "#search", "#rim label", "#histogram .xtick text"):
        ink = page.locator(place).first.evaluate(
            "(e) => getComputedStyle(e)[e.namespaceURI.endsWith('svg') ? 'fill' : 'color']"
        )
        light = sum(map(int, re.findall(r"\d+", ink)[:3])) / 3
        assert (light > 128) == (theme == "dark"), (place, ink)
    page.get_by_role("button", name="Theme: as the system").click()
    other = "light" if theme == "dark" else "dark"
    expect(page.locator("#theme")).to_have_text(f"Theme: {other}")
    watched.is_quiet()
    context.close()


def test_a_second_browser_without_the_token_gets_nothing(chromium: Any, url: str) -> None:
    context = chromium.new_context()
    page = context.new_page()
    for path in ("", "?at=token:5", "map/places", "assets/map.js"):
        answer = page.goto(url.partition("?")[0] + path)
        assert answer.status == 403
    assert "Open the whole address that stands in the terminal" in page.content()
    context.close()


def test_ten_tabs_at_once(context: Any, url: str) -> None:
    Page(context, url)
    base = url.partition("?")[0]
    tabs = [context.new_page() for _ in range(9)]
    for n, tab in enumerate(tabs):
        tab.goto(f"{base}?at=token:{n + 10}", wait_until="commit")
    # Two are closed in the middle.
    for tab in tabs[:2]:
        tab.close()
    for n, tab in enumerate(tabs[2:], start=2):
        expect(tab.locator("#title")).to_contain_text(f"token {n + 10} ", timeout=30_000)


# Behind a proxy


@contextmanager
def proxy(port: int, prefix: str) -> Iterator[str]:
    """Hand on what is under a path, without the path: as a notebook's server does."""

    class Handler(BaseHTTPRequestHandler):
        def _hand_on(self) -> None:
            if not self.path.startswith(prefix):
                self.send_error(404)
                return
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else None
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/{self.path.removeprefix(prefix)}",
                body,
                method=self.command,
            )
            for name, value in self.headers.items():
                if name.lower() not in ("content-length", "connection", "accept-encoding"):
                    request.add_header(name, value)
            opener = urllib.request.build_opener(_Stay)
            with opener.open(request, timeout=30) as answer:
                content = answer.read()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        do_GET = do_POST = _hand_on  # noqa: N815 - the names of the library

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    class _Stay(urllib.request.HTTPErrorProcessor):
        def http_response(self, _request: Any, response: Any) -> Any:
            return response

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}{prefix}"
        finally:
            server.shutdown()


def test_it_works_behind_the_prefix_of_a_notebook_s_proxy(context: Any, views: Views) -> None:
    prefix = "/user/me/proxy/8051/"
    with serving(views, prefix) as server:
        found = re.search(r":(\d+)/\?(token=.+)", server.url)
        assert found is not None
        with proxy(int(found[1]), prefix) as outside:
            watched = Page(context, f"{outside}?{found[2]}")
            page = watched.page
            assert page.url == outside
            page.get_by_label("Find a token by text, id or bytes").press_sequentially("136")
            page.locator("#found .chip").first.click()
            watched.at("token 136")
            assert page.url == f"{outside}?at=token:136&seen=cluster"
            page.reload()
            watched.at("token 136")
            with page.expect_download() as caught:
                page.get_by_text("this view (JSON)").click()
            assert caught.value.suggested_filename == "view.json"
            watched.is_quiet()
