"""The explorer in a real browser: from a click to new figures, and frames a second of the map.

``python benchmarks/explorer.py MODEL|DIR [--tokenizer T] [--clicks N]`` starts a server, drives the
system's Chromium without a graphics card, and prints percentiles. The pass over W that is behind
each click is timed in the same run, so that the figures can be held against it on any machine.
"""

import argparse
import json
import shutil
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from isologit import steps
from isologit.explorer.opened import Explored, open_explored
from isologit.explorer.serving import listen, make_server
from isologit.explorer.view import Views
from isologit.subject import Settings, open_subject

_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
_PAN_SECONDS = 4
# The time at which each part of the page has changed since a click, in milliseconds.
_CLICK = """async (token) => {
  const of = (id) => document.getElementById(id);
  const parts = ["verdict", "top", "ties", "neighbours", "histogram"];
  const done = {};
  const before = of("title").textContent;
  const begun = performance.now();
  const watching = parts.map((id) => {
    const each = new MutationObserver(() => (done[id] = performance.now() - begun));
    each.observe(of(id), { childList: true, subtree: true, characterData: true, attributes: true });
    return each;
  });
  isologitMap.picked(token);
  const settled = () => parts.every((id) => done[id] !== undefined);
  for (let n = 0; n < 600 && !(settled() && of("title").textContent !== before); n += 1)
    await new Promise((go) => setTimeout(go, 5));
  // And drawn.
  await new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)));
  watching.forEach((each) => each.disconnect());
  return done;
}"""
# Frames while a pointer drags the map to and fro, as many as the browser gives.
_PAN = """async (seconds) => {
  const { canvas } = isologitMap;
  const box = canvas.getBoundingClientRect();
  const send = (type, x) => canvas.dispatchEvent(new PointerEvent(type, {
    pointerId: 1, bubbles: true, clientX: box.left + x, clientY: box.top + box.height / 2,
  }));
  canvas.setPointerCapture = () => {};
  send("pointerdown", box.width / 2);
  const times = [];
  const end = performance.now() + seconds * 1000;
  let n = 0;
  while (performance.now() < end) {
    send("pointermove", box.width / 2 + 80 * Math.sin(n / 20));
    n += 1;
    await new Promise((go) => requestAnimationFrame(go));
    times.push(performance.now());
  }
  send("pointercancel", box.width / 2);
  return times;
}"""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", metavar="MODEL|DIR")
    parser.add_argument("--tokenizer")
    parser.add_argument("--clicks", type=int, default=60)
    given = parser.parse_args()
    settings = Settings(tokenizer=given.tokenizer)
    explored = open_explored(given.model, settings, open_subject)
    server = make_server(Views(explored), listen(port=0))
    threading.Thread(target=server.run, daemon=True).start()
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(_ARGUMENTS)
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(server.url)
        page.locator("#map canvas").wait_for(timeout=60_000)
        page.locator("#ties table").first.wait_for(timeout=60_000)
        said = {
            "tokens": explored.n_tokens,
            "pass_ms": _percentiles(_passes(explored)),
            "click_ms": _clicks(page, explored, given.clicks),
            "map": _frames(page),
        }
        browser.close()
    said["private_mb"] = _memory(server.url, explored)
    server.close()
    print(json.dumps(said, indent=2))


def _passes(explored: Explored) -> list[float]:
    """Return the times of single passes: all logits at a state, certified."""
    subject, times = explored.subject, []
    for token in np.random.default_rng(1).integers(explored.n_tokens, size=20).tolist():
        vector = subject.head.matrix.row(token)
        begun = time.perf_counter()
        steps.logits_at(subject, vector)
        times.append(1000 * (time.perf_counter() - begun))
    return times


def _clicks(page: Page, explored: Explored, n: int) -> dict[str, Any]:
    tokens = np.random.default_rng(2).permutation(explored.n_tokens)[:n].tolist()
    found: dict[str, list[float]] = {}
    for token in tokens:
        for name, at in page.evaluate(_CLICK, token).items():
            found.setdefault(name, []).append(at)
        page.wait_for_timeout(100)
    return {name: _percentiles(times) for name, times in found.items()}


def _frames(page: Page) -> dict[str, float]:
    times = np.diff(page.evaluate(_PAN, _PAN_SECONDS))
    return {
        "frames_a_second": round(1000 / float(np.median(times)), 1),
        "slowest_twentieth": round(1000 / float(np.quantile(times, 0.95)), 1),
    }


def _memory(url: str, explored: Explored) -> dict[str, float]:
    """Return the private memory of this process after so many more views were asked for."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    base = url.partition("?")[0]
    opener.open(url).read()
    found = {"at_first": round(_private() / 2**20, 1)}
    tokens = np.random.default_rng(3).permutation(explored.n_tokens)
    for n, token in enumerate(tokens[:1000].tolist(), start=1):
        seen = "~".join(f"token:{each}" for each in tokens[max(n - 3, 0) : n].tolist())
        opener.open(f"{base}export/view.json?at=token:{token}&seen={seen}").read()
        opener.open(f"{base}map/logits?at=token:{token}").read()
        if n in (100, 300, 1000):
            found[f"after_{n}"] = round(_private() / 2**20, 1)
    return found


def _private() -> int:
    """Return the bytes that are this process's own: W is mapped, and clean."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) * 1024


def _percentiles(times: list[float]) -> dict[str, float]:
    return {f"p{p}": round(float(np.percentile(times, p)), 1) for p in (50, 95)}


if __name__ == "__main__":
    main()
