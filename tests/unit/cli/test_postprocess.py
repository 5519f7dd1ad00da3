"""``cryosplat postprocess`` and ``cryosplat fsc``: files, words, refusals."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tolerances
import torch
from fake_runs import Outcome
from PIL import Image

from cryosplat import GaussianMixture, Grid, RunFolder, read_map, voxelize
from cryosplat.io.mrc import write_map
from cryosplat.io.ply import read_ply, write_ply
from cryosplat.maps.mask import soft_mask, spherical_mask
from cryosplat.run_folder import RunSummary

Cli = Callable[..., Outcome]
GRID = Grid(48, 2.0)


def _mixture() -> GaussianMixture:
    generator = torch.Generator().manual_seed(3)
    means = 9.0 * torch.randn(80, 3, generator=generator)
    turns = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(80, 4)
    return GaussianMixture(means, torch.full((80, 3), 1.5), turns, torch.ones(80))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """The files of a run that postprocessing reads; its headline is 6 Angstrom."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    mixture = _mixture()
    truth = voxelize(mixture, GRID)
    generator = torch.Generator().manual_seed(8)
    noise = 0.05 * float(truth.std()) * torch.randn(2, 48, 48, 48, generator=generator)
    for path, volume in (
        (folder.map, truth + noise.mean(0)), (folder.half1, truth + noise[0]),
        (folder.half2, truth + noise[1]), (folder.mask, soft_mask(truth, GRID)),
    ):  # fmt: skip
        write_map(path, volume.numpy(), GRID.pixel_size)
    arrays = mixture.means, mixture.scales, mixture.quaternions, mixture.amplitudes
    write_ply(folder.gaussians, *(array.numpy() for array in arrays))
    folder.write_summary(RunSummary(box_size=48, pixel_size=2.0, resolution=6.0, n_particles=40))
    frequencies = GRID.shell_frequencies().tolist()
    folder.write_fsc_csv(frequencies, {"half-maps, corrected": frequencies})
    return folder


@pytest.fixture(autouse=True)
def reports(monkeypatch: pytest.MonkeyPatch) -> list[RunFolder]:
    """The runs whose report was written again, which takes no time here."""
    written: list[RunFolder] = []
    monkeypatch.setattr("cryosplat.report.run.write_report", written.append)
    return written


def test_the_run_gets_a_sharpened_map_and_says_how(
    cli: Cli, run: RunFolder, reports: list[RunFolder]
) -> None:
    done = cli("postprocess", run.path)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("resolution  4.00 Å (at Nyquist) under mask.mrc")
    assert lines[1].startswith("B-factor    -") and "measured from 10 to 6.00 Å" in lines[1]
    assert lines[2] == "low-pass    6.00 Å"  # the headline, not the finer half-map FSC
    guinier = run.read_summary().guinier
    assert guinier is not None
    assert guinier.low_pass_angstrom == 6.0 and len(guinier.log_amplitude) == 25
    before, after = (np.abs(np.fft.rfftn(read_map(p).data)) for p in (run.map, run.sharpened))
    assert after[0, 0, 14] > before[0, 0, 14] and after[0, 0, 18] < 1e-4 * before[0, 0, 18]
    assert reports == [run]


def test_a_given_b_factor_and_output_leave_the_run_alone(
    cli: Cli, run: RunFolder, tmp_path: Path, reports: list[RunFolder]
) -> None:
    before = run.summary.read_bytes()
    done = cli("postprocess", run.path, "--b-factor", -50, "-o", tmp_path / "sharp.mrc")
    assert done.code == 0, done.err
    assert "B-factor    -50.0 Å² applied; -" in done.out
    assert read_map(tmp_path / "sharp.mrc").pixel_size == 2.0
    assert run.summary.read_bytes() == before and not run.sharpened.exists()
    assert not reports


