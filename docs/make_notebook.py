"""Run a notebook of the docs in a fresh kernel, and keep its outputs and pictures beside its cells.

    python docs/make_notebook.py docs/seed-notebook.ipynb

The cells are written by hand, in any editor of notebooks; the outputs come from here alone. A
figure is kept as a picture (plotly's own drawing, taken by a headless Chromium), because most
places that show a stored notebook run no scripts. The numbers that it draws are kept in its
metadata, so that the notebook's test (tests/documentation/test_seed_notebook.py) sees when they
change. Nothing that varies from run to run is kept: no counts of executions, no times.

Needs the extra `docs`, and a Chromium where PATH says.
"""

import base64
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

PLOTLY = "application/vnd.plotly.v1+json"
# Where an output's metadata hold the numbers of its figure.
NUMBERS = "isologit_figure"
_WIDTH, _HEIGHT, _SCALE = 880, 460, 1.5
_TITLE_HEIGHT = 48
_CELL_SECONDS = 300
# What a trace draws; the rest is how it looks, and what hovering says.
_DRAWN = ("type", "mode", "name", "x", "y", "z")
_PAGE = "<!doctype html><body style='margin:0'><div id='figure'></div>"


def executed(notebook: Any, folder: Path) -> Any:
    """Return a copy of a notebook, its code run from top to bottom in a folder of its own.

    Parameters
    ----------
    notebook
        Whose outputs are left out.
    folder
        Where it runs; what it writes stays there.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        A cell raised.
    """
    ran = nbformat.from_dict(json.loads(json.dumps(notebook)))  # type: ignore[no-untyped-call]
    for cell in ran.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    with tempfile.TemporaryDirectory() as settings:
        # Figures as data; nobody's own profile, and none of their settings.
        environment = os.environ | {
            "PLOTLY_RENDERER": "plotly_mimetype",
            "IPYTHONDIR": settings,
            "JUPYTER_CONFIG_DIR": settings,
            "JUPYTER_RUNTIME_DIR": settings,
        }
        client = NotebookClient(
            ran,
            timeout=_CELL_SECONDS,
            kernel_name="python3",
            record_timing=False,
            # Whoever else is on the machine can listen to its ports.
            config=Config({"KernelManager": {"transport_encryption": "auto"}}),
            resources={"metadata": {"path": str(folder)}},
        )
        client.execute(env=environment)
    for cell in ran.cells:
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = _joined(cell.outputs)
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = None
    # The version of Python is not what a notebook is about.
    ran.metadata.language_info = {"name": "python"}
    return ran


def texts(cell: Any) -> list[str]:
    """Return what a cell printed and showed, as text and as HTML, in its order."""
    found = []
    for output in cell.get("outputs", ()):
        if output.output_type == "stream":
            found.append(output.text)
        found += [output.data[kind] for kind in sorted(output.get("data", {})) if "text/" in kind]
    return found


def numbers(output: Any) -> list[dict[str, Any]] | None:
    """Return what an output's figure draws, a trace an entry; None where it has no figure."""
    if NUMBERS in output.get("metadata", {}):
        kept: list[dict[str, Any]] = output.metadata[NUMBERS]
        return kept
    figure = output.get("data", {}).get(PLOTLY)
    if figure is None:
        return None
    # Those that a switch would show are other views of the same numbers.
    shown = [trace for trace in figure["data"] if trace.get("visible", True) is True]
    return [{name: trace[name] for name in _DRAWN if name in trace} for trace in shown]


def with_pictures(notebook: Any) -> None:
    """Put a picture, and what it shows in words, in place of every figure."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            figure = output.get("data", {}).get(PLOTLY)
            if figure is None:
                continue
            alt = output.data["text/plain"]
            drawn = numbers(output)
            del output.data[PLOTLY]
            picture, height = _picture(figure)
            output.data["image/png"] = base64.b64encode(picture).decode() + "\n"
            output.metadata = {
                "image/png": {"alt": alt, "width": _WIDTH, "height": height},
                NUMBERS: drawn,
            }
            # For Sphinx, which reads it here.
            cell.metadata["mystnb"] = {"image": {"alt": alt, "width": f"{_WIDTH}px"}}


def _joined(outputs: list[Any]) -> list[Any]:
    """Return outputs with neighbouring pieces of one stream joined: where it was cut is chance."""
    joined: list[Any] = []
    for output in outputs:
        before = joined[-1] if joined else None
        if before is not None and before.get("name") == output.get("name") == "stdout":
            before.text += output.text
        else:
            joined.append(output)
    return joined


def _picture(figure: dict[str, Any]) -> tuple[bytes, int]:
    """Return a figure as PNG, and its height."""
    from playwright.sync_api import sync_playwright
    from plotly.offline import get_plotlyjs

    # Nobody can press a picture's buttons; the title alone needs room.
    layout = {"height": _HEIGHT, **figure["layout"], "updatemenus": [], "width": _WIDTH}
    layout["margin"] = {**layout.get("margin", {}), "t": _TITLE_HEIGHT}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(
            viewport={"width": _WIDTH, "height": layout["height"]}, device_scale_factor=_SCALE
        )
        page.set_content(_PAGE)
        page.add_script_tag(content=get_plotlyjs())
        page.evaluate(
            "([data, layout]) => Plotly.newPlot('figure', data, layout, {staticPlot: true})",
            [figure["data"], layout],
        )
        taken = page.screenshot()
        browser.close()
    return taken, layout["height"]


def main(path: Path) -> None:
    """Run a notebook and write it again, with its outputs."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as folder:
        ran = executed(notebook, Path(folder))
    with_pictures(ran)
    nbformat.validate(ran)
    nbformat.write(ran, path)  # type: ignore[no-untyped-call]
    print(f"{path}: {len(ran.cells)} cells, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
