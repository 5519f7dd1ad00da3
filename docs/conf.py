"""How Sphinx makes the site: ``make docs``. The source folder is the repository, not ``docs/``.

So a link from one page to another, or to a file of the code, is the same relative path in the
repository and in the site. Nothing is fetched when a page is read: no fonts, no scripts of others.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "docs")]

import cryosplat  # noqa: E402

project = "cryosplat"
author = "cryosplat developers"
copyright = author
release = version = cryosplat.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "_site.equations",
    "_site.redirect",
    "_site.api",
    "_site.tutorials",
]
root_doc = "docs/index"
include_patterns = [
    "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**", "recipes/*.md", "benchmarks/README.md",
    "benchmarks/paper/README.md",
]  # fmt: skip
exclude_patterns = [".*", "build", "dist", "shared", "src", "tests", "fuzz", "docs/_site"]
suppress_warnings = [
    "myst.header",  # pages of the repository may begin with a second-level heading
    "misc.highlighting_failure",
]

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_use_rtype = False
add_module_names = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"cryosplat {release}"
html_static_path = ["_site/static"]
html_css_files = ["cryosplat.css"]
html_copy_source = False
html_show_sphinx = False
pygments_style = "friendly"
highlight_language = "none"
