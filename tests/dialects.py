"""One set of particles, and small writers of it in the words of RELION, cryoSPARC and cryoDRGN.

Nothing here calls the project's own writers, nor reads what it writes: mistakes cannot cancel.
Angles in degrees, lengths in Angstrom, until a writer turns them into its program's units.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
from data_sets import relion_matrix, rotation_vector, star_block

PIXEL = 2.0
ALIGNED_PIXEL = 2.7  # of cryoSPARC's refinement, which counts shifts in pixels of its own
VOLTAGES, ABERRATIONS, CONTRASTS = (300.0, 200.0), (2.7, 1.4), (0.1, 0.07)  # kV, mm, 1


@dataclass(frozen=True)
class Told:
    """n particles as numbers; ``images`` (n, d, d), ``origins`` (n, 2), ``angles`` (n, 3)."""

    images: np.ndarray
    angles: np.ndarray
    origins: np.ndarray
    defocus: np.ndarray
    """u, v in Angstrom, angle in degrees (n, 3)"""
    phase: np.ndarray
    b_factor: np.ndarray
    scale: np.ndarray
    half: np.ndarray
    group: np.ndarray

    @property
    def n(self) -> int:
        return len(self.images)

    @property
    def box(self) -> int:
        return self.images.shape[-1]

    def of_group(self, values: tuple[float, ...]) -> np.ndarray:
        """A value of the optics group of every particle."""
        return np.array(values)[self.group]


Writer = Callable[[Told, Path], Path]


def write_mrc(path: Path, images: np.ndarray, pixel: float = PIXEL) -> None:
    """A stack, of the data type the array has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(images)
        file.set_image_stack()
        file.voxel_size = pixel


def names(n: int, stack: str = "particles.mrcs") -> list[str]:
    return [f"{i + 1:06d}@{stack}" for i in range(n)]


def columns(told: Told, stack: str = "particles.mrcs") -> dict[str, object]:
    """The columns of a RELION 3.1 row, without what only its optics table has."""
    return {
        "rlnImageName": names(told.n, stack),
        "rlnAngleRot": told.angles[:, 0],
        "rlnAngleTilt": told.angles[:, 1],
        "rlnAnglePsi": told.angles[:, 2],
        "rlnOriginXAngst": told.origins[:, 0],
        "rlnOriginYAngst": told.origins[:, 1],
        "rlnDefocusU": told.defocus[:, 0],
        "rlnDefocusV": told.defocus[:, 1],
        "rlnDefocusAngle": told.defocus[:, 2],
        "rlnPhaseShift": told.phase,
        "rlnCtfBfactor": told.b_factor,
        "rlnCtfScalefactor": told.scale,
        "rlnRandomSubset": told.half,
        "rlnOpticsGroup": told.group + 1,
    }


def optics(told: Told) -> dict[str, object]:
    """The optics table of RELION 3.1."""
    return {
        "rlnOpticsGroup": [1, 2],
        "rlnOpticsGroupName": ["krios", "talos"],
        "rlnVoltage": VOLTAGES,
        "rlnSphericalAberration": ABERRATIONS,
        "rlnAmplitudeContrast": CONTRASTS,
        "rlnImagePixelSize": [PIXEL, PIXEL],
        "rlnImageSize": [told.box, told.box],
        "rlnImageDimensionality": [2, 2],
    }


def relion31(told: Told, folder: Path) -> Path:
    write_mrc(folder / "particles.mrcs", told.images)
    path = folder / "particles.star"
    path.write_text(star_block("optics", optics(told)) + star_block("particles", columns(told)))
    return path


def relion30(told: Told, folder: Path) -> Path:
    """No optics table: everything in the rows, origins in pixels, pixel size by magnification."""
    write_mrc(folder / "particles.mrcs", told.images)
    rows = columns(told)
    for label in ("rlnOriginXAngst", "rlnOriginYAngst", "rlnOpticsGroup"):
        del rows[label]
    rows |= {
        "rlnOriginX": told.origins[:, 0] / PIXEL,
        "rlnOriginY": told.origins[:, 1] / PIXEL,
        "rlnDetectorPixelSize": np.full(told.n, 5.0),  # micrometre
        "rlnMagnification": np.full(told.n, 5.0e4 / PIXEL),
        "rlnVoltage": told.of_group(VOLTAGES),
        "rlnSphericalAberration": told.of_group(ABERRATIONS),
        "rlnAmplitudeContrast": told.of_group(CONTRASTS),
    }
    path = folder / "run_data.star"
    path.write_text(star_block("", rows))
    return path


