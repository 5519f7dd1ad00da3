"""A run as one self-contained page: no script, no network, reads on a phone, prints on two sheets."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..io.atomic import write_text
from . import wording
from ._quality import local_resolution
from .evidence import Evidence, Panel
from .glossary import Glossary
from .pictures import Tile, local_sections, sections, surfaces

HERE = Path(__file__).parent
DECLARED = re.compile(r"<\?xml.*?<svg ", re.DOTALL)
DESCRIBED = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
STYLED = re.compile(r"<style[^>]*>.*?</style>", re.DOTALL)
NAMED = re.compile(r' xmlns(?::xlink)?="[^"]*"')
SIZED = re.compile(r'(<svg [^>]*?)width="[^"]*pt"([^>]*?)height="[^"]*pt"', re.DOTALL)
SIZED_TALL_FIRST = re.compile(r'(<svg [^>]*?)height="[^"]*pt"([^>]*?)width="[^"]*pt"', re.DOTALL)
UNITS = re.compile(r"(?<=\d) (Å|σ|%|px|GB|s\b)")
"""No line ends between a number and its unit."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """A heading and its panels."""

    title: str
    panels: list[Panel]


def write_page(run: Evidence, chapters: list[Chapter]) -> None:
    """Write ``report.html``; the figures of ``chapters`` exist already."""
    found = wording.findings(run)
    pictures = surfaces(run)
    painted = local_resolution(run)
    render_page(
        run,
        "page.html",
        title=f"{_name(run)}: {run.headline.angstrom}",
        chapters=chapters,
        headline=run.headline,
        findings=found,
        verdict=wording.verdict(run, found),
        facts=wording.facts(run),
        picture=pictures[0] if pictures else None,
        views=pictures[1:],
        colours=None if painted is None else (f"{painted.low:.1f}", f"{painted.high:.1f}"),
        sections=sections(run),
        local=local_sections(run),
        resolutions=wording.resolutions(run),
        data=wording.data_table(run),
        settings=wording.settings_table(run),
        timings=wording.timings_table(run),
    )


def render_page(
    run: Evidence, template: str, title: str, chapters: list[Chapter], **values: object
) -> None:
    """Write ``report.html`` from a template of this folder that fills the blocks of ``base.html``."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    glossary = Glossary()
    environment.filters |= {"embedded": embedded, "drawn": drawn, "explained": glossary.explained}
    environment.globals["words"] = glossary.words
    origin = run.section("provenance")
    text = environment.get_template(template).render(
        title=title,
        name=_name(run),
        source=Path(str(run.summary.get("particles", ""))).name,
        program=f"cryosplat {origin.get('versions', {}).get('cryosplat', '')}",
        date=str(origin.get("date", ""))[:16].replace("T", " "),
        style=(HERE / "page.css").read_text("utf-8"),
        chapters=[chapter for chapter in chapters if chapter.panels],
        command=origin.get("command", ""),
        directory=origin.get("working_directory", ""),
        origin=wording.origin_table(run),
        **values,
    )
    write_text(run.folder.report, UNITS.sub("\u00a0\\1", text))


def _name(run: Evidence) -> str:
    return (run.folder.target or run.folder.path).name


def embedded(tile: Tile) -> str:
    """A picture as part of the page."""
    return "data:image/png;base64," + base64.b64encode(tile.png).decode("ascii")


def drawn(panel: Panel) -> str:
    """The panel's SVG as part of the page: without size and style, its names its own."""
    text = panel.path.with_name(panel.path.name + ".svg").read_text("utf-8")
    text = DECLARED.sub("<svg ", text, count=1)
    text = NAMED.sub("", STYLED.sub("", DESCRIBED.sub("", text)), count=2)
    text = SIZED_TALL_FIRST.sub(r"\1\2", SIZED.sub(r"\1\2", text, count=1), count=1)
    prefix = panel.path.name
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r"url\(#", f"url(#{prefix}-", text)
    return re.sub(r'href="#', f'href="#{prefix}-', text)
