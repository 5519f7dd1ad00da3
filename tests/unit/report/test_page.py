"""The page of a run: whole, offline, honest in its first lines, and made from the folder alone."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from browser import browser
from full_runs import change_summary, fill_run, plain_run, write_summary

from cryosplat import InputError, RunFolder
from cryosplat.report import _drawing, pictures
from cryosplat.report.evidence import Evidence
from cryosplat.report.glossary import Glossary
from cryosplat.report.run import write_report
from cryosplat.report.wording import findings, settings_table, verdict

LARGEST_PAGE = 6_000_000  # bytes
OPTIONAL = (
    ("notes", "noise_substitution", "masks", "candidates", "guinier"),
    ("directional", "views", "local_resolution", "uncertainty", "model"),
    ("trials", "resolutions", "timings", "settings", "provenance"),
    ("contrast", "gaussians", "n_half", "n_particles", "resolution", "resolution_from"),
)


LABELS = """[...document.querySelectorAll('.panels svg')].flatMap(svg => {
  const edge = svg.getBoundingClientRect();
  const all = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
  const texts = all.filter(([_, r]) => r.width > 0);
  return %s;
})"""
CLIPPED = """texts.filter(([_, r]) => r.left < edge.left - 1 || r.right > edge.right + 1
  || r.top < edge.top - 1 || r.bottom > edge.bottom + 1).map(([name]) => name)"""
OVERPRINTED = """texts.flatMap(([a, r], i) => texts.slice(i + 1).filter(([_, s]) =>
  Math.min(r.right, s.right) - Math.max(r.left, s.left) > 2
  && Math.min(r.bottom, s.bottom) - Math.max(r.top, s.top) > 3).map(([b]) => a + ' on ' + b))"""


@pytest.fixture
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of few pixels and charts that are not painted, where they are not what is tested."""
    for name in ("LARGE", "SMALL", "TILE"):
        monkeypatch.setattr(pictures, name, 40)

    def save(drawing: object, path: Path) -> None:
        path.write_text("<?xml version='1.0'?><svg viewBox='0 0 1 1'></svg>")

    monkeypatch.setattr(_drawing, "save", save)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with everything, and its report."""
    folder = plain_run(tmp_path_factory.mktemp("runs") / "full")
    fill_run(folder)
    write_report(folder)
    return folder


def _changed(folder: RunFolder, **values: object) -> Evidence:
    change_summary(folder, **values)
    return Evidence.read(folder)


def _text(folder: RunFolder) -> str:
    page = folder.report.read_text("utf-8")
    page = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_the_page_needs_nothing_but_itself(full: RunFolder) -> None:
    page = full.report.read_text("utf-8")
    assert len(page.encode()) < LARGEST_PAGE
    assert "<script" not in page and "@import" not in page
    linked = re.findall(r'(?:src|href)="([^"]{0,40})', page)
    assert linked and all(link.startswith(("data:", "#")) for link in linked)
    names = re.findall(r'\bid="([^"]+)"', page)
    assert len(names) == len(set(names))


def test_the_page_shows_every_kind_of_evidence(full: RunFolder) -> None:
    text = _text(full)
    for title in (
        "Half-map FSC", "Cross-FSC", "Noise substitution", "Unseen particles", "Local resolution",
        "Viewing directions", "Terms", "Conical FSC area ratio", "EMDB form", "6.50 Å, method OTHER",
        "Resolution by direction", "Guinier plot", "The Gaussians", "Uncertainty of the Gaussians",
        "Map with model", "Residues in the map", "Map, as Gaussians", "Voxel baseline",
        "Data set", "Settings", "How to repeat it", "cryosplat reconstruct a.star -o r",
    ):  # fmt: skip
        assert title in text, title


def test_every_figure_is_also_a_file(full: RunFolder) -> None:
    drawn = sorted(p.stem for p in full.figures.glob("*.svg"))
    assert "fsc" in drawn and "viewing_directions" in drawn and len(drawn) >= 11
    for stem in drawn:
        ElementTree.parse(full.figures / f"{stem}.svg")
        assert (full.figures / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
    for stem in ("surface", "surface_x", "surface_y", "surface_z"):
        assert (full.figures / f"{stem}.png").exists()
    assert full.fsc_figure.exists() and full.fsc_figure.with_suffix(".svg").exists()


def test_alarms_lead_and_are_words(full: RunFolder) -> None:
    text = _text(full)
    alarm = text.index("The half-sets share 212 particles")
    assert text.index("One alarm: do not trust this map") < alarm
    assert alarm < text.index("the voxel baseline confirms only") < text.index("Views cover")
    assert alarm < text.index("Half-map FSC")
    assert "Remove the duplicates" in text


@pytest.mark.usefixtures("small_pictures")
@pytest.mark.parametrize("absent", OPTIONAL, ids=lambda keys: keys[0])
def test_the_page_does_without(absent: tuple[str, ...], tmp_path: Path) -> None:
    folder = plain_run(tmp_path / "run", box=16)
    fill_run(folder)
    kept = json.loads(folder.summary.read_text())
    write_summary(folder, {key: value for key, value in kept.items() if key not in absent})
    write_report(folder)
    assert "How to repeat it" in _text(folder)


@pytest.mark.usefixtures("small_pictures")
def test_a_run_of_box_and_pixel_size_alone_has_a_page(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write_summary(folder, {"box_size": 16, "pixel_size": 2.0})
    write_report(folder)
    assert "Report no resolution." in _text(folder)


@pytest.mark.usefixtures("small_pictures")
def test_a_map_without_density_has_a_page(tmp_path: Path) -> None:
    from cryosplat import write_map

    folder = plain_run(tmp_path / "run", box=16)
    write_map(folder.map, np.zeros((16, 16, 16), np.float32), 2.5)
    write_report(folder)
    assert "Isosurface" not in folder.report.read_text("utf-8")


@pytest.mark.usefixtures("small_pictures")
def test_the_report_is_remade_alike_from_the_folder(tmp_path: Path) -> None:
    folder = plain_run(tmp_path / "run", box=16)
    write_report(folder)
    made = (folder.report, folder.fsc_figure, folder.chimerax, folder.figures / "fsc.svg")
    first = [path.read_bytes() for path in made]
    for path in made:
        path.unlink()
    write_report(folder)
    assert [path.read_bytes() for path in made] == first


def test_no_run_no_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.json: cannot be read"):
        write_report(RunFolder(tmp_path))
    RunFolder(tmp_path).summary.write_text('{"box_size": 16}')
    with pytest.raises(
        InputError, match=r"run\.json: not the summary of a run \(pixel_size: Field"
    ):
        write_report(RunFolder(tmp_path))


@pytest.mark.usefixtures("small_pictures")
def test_what_the_run_says_cannot_become_markup(tmp_path: Path) -> None:
    folder = plain_run(tmp_path / "run", box=16)
    told = {"code": "a", "severity": "warning", "text": "<img src=x onerror=alert(1)> & more"}
    _changed(folder, notes=[told])
    write_report(folder)
    page = folder.report.read_text("utf-8")
    assert "<img src=x" not in page and "&lt;img src=x onerror=alert(1)&gt; &amp; more" in page


def test_one_headline_is_in_the_page_the_table_and_run_json(tmp_path: Path) -> None:
    folder = plain_run(tmp_path / "run", box=16)
    run = Evidence.read(folder)
    assert (run.headline.number, run.headline.advice) == ("6.50", "Report 6.50 Å.")
    assert run.headline.method == "OTHER (cross-FSC with the voxel baseline)"
    assert "falls below 0.143 at 6.00 Å" in run.headline.fsc_xml
    assert run.headline.fsc_xml.endswith("enter 6.50 Å.")
    assert json.loads(folder.summary.read_text())["headline"] == run.headline.model_dump()
    halves = _changed(folder, resolution=6.0, resolution_from="half-maps").headline
    assert halves.method == "FSC 0.143 CUT-OFF" and halves.fsc_xml == ""
    limited = _changed(folder, resolution_at_nyquist=True).headline
    assert limited.at_nyquist and "the pixel size limits it" in limited.advice
    alarm = {"code": "a", "severity": "alarm", "text": "Wrong."}
    assert "Resolve the alarms" in _changed(folder, notes=[alarm]).headline.advice
    nothing = _changed(folder, resolution=None, notes=None).headline
    assert (nothing.number, nothing.advice, nothing.method) == ("none", "Report no resolution.", "")


def test_settings_say_what_was_chosen_instead(tmp_path: Path) -> None:
    folder = plain_run(tmp_path / "run", box=16)
    given = {"gaussians": None, "mask": None, "model": None, "contrast": "auto", "steps": None}
    rows = dict(settings_table(_changed(folder, settings=given)))
    assert rows == {
        "gaussians": "chosen from the data: 100", "mask": "generated", "model": "not given",
        "contrast": "detected: bright", "steps": "default: 40",
    }  # fmt: skip


def test_terms_are_explained_once_and_cannot_become_markup() -> None:
    glossary = Glossary()
    text = glossary.explained("cross-FSC <b> and FSC, FSC: half-maps")
    assert (
        text.count("<abbr") == 3 and "&lt;b&gt;" in text and text.count('title="FSC between') == 1
    )
    assert [term for term, _ in glossary.words()] == ["cross-FSC", "FSC", "half-maps"]
    assert "<abbr" not in glossary.explained("priority, FSCs and half-mapsy")


def test_a_verdict_is_given_only_where_controls_ran(tmp_path: Path) -> None:
    folder = plain_run(tmp_path / "run", box=16)
    run = Evidence.read(folder)
    assert verdict(run, findings(run)) == ""
    run = _changed(folder, notes=[])
    assert verdict(run, findings(run)) == "No control raised an alarm."
    note = {"code": "a", "severity": "note", "text": "fine"}
    alarms = [note | {"severity": "alarm", "text": t} for t in ("first", "second")]
    run = _changed(folder, notes=[note, *alarms, note | {"severity": "warning", "text": "else"}])
    found = findings(run)
    assert [f.text for f in found] == ["first", "second", "else", "fine"]
    assert verdict(run, found).startswith("Two alarms: do not trust")


def test_the_page_fits_phone_desktop_and_two_sheets(full: RunFolder) -> None:
    with browser() as page:
        page.open(full.report.as_uri(), 1280, 800)
        bottom = page.value(
            "document.querySelector('.findings .alarm').getBoundingClientRect().bottom"
        )
        assert bottom < 800
        assert page.value("document.querySelector('.hero img').naturalWidth") == pictures.LARGE
        hidden = "[...document.querySelectorAll('.scroll')].map(e => e.scrollWidth - e.clientWidth)"
        assert page.value(hidden) == [0]
        for width in (1280, 768, 360):
            page.size(width, 800)
            assert page.value("document.documentElement.scrollWidth") <= width
        smallest = page.value(
            "Math.min(...[...document.querySelectorAll('.panels svg text')]"
            ".map(t => t.getBoundingClientRect()).map(r => Math.min(r.width, r.height))"
            ".filter(v => v > 0))"
        )
        assert smallest > 3
        assert page.value(LABELS % CLIPPED) == [] and page.value(LABELS % OVERPRINTED) == []
        sheets = len(re.findall(rb"/Type\s*/Page\b(?!s)", page.pdf()))
        assert sheets == 2
        assert page.problems == []
        assert all(url.startswith(("file:", "data:")) for url in page.asked)


def test_water_is_drawn_where_there_is_any(tmp_path: Path, small_pictures: None) -> None:
    folder = plain_run(tmp_path / "wet")
    water = {"contrast": 0.93, "contrast_error": 0.01, "b_factor": 2000.0, "b_factor_error": 50.0,
             "half_sets": [[0.92, 1950.0], [0.94, 2050.0]], "gain": 0.2}  # fmt: skip
    change_summary(folder, solvent=water)
    write_report(folder)
    assert "k 0.93 ± 0.01, B 2,000 ± 50" in _text(folder)
    assert folder.figures.joinpath("solvent.svg").exists()
    change_summary(folder, solvent={"contrast": 0.0, "b_factor": 0.0})
    write_report(folder)
    assert "Water" not in _text(folder)