def test_gaussians_are_sharpened_too(cli: Cli, run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "sharp.ply"
    done = cli("postprocess", run.path, "--b-factor", -60, "--gaussians", out)
    assert "0 % of the Gaussians' axes reached the floor of 0.2 pixels" in done.out
    expected = (1.5**2 - 60 / (8 * np.pi**2)) ** 0.5
    np.testing.assert_allclose(read_ply(out).scales, expected, **tolerances.FILE_FLOAT32)


def test_a_mask_of_ones_own_is_checked_and_recorded(
    cli: Cli, run: RunFolder, tmp_path: Path
) -> None:
    mask = tmp_path / "tight.mrc"
    write_map(mask, spherical_mask(GRID, 9.0, 0.0).numpy(), 2.0)
    done = cli("postprocess", run.path, "--mask", mask)
    assert done.code == 0, done.err
    assert "! tight.mrc: The mask has a hard edge" in done.out
    assert "! tight.mrc: The mask cuts the molecule" in done.out
    assert set((run.read_summary().masks or {})["user"]) >= {"0.5", "0.143"}
    assert "half-maps, user mask" in run.read_fsc_csv()[1]
    write_map(mask, np.ones((16, 16, 16)), 2.0)
    done = cli("postprocess", run.path, "--mask", mask)
    assert done.code == 2 and "16 x 16 x 16 voxels, the map 48" in done.err


def test_a_folder_that_is_no_run_is_refused(cli: Cli, tmp_path: Path) -> None:
    done = cli("postprocess", tmp_path)
    assert done.code == 2 and "Remedy: give the folder of a finished run" in done.err


def test_the_emdb_folder_holds_maps_of_one_frame(cli: Cli, run: RunFolder, tmp_path: Path) -> None:
    run.write_summary(run.read_summary().model_copy(update={"symmetry": "D7"}))
    folder = tmp_path / "emdb"
    done = cli("postprocess", run.path, "--emdb", folder)
    assert done.code == 0, done.err
    names = ("map", "map_unsharpened", "half_map_1", "half_map_2", "mask")
    assert {p.name for p in folder.iterdir()} == {
        "README.txt", "fsc.xml", "image.png", *(f"{name}.mrc" for name in names)
    }  # fmt: skip
    maps = {name: read_map(folder / f"{name}.mrc") for name in names}
    assert {(m.data.shape, m.pixel_size, m.origin) for m in maps.values()} == {
        ((48, 48, 48), 2.0, (0.0, 0.0, 0.0))
    }
    np.testing.assert_array_equal(maps["half_map_1"].data, read_map(run.half1).data)
    np.testing.assert_array_equal(maps["map"].data, read_map(run.sharpened).data)
    text = (folder / "README.txt").read_text()
    assert all(f"{name}.mrc" in text for name in names)
    assert "Resolution               6.00 Å" in text and "48 x 48 x 48 voxels" in text
    assert "Symmetry imposed         D7" in text and "Report 6.00 Å." in text
    assert "falls below 0.143 at 4.00 Å" in " ".join(text.split())
    levels = re.findall(r"^(\S+)\.mrc  .* ([\d.e-]+)$", text, re.MULTILINE)
    inside = maps["mask"].data > 0.5
    filled = {name: int((maps[name].data[inside] > float(level)).sum()) for name, level in levels}
    assert len(filled) == 5 and filled.pop("mask") == inside.sum()
    assert 0 < max(filled.values()) < 1.02 * min(filled.values()) < 0.5 * inside.sum()
    with Image.open(folder / "image.png") as image:
        assert (image.size, image.mode) == ((500, 500), "RGB")
        assert image.getpixel((0, 0)) == (255, 255, 255) and image.getextrema()[0][0] < 150
    assert len(ElementTree.parse(folder / "fsc.xml").getroot()) == 25
    again = cli("postprocess", run.path, "--emdb", folder)
    assert again.code == 2 and "exists already and is not empty" in again.err


def test_relion_takes_the_names_it_is_given(cli: Cli, run: RunFolder, tmp_path: Path) -> None:
    program = shutil.which("relion_postprocess")
    if program is None:
        pytest.skip("relion_postprocess is not installed")
    folder = tmp_path / "relion"
    done = cli("postprocess", run.path, "--relion-names", folder)
    assert sorted(p.name for p in folder.iterdir()) == [
        "mask.mrc", "run_half1_class001_unfil.mrc", "run_half2_class001_unfil.mrc",
    ]  # fmt: skip
    (command,) = (line for line in done.out.splitlines() if line.startswith("Next: "))
    words = command.removeprefix("Next: ").split()
    subprocess.run([program, *words[1:]], capture_output=True, check=False)
    assert read_map(folder / "postprocess.mrc").data.shape == (48, 48, 48)


def _held(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def test_no_file_of_the_run_is_replaced(cli: Cli, run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "linked.mrc").symlink_to(run.half2)
    before = _held(run.path)
    for option, out, said in (
        ("-o", run.half1, "would replace the file it is made from"),
        ("-o", run.path / ".." / "run" / "map.mrc", "would replace the file it is made from"),
        ("-o", tmp_path / "linked.mrc", "would replace the file it is made from"),
        ("-o", run.voxel_map, "a run has a file of its own there"),
        ("-o", run.summary, "maps are written as .mrc or .map"),
        ("--gaussians", run.gaussians, "would replace the file it is made from"),
        ("--gaussians", run.half1_gaussians, "a run has a file of its own there"),
        ("--gaussians", run.map, "Gaussians are written as .ply"),
    ):
        done = cli("postprocess", run.path, option, out)
        assert done.code == 2 and said in done.err, (option, out)
    mask = tmp_path / "mask.mrc"
    shutil.copyfile(run.mask, mask)
    done = cli("postprocess", run.path, "--mask", mask, "-o", mask)
    assert done.code == 2 and "would replace the file it is made from" in done.err
    assert _held(run.path) == before
    assert cli("postprocess", run.path, "-o", run.sharpened).code == 0


def test_folders_for_others_must_be_new(cli: Cli, run: RunFolder, tmp_path: Path) -> None:
    before = _held(run.path)
    for option in ("--emdb", "--relion-names"):
        done = cli("postprocess", run.path, option, run.path)
        assert done.code == 2 and "exists already and is the folder of a run" in done.err
        assert "give the name of a new folder" in done.err and "overwrite" not in done.err
        done = cli("postprocess", run.path, option, tmp_path / "none" / "new")
        assert done.code == 2 and "does not exist" in done.err
    both = tmp_path / "both"
    done = cli("postprocess", run.path, "--emdb", both, "--relion-names", both)
    assert done.code == 2 and "the same folder" in done.err
    assert _held(run.path) == before and [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("b_factor", ["nan", "inf", "-inf", "-10001"])
def test_an_absurd_b_factor_is_refused(cli: Cli, run: RunFolder, b_factor: str) -> None:
    done = cli("postprocess", run.path, "--b-factor", b_factor)
    assert done.code == 2 and "SettingsError: --b-factor" in done.err
    assert not run.sharpened.exists()


def test_fsc_with_automatic_masks(cli: Cli, run: RunFolder, tmp_path: Path) -> None:
    outs = [tmp_path / f"fsc.{suffix}" for suffix in ("csv", "xml", "svg")]
    options = [word for out in outs for word in ("-o", out)]
    done = cli("fsc", run.half1, run.half2, "--mask", "auto", *options)
    assert done.code == 0, done.err
    rows = [line.split("  ")[0] for line in done.out.splitlines()]
    assert rows == [
        "FSC", "corrected, auto", "corrected, loose", "corrected, tight", "masked, auto",
        "masked, loose", "masked, tight", "unmasked",
    ]  # fmt: skip
    header = outs[0].read_text().splitlines()[0]
    assert header.endswith('unmasked,"random phases, auto mask","random phases, loose mask",'
                           '"random phases, tight mask"')  # fmt: skip
    assert ElementTree.parse(outs[1]).getroot().attrib["title"] == "FSC, corrected, auto mask"
    assert "corrected" in outs[2].read_text()


def test_fsc_names_what_is_wrong_with_a_mask(cli: Cli, run: RunFolder, tmp_path: Path) -> None:
    mask = tmp_path / "hard.mrc"
    volume = read_map(run.map).data
    write_map(mask, (volume > 0.3 * volume.max()).astype(np.float32), 2.0)
    done = cli("fsc", run.half1, run.half2, "--mask", mask)
    assert done.code == 0, done.err
    assert "! mask: The mask cuts the molecule" in done.out


def test_fsc_of_two_boxes_says_which(cli: Cli, run: RunFolder, tmp_path: Path) -> None:
    write_map(tmp_path / "other.mrc", np.ones((24, 24, 24)), 2.0)
    done = cli("fsc", run.half1, tmp_path / "other.mrc")
    assert done.code == 2
    assert "has a box of 48 voxels" in done.err and "--new_box 48" in done.err
    write_map(tmp_path / "slab.mrc", np.ones((8, 24, 24)), 2.0)
    done = cli("fsc", run.half1, tmp_path / "slab.mrc")
    assert done.code == 2 and "24 x 24 x 8 voxels, expected a cube" in done.err