def relion31_untidy(told: Told, folder: Path) -> Path:
    """Ids 41 and 7, columns backwards, quotes and comments, keys of the rows before the table's."""
    write_mrc(folder / "Extract/job007/particles.mrcs", told.images)
    table = optics(told)
    table |= {
        "rlnOpticsGroup": [41, 7],
        "rlnVoltage": [120.0, 120.0],  # the rows know better
        "rlnCtfScalefactor": [9.0, 9.0],
        "rlnOpticsGroupName": ['"the krios"', "'the talos'"],
    }
    rows = columns(told, "Extract/job007/particles.mrcs")
    rows |= {
        "rlnVoltage": told.of_group(VOLTAGES),
        "rlnOpticsGroup": np.array([41, 7])[told.group],
        "rlnComment": ["'a b'"] * told.n,
    }
    text = star_block("particles", dict(reversed(rows.items())))
    text += "# a comment\n\n" + star_block("optics", dict(reversed(table.items())))
    path = folder / "Refine3D" / "job012" / "run_data.star"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def relion5(told: Told, folder: Path) -> Path:
    """A general block, a version line, and the columns that newer releases add."""
    write_mrc(folder / "particles.mrcs", told.images)
    table = optics(told) | {
        "rlnMicrographOriginalPixelSize": [0.8, 0.8],
        "rlnCtfDataAreCtfPremultiplied": [0, 0],
        "rlnBeamTiltX": [0.0, 0.0],
        "rlnOddZernike": ["[0,0,0,0,0,0]"] * 2,
        "rlnMagMat00": [1.0, 1.0],
        "rlnMagMat11": [1.0, 1.0],
    }
    rows = columns(told) | {
        "rlnCtfMaxResolution": np.full(told.n, 4.1),
        "rlnLogLikeliContribution": np.full(told.n, 1.2e5),
        "rlnNormCorrection": np.ones(told.n),
        "rlnGroupNumber": np.ones(told.n, int),
    }
    text = star_block("general", {"rlnSomething": [3]}).replace(
        "# version 30001", "# version 50001"
    )
    path = folder / "run_it025_data.star"
    path.write_text(text + star_block("optics", table) + star_block("particles", rows))
    return path


def relion_dark(told: Told, folder: Path) -> Path:
    """Protein dark on white."""
    path = relion31(told, folder)
    write_mrc(folder / "particles.mrcs", -told.images)
    return path


def relion_single_mrc(told: Told, folder: Path) -> Path:
    """The stack under the suffix of maps."""
    path = relion31(told, folder)
    (folder / "particles.mrcs").rename(folder / "particles.mrc")
    path.write_text(path.read_text().replace("particles.mrcs", "particles.mrc"))
    return path


def relion_float16(told: Told, folder: Path) -> Path:
    path = relion31(told, folder)
    write_mrc(folder / "particles.mrcs", told.images.astype(np.float16))
    return path


def _fields(told: Told, **fields: object) -> np.ndarray:
    arrays = {name.replace("__", "/"): np.asarray(values) for name, values in fields.items()}
    rows = np.empty(told.n, [(name, v.dtype, v.shape[1:]) for name, v in arrays.items()])
    for name, values in arrays.items():
        rows[name] = values
    return rows


