r"""Equations as drawings in the page: no script, no font, the same in every browser.

``\tag{3}`` at the end of an equation is its number, as it is where the repository is browsed. The
LaTeX is kept as the drawing's text for those who do not see it.
"""

from __future__ import annotations

import html
import re
from functools import lru_cache
from typing import Any

import ziamath
from docutils import nodes

SIZE = 19.0  # pixels; the page's letters have 16, and those of the font are small for their size
TAG = re.compile(r"\\tag\{(\w+)\}")

ziamath.config.svg2 = False  # no references from one drawing to another's glyphs
ziamath.config.precision = 2


@lru_cache(maxsize=4096)
def drawing(latex: str, inline: bool) -> str:
    """An equation as an ``<svg>`` element that takes the colour of the text around it."""
    drawn = ziamath.Latex(latex, size=SIZE, inline=inline, color="currentColor")
    shift = f' style="vertical-align: {drawn.getyofst():.2f}px"' if inline else ""
    label = html.escape(" ".join(latex.split()), quote=True)
    return drawn.svg().replace("<svg ", f'<svg role="img" aria-label="{label}"{shift} ', 1)


def _inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(f'<span class="math">{drawing(node.astext().strip(), True)}</span>')
    raise nodes.SkipNode


def _block(writer: Any, node: nodes.math_block) -> None:
    latex = node.astext().strip()
    found = TAG.search(latex)
    number, name = "", ""
    if found:
        latex = TAG.sub("", latex).strip()
        name = f' id="equation-{found[1]}"'
        number = f'<a class="eqno" href="#equation-{found[1]}">({found[1]})</a>'
    body = f'<span class="drawing">{drawing(latex, False)}</span>'
    writer.body.append(f'<div class="math"{name}>{body}{number}</div>\n')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("drawing", (_inline, None), (_block, None))
    app.config.html_math_renderer = "drawing"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
