"""The report of the twin: written, weighed, and opened in the system's Chromium where there is one.

`check_twin.py` does so; it prints the times, and what is wrong.
"""

import re
import shutil
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from isologit.audit_tables import AuditTables
from isologit.findings import Audit
from isologit.output.parquet import token_columns
from isologit.output.report import report_html
from isologit.steps import Arrays

_LARGEST = 12_000_000

# Where the middle of the marks of the map's first group is on the screen, and what it should say.
_A_MARK = """() => {
  const place = document.querySelector('[data-figure="vocabulary_map"]');
  const { xaxis, yaxis } = place._fullLayout;
  const data = place._fullData.find((trace) => trace.visible === true && trace.hovertext);
  const n = data.x.reduce((best, x, at) => (x < data.x[best] ? at : best), 0);
  const box = place.querySelector(".nsewdrag").getBoundingClientRect();
  return [box.x + xaxis.c2p(data.x[n]), box.y + yaxis.c2p(data.y[n])];
}"""


def check_report(findings: Audit, arrays: Arrays, folder: Path) -> list[str]:
    """Write the page of an audit into a folder and look at it; returns what is wrong."""
    columns = token_columns(arrays)
    started = time.perf_counter()
    page = report_html(AuditTables(findings, columns)).encode()
    took = time.perf_counter() - started
    path = folder / "report.html"
    path.write_bytes(page)
    print(f"report: {len(page):,} bytes, made in {took:.2f} s")
    wrong = []
    if len(page) > _LARGEST:
        wrong.append(f"the report should have at most {_LARGEST:,} bytes")
    return wrong + _opened(path, columns)


def _opened(path: Path, columns: pa.Table) -> list[str]:
    chromium = shutil.which("chromium")
    if chromium is None:
        print("report: not opened, for want of chromium")
        return []
    from playwright.sync_api import sync_playwright

    said: list[str] = []
    asked: list[str] = []
    with sync_playwright() as started:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = started.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        began = time.perf_counter()
        page.goto(path.as_uri())
        opened = time.perf_counter()
        for place in page.locator(".plot").all():
            place.scroll_into_view_if_needed()
        page.wait_for_selector(".plot:not(.drawn)", state="detached")
        drawn = time.perf_counter()
        figures = page.locator(".plot").count()
        label = _label(page)
        browser.close()
    print(
        f"report: opened in {opened - began:.2f} s, {figures} figures drawn in "
        f"{drawn - opened:.2f} s; the leftmost mark of the map says {label!r}"
    )
    wrong = [f"the report should say nothing on the console: {text}" for text in said]
    others = {url for url in asked if url not in (path.as_uri(), "data:,")}
    wrong += [f"the report should ask for nothing: {url}" for url in sorted(others)]
    named = re.search(r"(?:token |: )(\d+) ", label)
    if named is None or int(named[1]) >= len(columns):
        wrong.append("a mark of the map should say which token it is")
    return wrong


def _label(page: Any) -> str:
    page.locator('[data-figure="vocabulary_map"]').scroll_into_view_if_needed()
    page.mouse.move(*page.evaluate(_A_MARK))
    label: str = page.locator(".hoverlayer .hovertext").first.text_content(timeout=5_000)
    return label