def _save(path: Path, rows: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as stream:
        np.save(stream, rows)
    return path


def _cryosparc(told: Told, folder: Path, alignments: str) -> Path:
    """A job's table, its passthrough in another order, and stacks named from the project's root."""
    n, single = told.n, np.float32
    write_mrc(folder / "J12/extract/particles.mrc", told.images)
    uid = np.random.default_rng(4).permutation(n).astype(np.uint64) + np.uint64(10**15)
    rotations = [relion_matrix(*np.deg2rad(a)) for a in told.angles]
    pose = {
        f"{alignments}__pose": np.stack([rotation_vector(a.T) for a in rotations]).astype(single),
        f"{alignments}__shift": (told.origins / ALIGNED_PIXEL).astype(single),
        f"{alignments}__psize_A": np.full(n, ALIGNED_PIXEL, single),
        f"{alignments}__split": (told.half - 1).astype(np.uint32),
        f"{alignments}__class_posterior": np.ones(n, single),
    }
    contrast = {
        "ctf__exp_group_id": (told.group * 5 + 3).astype(np.uint32),
        "ctf__accel_kv": told.of_group(VOLTAGES).astype(single),
        "ctf__cs_mm": told.of_group(ABERRATIONS).astype(single),
        "ctf__amp_contrast": told.of_group(CONTRASTS).astype(single),
        "ctf__df1_A": told.defocus[:, 0].astype(single),
        "ctf__df2_A": told.defocus[:, 1].astype(single),
        "ctf__df_angle_rad": np.deg2rad(told.defocus[:, 2]).astype(single),
        "ctf__phase_shift_rad": np.deg2rad(told.phase).astype(single),
        "ctf__bfactor": told.b_factor.astype(single),
        "ctf__scale": told.scale.astype(single),
    }
    blob = {
        "blob__path": np.array([b">J12/extract/particles.mrc"] * n),
        "blob__idx": np.arange(n, dtype=np.uint32),
        "blob__shape": np.full((n, 2), told.box, np.uint32),
        "blob__psize_A": np.full(n, PIXEL, single),
        "blob__sign": np.full(n, -1, single),
    }
    other = _fields(told, uid=uid, **blob, **contrast)[np.random.default_rng(5).permutation(n)]
    _save(folder / "J30/J30_passthrough_particles.cs", other)
    return _save(folder / "J30/J30_005_particles.cs", _fields(told, uid=uid, **pose))


def cryosparc(told: Told, folder: Path) -> Path:
    return _cryosparc(told, folder, "alignments3D")


def cryosparc_abinitio(told: Told, folder: Path) -> Path:
    return _cryosparc(told, folder, "alignments_class_0")


def cryodrgn(told: Told, folder: Path) -> Path:
    """Pickles beside the stack: shifts in boxes, the halves as positions; no B-factor, no scale."""
    n = told.n
    write_mrc(folder / "particles.mrcs", told.images)
    rotations = np.stack([relion_matrix(*np.deg2rad(a)) for a in told.angles])
    ctf = np.column_stack(
        [np.full(n, 2 * told.box), np.full(n, PIXEL / 2), told.defocus, told.of_group(VOLTAGES),
         told.of_group(ABERRATIONS), told.of_group(CONTRASTS), told.phase]
    ).astype(np.float32)  # fmt: skip
    halves = [np.flatnonzero(told.half == half) for half in (1, 2)]
    for name, value in (
        ("poses", (rotations.astype(np.float32), told.origins / (PIXEL * told.box))),
        ("ctf", ctf),
        ("halfsets", halves),
    ):
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(value))
    return folder / "particles.mrcs"


def cistem_columns(told: Told, stack: str = "particles.mrc") -> dict[str, object]:
    """The columns of cisTEM's tables: where the particle lies, not how to move it back."""
    return {
        "cisTEMPositionInStack": np.arange(1, told.n + 1),
        "cisTEMAnglePsi": told.angles[:, 2],
        "cisTEMAngleTheta": told.angles[:, 1],
        "cisTEMAnglePhi": told.angles[:, 0],
        "cisTEMXShift": -told.origins[:, 0],
        "cisTEMYShift": -told.origins[:, 1],
        "cisTEMDefocus1": told.defocus[:, 0],
        "cisTEMDefocus2": told.defocus[:, 1],
        "cisTEMDefocusAngle": told.defocus[:, 2],
        "cisTEMPhaseShift": told.phase,
        "cisTEMImageActivity": np.ones(told.n, int),
        "cisTEMOccupancy": np.full(told.n, 100.0),
        "cisTEMScore": np.linspace(10, 20, told.n),
        "cisTEMPixelSize": np.full(told.n, PIXEL),
        "cisTEMMicroscopeVoltagekV": told.of_group(VOLTAGES),
        "cisTEMMicroscopeCsMM": told.of_group(ABERRATIONS),
        "cisTEMAmplitudeContrast": told.of_group(CONTRASTS),
        "cisTEMBeamTiltX": np.zeros(told.n),
        "cisTEMBeamTiltY": np.zeros(told.n),
        "cisTEMImageShiftX": np.zeros(told.n),
        "cisTEMImageShiftY": np.zeros(told.n),
        "cisTEMStackFilename": [f"'{stack}'"] * told.n,
        "cisTEMAssignedSubset": told.half,
    }


def cistem(told: Told, folder: Path) -> Path:
    write_mrc(folder / "particles.mrc", told.images)
    path = folder / "refinement.star"
    path.write_text("# Written by cisTEM\n" + star_block("", cistem_columns(told)))
    return path
