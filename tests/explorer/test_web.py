"""The page's server: what it answers, to whom, and that nothing but points can be asked for."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import gaussian, write_llama
from cli.command import SOURCE, isologit
from explorer.pages import serving, views_of
from isologit.checkpoint.state_file import read_state
from isologit.cli.main import INTERRUPTED
from isologit.equivalence.axes import coordinates
from isologit.errors import CheckpointNotFoundError, MissingExtraError, ServerError, StateError
from isologit.explorer.access import CALLBACKS
from isologit.explorer.data_routes import plain_cell
from isologit.explorer.map_data import CODES, LAST_STEP, NO_NUMBER, PLACES
from isologit.explorer.points import parse_point
from isologit.explorer.view import Views
from isologit.output.mollweide import from_map
from tokens.small_tokenizers import byte_level, save

pytest.importorskip("dash")

V, D = 300, 12
Get = Callable[..., Any]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = gaussian(V, D, seed=21) * np.array([4.0, 3, 2, *([1] * (D - 3))])
    values[40:70] = 0.25 + 0.03 * gaussian(30, D, seed=22)
    values[100:103] = values[7]
    values[200, 0] = np.nan
    path = write_llama(tmp_path_factory.mktemp("model") / "m", values)
    save(byte_level(["</script><img src=x onerror=alert(1)>", "=1+1", "\u202eabc"]), path)
    np.save(path.parent / "states.npy", gaussian(3, D, seed=5))
    return path


@pytest.fixture(scope="module")
def views(model: Path) -> Views:
    return views_of(model, model.parent / "states.npy")


@pytest.fixture(scope="module")
def get(views: Views) -> Iterator[Get]:
    with serving(views) as server:
        base, _, token = server.url.partition("?token=")
        port = base.rsplit(":", 1)[1].strip("/")

        def asked(path: str, body: Any = None, **headers: str) -> Any:
            given = {"Cookie": f"isologit-{port}={token}", **headers}
            data = None if body is None else json.dumps(body).encode()
            if data is not None:
                given["Content-Type"] = "application/json"
            request = urllib.request.Request(base + path.lstrip("/"), data, given)
            return urllib.request.urlopen(request, timeout=30)

        yield asked


def refusal(get: Get, path: str) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(path)
    return caught.value.code, caught.value.read().decode()


def test_the_page_is_there_and_asks_for_nothing_from_elsewhere(get: Get) -> None:
    answer = get("/")
    page = answer.read().decode()
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "'unsafe-inline'" not in policy.split("style-src")[0]
    assert "unsafe-eval" not in policy
    assert '<html lang="en">' in page
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert address.startswith("/") or address == "data:,"
        if address.startswith("/"):
            assert get(address).status == 200


def test_without_the_token_no_route_answers(get: Get) -> None:
    for path in ("/", "/theme.css", "/assets/map.js", "/_dash-layout", "/map/places", CALLBACKS):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            get(path, Cookie="")


def test_all_tokens_are_on_the_map(get: Get, views: Views) -> None:
    raw = get("/map/places").read()
    head = np.frombuffer(raw[:16], "<u2")
    assert (raw[:4], head[2], head[3]) == (b"ISOM", 1, PLACES)
    assert int.from_bytes(raw[8:12], "little") == V
    places = views.explored.pictured.places
    assert places is not None
    found = np.frombuffer(raw[16:], "<f4").reshape(V, 2)
    np.testing.assert_array_equal(found, places[:, :2].astype("<f4"))
    assert np.isnan(found[200]).all()


def test_the_globe_has_them_at_their_latitude_and_longitude(get: Get, views: Views) -> None:
    found = np.frombuffer(get("/map/places?on=sphere").read()[16:], "<f4").reshape(V, 2)
    sphere = json.loads(get("/map/legend").read())["sphere"]
    x, y = found.T.astype(np.float64)
    lat, lon = from_map(x, y, sphere["middle"])
    axes = views.explored.axes
    rows = views.explored.subject.head.matrix
    expected = coordinates(rows, axes, north=2, meridian=1, equinox=3)
    there = np.arange(V) != 200
    np.testing.assert_allclose(lat[there], expected[0][there], atol=0.2)
    apart = (lon[there] - expected[1][there] + 180) % 360 - 180
    assert np.abs(apart * np.cos(np.radians(lat[there]))).max() < 0.3
    assert sphere["goes_there"]
    assert refusal(get, "/map/places?on=plane")[0] == 400


def test_the_legend_counts_all_tokens_and_codes_are_its_groups(get: Get) -> None:
    legend = json.loads(get("/map/legend").read())
    assert legend["why_not"] is None
    assert [each["title"] for each in legend["by"]] == ["class", "category", "script", "norm"]
    for n, each in enumerate(legend["by"]):
        raw = get(f"/map/groups?by={n}").read()
        assert int.from_bytes(raw[6:8], "little") == CODES
        counts = np.bincount(np.frombuffer(raw[16:], np.uint8), minlength=len(each["groups"]))
        assert counts.tolist() == [group["tokens"] for group in each["groups"]]
        assert counts.sum() == V


def test_logits_are_steps_of_a_scale(get: Get, views: Views) -> None:
    answer = get("/map/logits?at=token:5")
    codes = np.frombuffer(answer.read()[16:], np.uint8)
    logits = views.logits(parse_point("token:5")).values
    finite = np.isfinite(logits)
    assert (codes[~finite] == NO_NUMBER).all()
    low, high = logits[finite].min(), logits[finite].max()
    share = (logits[finite] - low) / (high - low)
    np.testing.assert_array_equal(codes[finite], np.round(share * LAST_STEP))
    ends = json.loads(answer.headers["X-Scale"])
    assert [float(ends[end]) for end in ("low", "high")] == pytest.approx([low, high], abs=1e-8)


@pytest.mark.parametrize("text", ["token:7", "cluster", "sphere:1,2"])
def test_ties_are_told_apart_by_what_they_tie_with(get: Get, views: Views, text: str) -> None:
    answer = get(f"/map/ties?at={text}")
    codes = np.frombuffer(answer.read()[16:], np.uint8).tolist()
    groups = json.loads(answer.headers["X-Groups"])
    assert np.bincount(codes).tolist() == [group["tokens"] for group in groups]
    values = views.logits(parse_point(text)).values.tolist()
    held = Counter(values)
    largest = max(each for each in values if each == each)
    common = min(held, key=lambda each: (-held[each], each))
    for code, value in zip(codes, values, strict=True):
        expected = "alone"
        if value == value and held[value] > 1:
            expected = "tie with another token"
            if value == largest:
                expected = "tie with the maximum"
            elif value == common:
                expected = "the most common logit"
        assert groups[code]["name"] == expected


def test_what_is_exported_is_what_holds(get: Get, views: Views, tmp_path: Path) -> None:
    at = "mix:0.25(token:5)(cluster)"
    point = parse_point(at)
    path = tmp_path / "state.safetensors"
    path.write_bytes(get(f"/export/state.safetensors?at={at}").read())
    np.testing.assert_array_equal(read_state(path), views.state(point).vector.values)

    # And the command that is shown prints the same of it.
    view = json.loads(get(f"/export/view.json?at={at}&top=7").read())
    assert len(view["top"]) == 7
    words = view["command"].replace("state.safetensors", str(path))
    printed = isologit(*words.split()[1:], "--json").json
    assert printed["logits"]["mode"] == view["logits"]["mode"]
    assert printed["state"]["sha256"] == view["state"]["sha256"]

    lines = get(f"/export/tokens.csv?at={at}").read().decode().split("\n")
    assert len(lines) == V + 2
    assert lines[0].startswith('"token_id","token","kind","logit"')
    logits = views.logits(point).values
    assert f"{logits[5]:g}"[:4] in lines[6]
    assert float.fromhex(lines[6].split(",")[4].strip('"')) == logits[5]


def test_no_cell_of_a_table_is_a_formula() -> None:
    for text in ("=1+1", "+1", "-1", "@x"):
        assert plain_cell(text) == f"'{text}"
    assert plain_cell('"=1+1"') == '"=1+1"'
    assert plain_cell("") == ""


@pytest.mark.parametrize(
    "path",
    [
        "/export/view.json",
        "/export/view.json?at=../../etc/passwd",
        "/export/state.safetensors?at=token:999",
        "/export/tokens.csv?at=token:5&top=x",
        "/map/logits?at=state:9",
        "/map/groups?by=99",
        "/map/groups?by=-1",
        "/map/names?ids=1;2",
        "/map/names?ids=x",
    ],
)
def test_what_is_no_point_is_refused_in_words(get: Get, path: str) -> None:
    code, said = refusal(get, path)
    assert code == 400
    assert "expected" in said or "there is no" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../web.py",
        "/assets/..%2fweb.py",
        "/assets/%2e%2e/web.py",
        "/_dash-component-suites/dash/../../x.py",
        "/export/../../etc/passwd",
    ],
)
def test_no_file_is_reached_by_a_path(get: Get, path: str) -> None:
    try:
        text = get(path).read().decode()
    except urllib.error.HTTPError as error:
        text = error.read().decode()
    # Dash answers what it does not know with its page.
    assert text.startswith(("<!DOCTYPE html>", "<!doctype html>"))
    assert "def make_app" not in text
    assert "root:" not in text


def callback(get: Get, search: str, outputs: str = "look") -> Any:
    """Ask what the page asks when its address changes, and return what it is given."""
    known = json.loads(get("/_dash-dependencies").read())
    (wanted,) = [each for each in known if "verdict.children" in each["output"]]
    names = [tuple(each.rsplit(".", 1)) for each in wanted["output"].strip(".").split("...")]
    body = {
        "output": wanted["output"],
        "outputs": [{"id": name, "property": prop} for name, prop in names],
        "inputs": [{"id": "url", "property": "search", "value": search}],
        "changedPropIds": ["url.search"],
    }
    return json.loads(get(CALLBACKS, body).read())["response"]


def test_a_view_says_what_holds_at_the_point(get: Get, views: Views) -> None:
    found = callback(get, "?at=token:7&seen=cluster")
    assert found["title"]["children"].startswith("token 7")
    view = views.view(parse_point("token:7"), 20)
    verdict = found["verdict"]["children"]
    assert f"{view.logits.distinct} distinct logits in bfloat16" in verdict
    classes = json.dumps(found["classes"])
    assert f"{view.logits.mode.n_tokens} token" in classes
    assert view.logits.top[1].hex in classes
    assert "still not told apart after 2 states" in json.dumps(found["visited"])
    assert found["here"]["data"] == {"at": "token:7", "token": 7, "seen": [7]}
    # What is drawn is sent, and not what is counted.
    assert len(json.dumps(found)) < 60_000


def test_token_texts_stay_text(get: Get, views: Views) -> None:
    # As strings of components, which React writes as text, and nowhere in a figure.
    ids = [i for i in range(V) if "script" in views.explored.pictured.shown(i)]
    found = callback(get, f"?at=token:{ids[0]}&top=1000")
    assert "</script><img src=x" in json.dumps(found["top"]).replace('\\"', '"')
    assert "script" not in json.dumps(found["histogram"])
    assert "\u202e" not in json.dumps(found, ensure_ascii=False)
    assert "dangerously" not in json.dumps(found)


def test_the_name_of_a_model_stays_text(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>"
    from isologit.explorer.web import make_app

    views = views_of(write_llama(tmp_path / name, gaussian(50, 8, seed=1)))
    page = make_app(views).server.test_client().get("/").get_data(as_text=True)
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;: isologit explorer</title>" in page


@pytest.mark.parametrize("search", ["?at=x", "?at=token:999", "?top=0", "?at=state:7"])
def test_an_address_that_is_wrong_leaves_the_page_and_says_why(get: Get, search: str) -> None:
    found = callback(get, search)
    assert set(found) == {"error"}
    assert "expected" in json.dumps(found) or "there is no" in json.dumps(found)


def test_ten_at_once_are_answered_and_memory_is_bounded(get: Get, views: Views) -> None:
    def ask(n: int) -> str:
        return str(callback(get, f"?at=token:{n % 60}&seen=token:{(n + 1) % 60}")["title"])

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(ask, range(120)))
    assert len(set(answers)) == 60
    assert len(views._views) <= 200


def test_whoever_goes_away_in_the_middle_leaves_nothing_stuck(get: Get, views: Views) -> None:
    with serving(views) as server:
        port = int(re.search(r":(\d+)/", server.url)[1])  # type: ignore[index]
        for _ in range(12):
            gone = socket.create_connection(("127.0.0.1", port), 5)
            gone.sendall(b"GET /export/tokens.csv HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            gone.close()
        # Without a place for cookies it is led on, and refused there: it answers.
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(server.url, timeout=10)


def test_a_port_that_is_taken_is_said(model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = isologit("explore", model, "--no-browser", "--port", port)
    assert ran.code == ServerError.exit_code
    assert f"cannot listen on 127.0.0.1:{port}" in ran.err
    assert ran.err.count("\n") == 1


def test_what_will_not_open_is_said_before_anything_is_served(model: Path, tmp_path: Path) -> None:
    ran = isologit("explore", tmp_path / "absent", "--no-browser", "--port", "0")
    assert (ran.code, ran.out) == (CheckpointNotFoundError.exit_code, "")
    np.save(tmp_path / "s.npy", np.ones((2, D + 1)))
    ran = isologit("explore", model, "--state", tmp_path / "s.npy", "--no-browser", "--port", "0")
    assert (ran.code, ran.out) == (StateError.exit_code, "")
    assert "2 states of 13 values; this model's hidden state has 12" in ran.err


def test_an_address_of_another_machine_is_said(model: Path) -> None:
    ran = isologit("explore", model, "--no-browser", "--host", "203.0.113.7", "--port", "0")
    assert ran.code == ServerError.exit_code


def test_without_the_extra_it_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from isologit.explorer import serving as module

    monkeypatch.setattr(module, "find_spec", lambda name: None)
    ran = isologit("explore", model, "--no-browser", "--port", "0")
    assert ran.code == MissingExtraError.exit_code
    assert "pip install 'isologit[explore]'" in ran.err


@pytest.mark.parametrize("prefix", ["a b", "//evil", "x?y", "<x>"])
def test_a_prefix_is_a_path(model: Path, prefix: str) -> None:
    ran = isologit("explore", model, "--no-browser", "--prefix", prefix)
    assert ran.code == 2
    assert "expected a path like" in ran.err


def test_the_command_serves_until_it_is_interrupted(model: Path) -> None:
    words = ["explore", str(model), "--no-browser", "--port", "0"]
    command = [sys.executable, "-m", "isologit", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=SOURCE
    ) as running:
        try:
            assert running.stdout is not None
            url = running.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{43}", url)
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(url.partition("?")[0], timeout=10)
            running.send_signal(signal.SIGINT)
            assert running.wait(10) == INTERRUPTED
            assert running.stderr is not None
            said = running.stderr.read()
            assert "Ctrl-C ends it" in said
            assert "Traceback" not in said
        finally:
            running.kill()
