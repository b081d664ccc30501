"""Take the picture of a report that the README and the docs show: its first screen, and the map.

    python docs/make_pictures.py

It is the report of the embedded checkpoint, all but the verdict, the numbers and the map hidden. It
needs playwright and Debian's chromium.
"""

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from isologit import AuditResult
from isologit.demo import checkpoint_path

PICTURE = Path(__file__).parent / "pictures" / "report.png"
_WIDTH, _MARGIN = 1040, 24
_SHOWN = "vocabulary_map"
_HIDE = """shown => {
    const hide = each => { each.style.display = 'none'; };
    document.querySelectorAll('nav, footer, main > section').forEach(each => {
        if (each.id !== 'verdict' && each.id !== 'figures') hide(each);
    });
    document.querySelectorAll('#figures > *').forEach(each => {
        if (each.id !== 'figure-' + shown) hide(each);
    });
    document.querySelectorAll('#theme, #todo, .todo, figcaption, #figures details').forEach(hide);
    document.getElementById('figures').style.cssText = 'margin: 0; padding: 0; border: 0';
    document.querySelector('main').style.rowGap = '0';
}"""


def take(report: Path, picture: Path) -> None:
    """Write the picture of a report."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(
            viewport={"width": _WIDTH, "height": 1000},
            device_scale_factor=1.5,
            color_scheme="light",
        )
        page.goto(report.as_uri())
        page.evaluate(_HIDE, _SHOWN)
        page.locator(f"#figure-{_SHOWN} .main-svg").first.wait_for()
        height = page.evaluate("document.querySelector('main').getBoundingClientRect().bottom")
        page.set_viewport_size({"width": _WIDTH, "height": round(height) + _MARGIN})
        page.wait_for_timeout(500)
        page.screenshot(path=picture)
        browser.close()


def main() -> None:
    """Audit the embedded checkpoint, and take the picture."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "isologit-demo"
        model.symlink_to(checkpoint_path())
        report = AuditResult.of(model).report(Path(folder) / "report.html")
        take(report, PICTURE)
    print(f"{PICTURE.name}: {PICTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
