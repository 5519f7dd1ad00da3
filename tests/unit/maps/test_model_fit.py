"""An atomic model against a map: where it stands, how well it fits, and which residue does not."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np
import pytest
import torch
from torch import Tensor

from cryosplat import fourier
from cryosplat.errors import InputError
from cryosplat.grid import Grid
from cryosplat.maps.model_fit import ModelFit, map_model_fsc
from cryosplat.mixture import TENSORS, GaussianMixture
from cryosplat.simulation import mixture_from_atoms
from cryosplat.splatting import voxelize

GRID = Grid(48, 1.5)
MASK = torch.ones((48,) * 3)
RESIDUES = 60
ELEMENTS = ("N", "C", "C", "O", "C", "S")


def _structure(seed: int = 0) -> gemmi.Structure:
    """Two chains of small residues, scattered in a ball of 20 Angstrom about (0, 0, 0)."""
    rng = np.random.default_rng(seed)
    structure, model = gemmi.Structure(), gemmi.Model(1)
    for name in "AB":
        chain = gemmi.Chain(name)
        for number in range(RESIDUES // 2):
            residue = gemmi.Residue()
            residue.name, residue.seqid = "CYS", gemmi.SeqId(number + 1, " ")
            direction = rng.normal(size=3)
            centre = 20.0 * rng.uniform() ** (1 / 3) * direction / np.linalg.norm(direction)
            for i, element in enumerate(ELEMENTS):
                atom = gemmi.Atom()
                atom.name, atom.element, atom.b_iso = f"{element}{i}", gemmi.Element(element), 20.0
                atom.pos = gemmi.Position(*(centre + rng.normal(size=3)))
                residue.add_atom(atom)
            chain.add_residue(residue)
        model.add_chain(chain)
    structure.add_model(model)
    return structure


def _move(structure: gemmi.Structure, shift: tuple[float, float, float]) -> gemmi.Structure:
    structure[0].transform_pos_and_adp(gemmi.Transform(gemmi.Mat33(), gemmi.Vec3(*shift)))
    return structure


def _written(structure: gemmi.Structure, path: Path) -> Path:
    structure.make_mmcif_document().write_file(str(path))
    return path


@pytest.fixture
def centred(tmp_path: Path) -> gemmi.Structure:
    """A model whose centre of scattering is (0, 0, 0)."""
    structure = _structure()
    means, weights = [], []
    for site in structure[0].all():
        means.append(site.atom.pos.tolist())
        weights.append(site.atom.element.c4322.calculate_sf(0.0))
    x, y, z = -np.average(means, axis=0, weights=weights)
    return _move(structure, (x, y, z))


@pytest.fixture
def volume(centred: gemmi.Structure, tmp_path: Path) -> Tensor:
    """Its map."""
    return _map(_written(centred, tmp_path / "volume.cif"), GRID)


def _map(path: Path, grid: Grid) -> Tensor:
    """Our own Gaussians, which share no code with the density of the comparison."""
    atoms = mixture_from_atoms(path, 80.0)
    return voxelize(GaussianMixture(*(getattr(atoms, name).float() for name in TENSORS)), grid)


def _fit(volume: Tensor, structure: gemmi.Structure, tmp_path: Path) -> ModelFit:
    return map_model_fsc(volume, MASK, GRID, _written(structure, tmp_path / "model.cif"))


@pytest.mark.parametrize(
    ("shift", "frame"),
    [
        ((36.0, 36.0, 36.0), "corner"),
        ((0.0, 0.0, 0.0), "centre"),
        ((-7.3, 51.9, 20.2), "moved"),
    ],
)
def test_the_model_is_found_where_it_stands(
    centred: gemmi.Structure, volume: Tensor, tmp_path: Path,
    shift: tuple[float, float, float], frame: str,
) -> None:  # fmt: skip
    """Atoms at x Angstrom from the corner lie at voxel x / pixel; other frames are told apart."""
    fit = _fit(volume, _move(centred, shift), tmp_path)
    assert fit.frame == frame
    expected = [36.0 - s for s in shift]
    assert fit.shift == pytest.approx(expected, abs=0.1)
    assert float(fit.fsc[1:].min()) > 0.85
    assert fit.resolution.at_nyquist
    assert fit.correlation > 0.95
    assert len(fit.residues) == RESIDUES
    assert min(r.correlation for r in fit.residues) > 0.9


def test_a_residue_out_of_place_is_the_one_named(
    centred: gemmi.Structure, volume: Tensor, tmp_path: Path
) -> None:
    before = _fit(volume, _move(centred, (36.0, 36.0, 36.0)), tmp_path)
    for atom in centred[0]["B"][11]:
        atom.pos += gemmi.Position(2.5, -2.5, 2.5)
    after = _fit(volume, centred, tmp_path)
    worst = min(after.residues, key=lambda r: r.correlation)
    assert (worst.chain, worst.number, worst.name) == ("B", "12", "CYS")
    pairs = zip(before.residues, after.residues, strict=True)
    drops = [b.correlation - a.correlation for b, a in pairs]
    assert max(drops) > 0.5
    assert float(np.median(drops)) < 0.02
    assert after.summary()["residues"][41][:3] == ["B", "12", "CYS"]


def test_another_structure_does_not_fit(
    centred: gemmi.Structure, volume: Tensor, tmp_path: Path
) -> None:
    fit = _fit(volume, _move(_structure(seed=1), (36.0, 36.0, 36.0)), tmp_path)
    assert fit.resolution.angstrom > 10.0
    assert float(np.median([r.correlation for r in fit.residues])) < 0.5


def test_scale_and_fall_off_of_the_map_do_not_matter(
    centred: gemmi.Structure, volume: Tensor, tmp_path: Path
) -> None:
    gain = 3.0 * torch.exp(-100.0 / 4.0 * (fourier.shells((GRID.box_size,) * 3) / GRID.side) ** 2)
    smooth = torch.fft.irfftn(torch.fft.rfftn(volume) * gain, s=volume.shape) + 7.0
    sharp, soft = (_fit(v, _move(centred, s), tmp_path) for v, s in (
        (volume, (36.0, 36.0, 36.0)), (smooth, (0.0, 0.0, 0.0))
    ))  # fmt: skip
    torch.testing.assert_close(soft.fsc[1:], sharp.fsc[1:], rtol=0, atol=0.02)
    assert soft.frame == "corner"


def test_waters_are_no_residues(centred: gemmi.Structure, volume: Tensor, tmp_path: Path) -> None:
    water = gemmi.Residue()
    water.name, water.seqid = "HOH", gemmi.SeqId(500, " ")
    atom = gemmi.Atom()
    atom.name, atom.element, atom.pos = "O", gemmi.Element("O"), gemmi.Position(5, 5, 5)
    water.add_atom(atom)
    centred[0]["A"].add_residue(water)
    fit = _fit(volume, centred, tmp_path)
    assert {r.name for r in fit.residues} == {"CYS"}


def test_what_is_no_model_is_named(volume: Tensor, tmp_path: Path) -> None:
    path = tmp_path / "model.pdb"
    with pytest.raises(InputError, match=r"model\.pdb: cannot be read as an atomic model"):
        map_model_fsc(volume, MASK, GRID, path)
    path.write_text("REMARK nothing\nEND\n")
    with pytest.raises(InputError, match="holds no atoms"):
        map_model_fsc(volume, MASK, GRID, path)
    structure = _structure()
    for atom in structure[0]["A"][0]:
        atom.element = gemmi.Element("X")
    with pytest.raises(
        InputError, match=r"6 of 360 atoms have no known element \(for example CYS N0"
    ):
        map_model_fsc(volume, MASK, GRID, _written(structure, tmp_path / "m.cif"))
    with pytest.raises(InputError, match=r"mask has shape \(40, 48, 48\)"):
        map_model_fsc(volume, MASK[:40], GRID, path)


def test_a_real_structure(shared: Path) -> None:
    """Haemoglobin, whose file has its origin at the molecule: 574 residues and four haems."""
    path = shared / "data" / "models" / "4hhb_hemoglobin.pdb"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    grid = Grid(64, 1.6)
    volume = _map(path, grid)
    fit = map_model_fsc(volume, torch.ones((64,) * 3), grid, path)
    names = [r.name for r in fit.residues]
    assert names.count("HEM") == 4
    assert fit.frame == "centre"
    assert fit.resolution.at_nyquist
    assert float(np.median([r.correlation for r in fit.residues])) > 0.9
