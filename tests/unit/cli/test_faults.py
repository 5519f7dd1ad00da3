"""Faults that were found by trying, and their kinds: each ends as a user would expect."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_sets import DataSet, star_block, write_cs
from dialects import Told, cistem, cistem_columns
from fake_runs import Outcome

from cryosplat import read_particles
from cryosplat.io.mrc import write_stack

Cli = Callable[..., Outcome]
Star = Callable[..., Path]
PROGRAM = [sys.executable, "-c", "from cryosplat.cli import main; main()"]


@pytest.mark.parametrize(
    ("replaced", "words"),
    [
        ({"optics_rlnVoltage": [300000]}, "voltage is 300000 kV, expected 10 to 3000 kV"),
        (
            {"optics_rlnSphericalAberration": [2.7e7]},
            "spherical aberration is 2.7e+07 mm, expected",
        ),
        ({"optics_rlnImagePixelSize": [0]}, "pixel size is 0 Å, expected more than 0"),
        ({"optics_rlnAmplitudeContrast": [10]}, "amplitude contrast is 10, expected"),
        ({"rlnDefocusU": [float("nan")] * 12}, "rlnDefocusU is 'nan', expected a number"),
    ],
)
def test_numbers_are_told_as_they_were_written(
    cli: Cli, star: Star, tmp_path: Path, replaced: dict, words: str
) -> None:
    done = cli("convert", star(**replaced), "-o", tmp_path / "x.star")
    assert done.code == 2 and words in done.err and "Remedy: " in done.err


@pytest.mark.parametrize("label", ["rlnNormCorrection", "rlnLogLikeliContribution", "myOwnColumn"])
def test_nan_in_a_column_that_is_not_applied(
    cli: Cli, star: Star, tmp_path: Path, label: str
) -> None:
    path = star(**{label: [float("nan")] * 12})
    assert cli("convert", path, "-o", tmp_path / "x.star").code == 0


def some_told() -> Told:
    rng = np.random.default_rng(3)
    angles, images = rng.uniform(0, 180, (12, 3)), rng.normal(size=(12, 8, 8)).astype(np.float32)
    none, defocus = np.zeros(12), np.full((12, 3), 1e4)
    group = np.zeros(12, int)
    return Told(
        images, angles, rng.normal(size=(12, 2)), defocus, none, none, none + 1, group + 1, group
    )


@pytest.mark.parametrize(
    "field", ["alignments3D__alpha", "ctf__scale_const", "alignments3D__error", "blob__import_sig"]
)
def test_nan_in_a_field_of_cryosparc_that_is_not_applied(
    cli: Cli, data_set: DataSet, tmp_path: Path, field: str
) -> None:
    path = write_cs(data_set, tmp_path / "p.cs", **{field: np.full(12, np.nan, np.float32)})
    assert cli("convert", path, "-o", tmp_path / "x.star").code == 0


@pytest.mark.parametrize("label", ["cisTEMOccupancy", "cisTEMBeamTiltX", "cisTEMPreExposure"])
def test_nan_in_a_column_of_cistem_that_is_not_applied(
    cli: Cli, tmp_path: Path, label: str
) -> None:
    told = some_told()
    path = cistem(told, tmp_path)
    path.write_text(star_block("", {**cistem_columns(told), label: ["nan"] * told.n}))
    assert cli("convert", path, "-o", tmp_path / "x.star").code == 0


def test_byte_order_of_a_table_does_not_matter(cli: Cli, data_set: DataSet, tmp_path: Path) -> None:
    rows = np.load(write_cs(data_set, tmp_path / "p.cs"))
    written = []
    for order in "<>":
        with (tmp_path / "p.cs").open("wb") as stream:
            np.save(stream, rows.astype(rows.dtype.newbyteorder(order)))
        assert cli("convert", tmp_path / "p.cs", "-o", tmp_path / "x.star", "--overwrite").code == 0
        written.append((tmp_path / "x.star").read_text())
    assert written[0] == written[1]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_tables_that_went_through_an_editor(
    cli: Cli, star: Star, tmp_path: Path, encoding: str
) -> None:
    path = star()
    path.write_text(path.read_text(), encoding=encoding)
    assert cli("convert", path, "-o", tmp_path / "x.star").code == 0


FOREIGN = {
    ".gz": (b"\x1f\x8b", "gzip -dc"), ".zst": (b"\x28\xb5\x2f\xfd", "zstd -dc"),
    ".xz": (b"\xfd7zXZ", "xz -dc"), ".tif": (b"II*\0", "e2proc2d.py"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", FOREIGN)
def test_compressed_stacks_and_tables_have_a_remedy(
    cli: Cli, star: Star, tmp_path: Path, suffix: str
) -> None:
    """However short, whether named by a table, given as PARTICLES or looked at by ``check``."""
    magic, remedy = FOREIGN[suffix]
    path, stack, out = star(), tmp_path / f"particles.mrcs{suffix}", tmp_path / "x.star"
    stack.write_bytes(magic + bytes(9))
    path.write_text(path.read_text().replace("@particles.mrcs", f"@{stack.name}"))
    disguised = tmp_path / "disguised.star"
    disguised.write_bytes(magic + bytes(9))
    for given in (path, stack, disguised):
        done = cli("convert", given, "-o", out)
        assert done.code == 2 and f"Remedy: {remedy} " in done.err
    done = cli("check", path)
    assert done.code == 1 and remedy in done.out and "--drop-missing" not in done.out


@pytest.mark.parametrize("block", ["Particles", "my_set", "images", ""])
def test_the_one_table_of_particles_may_have_any_name(
    cli: Cli, star: Star, tmp_path: Path, block: str
) -> None:
    path = star()
    path.write_text(path.read_text().replace("data_particles", f"data_{block}"))
    assert cli("convert", path, "-o", tmp_path / "x.star").code == 0
    assert len(read_particles(tmp_path / "x.star")) == 12


NAMES = [
    "[red] [/ab]", "my set; $HOME & 'a' \"b\" ~", "-x", os.fsdecode(b"M\xfcller \xc3\xa9"),
    "x\u202ey\t#1 100%{x}%s", "x" * 250,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("quick_report", "fake_recipe")
def test_folders_of_any_name(cli: Cli, data_set: DataSet, tmp_path: Path, name: str) -> None:
    """As the particles' and as the run's; what is printed is the name itself."""
    given = tmp_path / name / "particles.star"
    given.parent.mkdir(parents=True)
    given.write_text(data_set.star_rows())
    data_set.folder.joinpath("particles.mrcs").rename(given.parent / "particles.mrcs")
    done = cli("reconstruct", given, "-o", tmp_path / "run" / name)
    assert done.code == 2 and "Remedy: mkdir -p " in done.err
    (tmp_path / "run" / name).parent.mkdir(parents=True)
    done = cli("reconstruct", given, "-o", tmp_path / "run" / name)
    assert done.code == 0, done.err
    run = tmp_path / "run" / name
    assert (run / "report.html").is_file() and os.listdir(run.parent) == [run.name]
    if name.isprintable():
        assert f"Map        {tmp_path}/run/{name}/map.mrc" in done.out
    assert cli("report", tmp_path / "run" / name).code == 0


@pytest.mark.parametrize("name", [os.fsdecode(b"m\xfc.mrcs"), "m [1].mrcs", "é.mrcs", "a@b.mrcs"])
def test_stacks_of_any_name(cli: Cli, data_set: DataSet, tmp_path: Path, name: str) -> None:
    (tmp_path / "particles.mrcs").rename(tmp_path / name)
    text = data_set.star_rows(
        rlnImageName=[f'"{i + 1}@{name}"' if " " in name else f"{i + 1}@{name}" for i in range(12)]
    )
    (tmp_path / "named.star").write_bytes(os.fsencode(text))
    done = cli("convert", tmp_path / "named.star", "-o", tmp_path / "x.star")
    assert done.code == 0, done.err
    assert len(next(read_particles(tmp_path / "x.star").batches()).images) == 12


@pytest.mark.usefixtures("quick_report")
@pytest.mark.parametrize("box_size", [4, 7])
def test_tiny_boxes_and_few_particles(
    cli: Cli, star: Star, data_set: DataSet, box_size: int
) -> None:
    """There is little to be seen, but nothing that ends a run."""
    images = data_set.images[:, :box_size, :box_size]
    write_stack(data_set.folder / "particles.mrcs", images, data_set.pixel_size)
    path, run = star(optics_rlnImageSize=[box_size]), data_set.folder / "run"
    done = cli("reconstruct", path, "-o", run, "--steps", 3, "--quick")
    assert done.code in (0, 1) and (run / "report.html").is_file(), done.err
    done = cli("check", path)
    assert done.code == 0, done.out


@pytest.mark.parametrize("folder", ["two\nlines", "'both' \"quotes\"", "a\ttab"])
def test_folders_whose_names_no_star_file_can_hold(
    cli: Cli, data_set: DataSet, tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / folder / "set"
    inside.mkdir(parents=True)
    (inside / "p.star").write_text(data_set.star_rows())
    (tmp_path / "particles.mrcs").rename(inside / "particles.mrcs")
    monkeypatch.chdir(tmp_path / folder)
    for out in ("x.star", "../y.star"):
        assert cli("convert", "set/p.star", "-o", out).code == 0
    assert len(read_particles("x.star")) == 12
    assert len(read_particles("../y.star", datadir="set")) == 12


PIXELS: dict[str, Callable[[np.ndarray], object]] = {
    "NaN": lambda image: np.put(image, 27, np.nan),
    "infinity": lambda image: np.put(image, 27, np.inf),
    "1e25": lambda image: np.put(image, 27, 1e25),
    "1e30": lambda image: np.put(image, 27, -1e30),
    "constant": lambda image: image.fill(3.0),
}


@pytest.mark.parametrize("kind", PIXELS)
def test_damaged_pixels_are_named_with_their_row(
    cli: Cli, star: Star, data_set: DataSet, kind: str
) -> None:
    star()
    images = data_set.images.copy()
    PIXELS[kind](images[7])
    write_stack(data_set.folder / "particles.mrcs", images, data_set.pixel_size)
    path = data_set.folder / "particles.star"
    done = cli("reconstruct", path, "-o", data_set.folder / "run")
    assert done.code == 2 and "Warning" not in done.err, done.err
    assert "ImageError" in done.err and "row 8: image 8 of" in done.err
    done = cli("check", path, "--no-trial")
    assert done.code == 1 and "Warning" not in done.err


@pytest.mark.parametrize("change", [-1, 1, 64, 512])
def test_a_stack_that_is_a_little_too_short_or_long(
    cli: Cli, star: Star, data_set: DataSet, change: int
) -> None:
    path, stack = star(), data_set.folder / "particles.mrcs"
    content = stack.read_bytes()
    stack.write_bytes(content[:change] if change < 0 else content + bytes(change))
    done = cli("convert", path, "-o", data_set.folder / "x.star")
    assert done.code == 2 or (change > 0 and done.code == 0)
    assert done.code == 0 or ("particles.mrcs" in done.err and "Remedy" in done.err)


ENVIRONMENTS = [
    {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "MPLCONFIGDIR": "/proc/none",
     "NUMBA_NUM_THREADS": "many", "OMP_NUM_THREADS": "-1"},
    {"NUMBA_CACHE_DIR": "/proc/none", "HOME": "/proc/none", "TMPDIR": "/proc/none", "COLUMNS": "1",
     "TERM": "", "PYTHONOPTIMIZE": "2", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="/proc stands for folders that cannot be made")
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_odd_environments(star: Star, tmp_path: Path, environment: dict[str, str]) -> None:
    command = [*PROGRAM, "check", str(star()), "--no-trial", "--fix", str(tmp_path / "x.star")]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode in (0, 1) and "12 of 12 particles" in done.stdout, done.stderr
    assert "Traceback" not in done.stderr and len(read_particles(tmp_path / "x.star")) == 12


HEAVY = "torch", "numba", "scipy", "pandas", "matplotlib", "numpy"
MISSING = [
    "reconstruct no.star -o x", "check no.star", "convert no.star -o x.star", "abinit no.star -o x",
    "refine no.star -o x", "classify no.star -o x", "motion no.star -o x", "simulate no.pdb -o x",
    "fsc no.mrc no.mrc", "postprocess no", "report no", "view no", "symmetrize no -o x.mrc",
    "voxelize no.ply -o x.mrc", "--help", "--version", "reconstruct --help", "reconstruct",
]  # fmt: skip


def test_what_is_not_there_is_told_before_anything_large_is_imported(tmp_path: Path) -> None:
    """Half a second after the start, then, and not three."""
    code = f"""
import sys
from cryosplat.cli import main
for words in {MISSING}:
    try: main(words.split())
    except SystemExit as stop: print(words, '->', stop.code or 0, file=sys.stderr)
sys.exit(' '.join(name for name in {HEAVY} if name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stderr.strip().splitlines()[-1] == "reconstruct -> 2", done.stderr
    assert done.stderr.count("No such file or directory.\n  Remedy: check the path.") == 14
    assert os.listdir(tmp_path) == []


def test_a_name_that_is_nearly_right(cli: Cli, star: Star, tmp_path: Path) -> None:
    star()
    done = cli("check", tmp_path / "particle.star")
    assert done.code == 2 and f"Remedy: did you mean {tmp_path}/particles.star?" in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
def test_a_signal_within_a_callback_is_not_lost() -> None:
    """Python drops exceptions there, with a traceback."""
    code = """
import os, signal, time, weakref
from cryosplat import signals
class Value: pass
signals.listen(); signals.half_done()
value = Value()
watched = weakref.ref(value, lambda _: [os.kill(os.getpid(), signal.SIGTERM), range(9)])
del value
time.sleep(20)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (143, "")
