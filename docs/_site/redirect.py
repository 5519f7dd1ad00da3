"""``index.html`` at the top of the site, which leads to the first page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PAGE = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={0}">\n'


def _write(app: Any, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":
        target = app.config.root_doc + ".html"
        (Path(app.outdir) / "index.html").write_text(PAGE.format(target), "utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("build-finished", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
