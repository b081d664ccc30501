"""The settings of the site that Sphinx makes of these pages, which loads nothing from elsewhere.

``sphinx-build -W --keep-going -n -b html docs OUT`` builds it.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "site_extensions"), str(HERE.parent / "src")]

from isologit import __version__  # noqa: E402

project = "isologit"
author = "the isologit authors"
version = release = __version__

extensions = [
    *("myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"),
    *("self_contained", "as_written"),
]
exclude_patterns = ["_build"]

# Headings have the anchors that they have where the pages are read as files.
myst_heading_anchors = 4
# Notebooks are run by their tests, and shown with what they printed.
nb_execution_mode = "off"
# What is shown in a block without a language is no program.
highlight_language = "none"

html_theme = "furo"
html_title = f"isologit {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_attr_annotations = False
# Docstrings write names in single backticks.
default_role = "code"
