"""Atoms, their exact maps, the phantom, and the particles made of them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tolerances
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from cryosplat.errors import InputError, OutputError, SettingsError
from cryosplat.formation import MixtureProjector, VolumeProjector, form_images
from cryosplat.grid import Grid
from cryosplat.io.mrc import StackFile, read_map
from cryosplat.io.star import read_star
from cryosplat.mixture import GaussianMixture
from cryosplat.optics import Optics, OpticsGroup
from cryosplat.poses import Poses, rotations_from_euler
from cryosplat.simulation import (
    SimulationSettings,
    band_limited_map,
    mixture_from_atoms,
    phantom,
    scattering_amplitude,
    simulate_particles,
)
from cryosplat.simulation._backbone import HELIX, STRAND, segment

PDB = """\
CRYST1   90.000   90.000   90.000  90.00  90.00  90.00 P 1
ATOM      1  CA  GLY A   1      11.000  20.000  30.000  1.00 99.00           C
ATOM      2  O   GLY A   1      13.000  20.000  30.000  0.50 10.00           O
HETATM    3  O   HOH A   2      50.000  50.000  50.000  1.00 10.00           O
END
"""


def _mixture(generator: torch.Generator, widths: tuple[float, float]) -> GaussianMixture:
    k = 40
    low, high = widths
    uniform = torch.rand(k, 3, generator=generator, dtype=torch.float64)
    quaternions = torch.randn(k, 4, generator=generator, dtype=torch.float64)
    return GaussianMixture(
        means=8.0 * torch.randn(k, 3, generator=generator, dtype=torch.float64).clamp(-2, 2),
        scales=low + (high - low) * uniform,
        quaternions=torch.nn.functional.normalize(quaternions, dim=1),
        amplitudes=torch.rand(k, generator=generator, dtype=torch.float64),
    )


def _direct_sum(mixture: GaussianMixture, grid: Grid, points: Tensor) -> Tensor:
    """The definition, at integer frequencies ``points`` (m, 3) as (x, y, z)."""
    k = points.double() / grid.side
    envelope = torch.einsum("mi,gij,mj->mg", k, mixture.covariances(), k)
    phase = torch.polar(torch.ones_like(envelope), -2 * math.pi * k @ mixture.means.T)
    return (torch.exp(-2 * math.pi**2 * envelope) * phase) @ mixture.amplitudes.cdouble()


@pytest.mark.parametrize("box_size", [31, 32])
@pytest.mark.parametrize("widths", [(0.2, 0.3), (0.9, 0.9), (0.4, 4.0), (3.0, 5.0)])
def test_map_is_the_fourier_transform_up_to_nyquist(
    generator: torch.Generator, box_size: int, widths: tuple[float, float]
) -> None:
    """Voxels of 2 Angstrom, Gaussians down to a tenth of one: sampling them would alias."""
    mixture, grid = _mixture(generator, widths), Grid(box_size, 2.0)
    volume = band_limited_map(mixture, grid)
    assert volume.dtype == torch.float32
    spectrum = torch.fft.rfftn(torch.fft.ifftshift(volume.double()))
    highest = (box_size - 1) // 2
    points = torch.randint(-highest, highest + 1, (300, 3), generator=generator)
    points[:, 0] = points[:, 0].abs()
    expected = _direct_sum(mixture, grid, points)
    x, y, z = points.unbind(1)
    error = (spectrum[z, y, x] - expected).abs().max()
    assert float(error / expected.abs().square().mean().sqrt()) < tolerances.RENDERED_SPECTRUM
    assert float(volume.sum()) == pytest.approx(float(mixture.amplitudes.sum()), rel=1e-5)


def test_a_molecule_larger_than_the_box_is_refused(generator: torch.Generator) -> None:
    with pytest.raises(SettingsError, match=r"ends at 12\.0\. Remedy: --box \d+"):
        band_limited_map(_mixture(generator, (1.0, 1.0)), Grid(16, 1.5))


def test_atoms_become_centred_gaussians(tmp_path: Path) -> None:
    path = tmp_path / "model.pdb"
    path.write_text(PDB)
    mixture = mixture_from_atoms(path, b_factor=80.0)
    carbon, oxygen = 2.5088, 0.5 * 1.9834
    torch.testing.assert_close(
        mixture.amplitudes, torch.tensor([carbon, oxygen], dtype=torch.float64)
    )
    middle = 2.0 * oxygen / (carbon + oxygen)
    torch.testing.assert_close(
        mixture.means[:, 0], torch.tensor([-middle, 2.0 - middle], dtype=torch.float64)
    )
    assert mixture.scales.unique().tolist() == pytest.approx([math.sqrt(80 / (8 * math.pi**2))])


def test_scattering_amplitudes_are_those_of_the_international_tables() -> None:
    given = [scattering_amplitude(element) for element in ("C", "N", "O", "S", "P", "H")]
    expected = [2.509, 2.211, 1.983, 5.161, 5.488, 0.529]
    assert given == pytest.approx(expected, abs=3e-3)  # sums of five rounded coefficients


def test_compressed_models_are_read(shared: Path) -> None:
    mixture = mixture_from_atoms(shared / "data" / "models" / "1MNF_groel.pdb.gz")
    assert len(mixture) > 50_000
    centre = (mixture.amplitudes[:, None] * mixture.means).sum(0) / mixture.amplitudes.sum()
    assert float(centre.abs().max()) < 1e-9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing\n", "no atoms besides waters"),
        ("".join(PDB.splitlines(True)[3:]), "no atoms besides waters"),
        (PDB.replace("           C\n", "           X\n"), r"1 of 2 atoms.*GLY CA.*type_symbol"),
    ],
)
def test_models_without_use_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "model.pdb"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        mixture_from_atoms(path)


def test_a_missing_model_and_a_negative_b_factor_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read as an atomic model"):
        mixture_from_atoms(tmp_path / "model.pdb")
    with pytest.raises(SettingsError, match=r"B-factor: -1\.0 was given"):
        mixture_from_atoms(tmp_path / "model.pdb", b_factor=-1.0)


def test_helices_and_strands_have_textbook_geometry() -> None:
    helix = segment(HELIX, 18).ca
    turns = np.degrees(np.diff(np.unwrap(np.arctan2(helix[:, 1], helix[:, 0]))))
    assert np.diff(helix[:, 2]) == pytest.approx(np.full(17, 1.5), abs=tolerances.HELIX_RISE)
    assert turns == pytest.approx(np.full(17, 100.0), abs=tolerances.HELIX_TURN)  # right-handed
    assert np.hypot(helix[:, 0], helix[:, 1]) == pytest.approx(np.full(18, 2.3), abs=0.05)
    rise = np.diff(segment(STRAND, 9).ca[:, 2])
    assert np.all((rise > 3.25) & (rise < 3.45))
    for torsions in (HELIX, STRAND):
        consecutive = np.linalg.norm(np.diff(segment(torsions, 9).ca, axis=0), axis=1)
        assert consecutive == pytest.approx(np.full(8, 3.8), abs=0.05)


def test_amino_acids_are_left_handed() -> None:
    chain = segment(HELIX, 8)
    triple = np.cross(chain.n - chain.ca, chain.c - chain.ca)
    assert np.all(np.einsum("ij,ij->i", triple, chain.cb - chain.ca) > 0.0)


def _density_at(mixture: GaussianMixture, points: Tensor) -> Tensor:
    offset = points[:, None] - mixture.means
    precision = torch.linalg.inv(mixture.covariances())
    exponent = torch.einsum("pgi,gij,pgj->pg", offset, precision, offset)
    return torch.exp(-0.5 * exponent) @ (mixture.amplitudes / mixture.scales.prod(1))


@pytest.mark.parametrize(("symmetry", "copies"), [("D3", 6), ("C4", 4), ("C1", 1)])
def test_phantom_has_its_symmetry_and_no_other(
    generator: torch.Generator, symmetry: str, copies: int
) -> None:
    protein = phantom(symmetry)
    order = int(symmetry[1])
    assert len(protein) % copies == 0
    points = protein.means[torch.randperm(len(protein), generator=generator)[:40]]
    here = _density_at(protein, points)
    turn = Rotation.from_euler("z", 360 / order, degrees=True).as_matrix()
    torch.testing.assert_close(_density_at(protein, points @ torch.from_numpy(turn).T), here)
    flipped = _density_at(protein, points * torch.tensor([1.0, -1.0, -1.0]))
    mirrored = _density_at(protein, points * torch.tensor([1.0, 1.0, -1.0]))
    assert torch.allclose(flipped, here) == symmetry.startswith("D")
    assert not torch.allclose(mirrored, here)


def test_phantom_is_a_compact_protein_of_its_size() -> None:
    protein = phantom("D3")
    radius = protein.means.norm(dim=1)
    assert 50.0 < float(radius.max()) < 62.0
    assert len(protein) > 8000
    again = phantom("D3")
    assert torch.equal(protein.means, again.means)
    assert torch.equal(protein.amplitudes, again.amplitudes)


@pytest.mark.parametrize("symmetry", ["", "T", "C0", "D13", "Cx", "I1"])
def test_other_symmetries_are_refused(symmetry: str) -> None:
    with pytest.raises(SettingsError, match="expected C or D and an order from 1 to 12"):
        phantom(symmetry)


GRID = Grid(32, 4.0)


def _simulate(folder: Path, **changes: object) -> tuple[SimulationSettings, Path]:
    settings = SimulationSettings(**{"n": 24, "snr": 0.1, **changes})  # type: ignore[arg-type]
    source = phantom("C2", b_factor=300.0)
    seed = torch.Generator().manual_seed(5)
    return settings, simulate_particles(source, GRID, settings, folder / "set", seed)


def _read(star: Path) -> tuple[np.ndarray, np.ndarray, dict]:
    stack = StackFile(star.with_name("particles.mrcs"))
    truth = read_map(star.with_name("truth.mrc"))
    assert stack.pixel_size == pytest.approx(4.0) and truth.pixel_size == pytest.approx(4.0)
    return stack.read(np.arange(stack.n_images)), truth.data, read_star(star)


def _predicted(truth: np.ndarray, tables: dict) -> Tensor:
    """The images that the recorded table and the truth map describe."""
    rows, groups = tables["particles"], tables["optics"]

    def column(label: str, unit: float = 1.0) -> Tensor:
        return torch.from_numpy(rows[label].to_numpy(float) * unit)

    degree = math.pi / 180
    optics = Optics(
        groups=tuple(
            OpticsGroup(g.rlnOpticsGroupName, g.rlnImagePixelSize, int(g.rlnImageSize),
                        g.rlnVoltage * 1e3, g.rlnSphericalAberration * 1e7, g.rlnAmplitudeContrast)
            for g in groups.itertuples()
        ),
        group=column("rlnOpticsGroup").long() - 1,
        defocus_u=column("rlnDefocusU"),
        defocus_v=column("rlnDefocusV"),
        defocus_angle=column("rlnDefocusAngle", degree),
        phase_shift=column("rlnPhaseShift", degree),
        b_factor=torch.zeros(len(rows), dtype=torch.float64),
        scale=torch.ones(len(rows), dtype=torch.float64),
    )  # fmt: skip
    angles = np.radians(rows[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy(float))
    shifts = torch.stack([column("rlnOriginXAngst"), column("rlnOriginYAngst")], 1)
    poses = Poses(torch.from_numpy(rotations_from_euler(angles)), shifts)
    projector, images = (
        VolumeProjector(torch.from_numpy(truth), GRID),
        torch.empty(len(rows), 32, 32),
    )
    for i in range(len(rows)):
        one = torch.tensor([i])
        images[i] = form_images(projector, poses.select(one), optics.select(one), 32)[0]
    return images


def test_images_are_the_truth_at_the_recorded_poses_plus_unit_noise(tmp_path: Path) -> None:
    """All in one: Euler angles, shifts, defoci, phase plate, optics groups, grey scale, SNR."""
    changes = {"voltages": (300e3, 200e3), "phase_shift": (0.2, 1.4),
               "particles_per_micrograph": 4}  # fmt: skip
    settings, star = _simulate(tmp_path, **changes)
    images, truth, tables = _read(star)
    predicted = _predicted(truth, tables)
    noise = torch.from_numpy(images) - predicted
    assert float(noise.var()) == pytest.approx(1.0, abs=tolerances.SAMPLE_VARIANCE)
    snr = float(predicted.var() / noise.var())
    assert snr == pytest.approx(settings.snr, rel=2 * tolerances.SAMPLE_VARIANCE)
    correlation = float((noise * predicted).mean() / predicted.std())
    assert abs(correlation) < tolerances.SAMPLE_VARIANCE


def test_a_projector_of_ones_own_makes_the_images(tmp_path: Path) -> None:
    """Splatted Gaussians and slices of their map: the same particles, the noise included."""
    source, settings = phantom("C2", b_factor=1500.0), SimulationSettings(n=6, snr=0.5)
    stacks = []
    for name, projector in (("map", None), ("mixture", MixtureProjector(source))):
        seed = torch.Generator().manual_seed(5)
        star = simulate_particles(
            source, GRID, settings, tmp_path / name, seed, projector=projector
        )
        stacks.append(_read(star)[0])
    assert np.linalg.norm(stacks[1] - stacks[0]) < tolerances.SLICE * np.linalg.norm(stacks[0])
    assert not np.array_equal(*stacks)


def test_dark_contrast_turns_the_images_only(tmp_path: Path) -> None:
    _, star = _simulate(tmp_path, contrast="dark", snr=1e4)
    images, truth, tables = _read(star)
    assert truth.sum() > 0
    expected = -_predicted(truth, tables).numpy()
    assert np.abs(images - expected).std() < 0.02 * expected.std()


def test_pose_errors_have_the_size_asked_for(tmp_path: Path) -> None:
    from cryosplat.simulation.particles import _poses

    settings = SimulationSettings(n=4000, angle_error=0.02, shift_error=0.5)
    true, recorded = _poses(settings, torch.Generator().manual_seed(1))
    turn = true.rotations @ recorded.rotations.transpose(1, 2)
    vectors = Rotation.from_matrix(turn.numpy()).as_rotvec()
    assert vectors.std(0) == pytest.approx(np.full(3, 0.02), rel=0.05)
    error = true.shifts - recorded.shifts
    assert error.std(0).tolist() == pytest.approx([0.5, 0.5], rel=0.05)
    assert float(recorded.shifts.abs().max()) <= settings.shift


def test_coloured_noise_falls_threefold_and_keeps_its_variance(
    generator: torch.Generator,
) -> None:
    from cryosplat.simulation.background import coloured_gain, draw_noise

    for box_size in (31, 32):
        noise = draw_noise(300, box_size, coloured_gain(Grid(box_size, 1.0)), generator)
        assert float(noise.var()) == pytest.approx(1.0, abs=tolerances.SAMPLE_VARIANCE)
        power = torch.fft.rfft2(noise).abs().square().mean(0)
        low, high = power[0, 1:3].mean(), power[0, box_size // 2 - 1 : box_size // 2 + 1].mean()
        assert 2.0 < float(low / high) < 3.2


def test_star_has_half_sets_micrographs_and_groups(tmp_path: Path) -> None:
    _, star = _simulate(tmp_path, particles_per_micrograph=10, voltages=(300e3, 200e3))
    rows, groups = (read_star(star)[name] for name in ("particles", "optics"))
    assert set(rows["rlnRandomSubset"].astype(int)) == {1, 2}
    assert rows["rlnMicrographName"].nunique() == 3
    assert rows["rlnOpticsGroup"].astype(int).tolist() == [1] * 10 + [2] * 10 + [1] * 4
    assert groups["rlnVoltage"].astype(float).tolist() == [300.0, 200.0]
    assert rows["rlnImageName"].iloc[-1] == "000024@particles.mrcs"


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _simulate(tmp_path / name)
    for name in ("particles.star", "particles.mrcs", "truth.mrc"):
        one, two = ((tmp_path / folder / "set" / name).read_bytes() for folder in ("a", "b"))
        assert one[1024:] == two[1024:]  # MRC headers carry the time


def test_progress_ends_with_all_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cryosplat.simulation.particles.PIXELS_AT_ONCE", 10 * 32 * 32)
    seen: list[tuple[int, int]] = []
    simulate_particles(
        phantom("C1"), GRID, SimulationSettings(n=24), tmp_path / "set",
        torch.Generator().manual_seed(1), lambda done, n: seen.append((done, n)),
    )  # fmt: skip
    assert seen == [(10, 24), (20, 24), (24, 24)]


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, n: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_particles(
            phantom("C1"), GRID, SimulationSettings(n=2), tmp_path / "set",
            torch.Generator().manual_seed(1), interrupt,
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("precious")
    with pytest.raises(OutputError, match=r"exists already.*rm -r"):
        _simulate(tmp_path)
    assert [p.name for p in tmp_path.rglob("*")] == ["set", "mine.txt"]


def test_a_map_of_another_box_and_an_empty_map_are_refused(tmp_path: Path) -> None:
    seed = torch.Generator().manual_seed(1)
    for box_size, message in ((16, r"shape \(16, 16, 16\), expected a cube of 32"), (32, "empty")):
        with pytest.raises(SettingsError, match=message):
            simulate_particles(
                torch.zeros((box_size,) * 3), GRID, SimulationSettings(n=2), tmp_path / "set", seed
            )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n is 0, expected at least 1 particle"),
        ({"snr": -1.0}, r"snr is -1\.0, expected more than 0"),
        ({"defocus": (2e4, 1e4)}, "defocus is .* expected"),
        ({"noise": "pink"}, "expected 'white' or 'coloured'"),
        ({"voltages": ()}, "expected at least one voltage"),
    ],
)
def test_impossible_settings_are_named(change: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        SimulationSettings(**{"n": 10, **change})
