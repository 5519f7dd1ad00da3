"""Small data sets as numbers, for tests to write in any program's format and to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryosplat.io.mrc import write_stack


@dataclass(frozen=True)
class DataSet:
    """One small data set."""

    folder: Path
    images: np.ndarray
    angles: np.ndarray
    """rot, tilt, psi in degrees, (n, 3)"""
    rotations: np.ndarray
    origins: np.ndarray
    """x, y in Angstrom, (n, 2)"""
    defocus: np.ndarray
    """u, v in Angstrom and the angle in degrees, (n, 3)"""
    half_sets: np.ndarray
    pixel_size: float = 1.5

    @property
    def n(self) -> int:
        return len(self.images)

    @property
    def box_size(self) -> int:
        return self.images.shape[-1]

    def star_rows(self, **replaced: object) -> str:
        """A RELION 3.1 star file; a keyword replaces a column's values or, with None, drops it."""
        columns: dict[str, object] = {
            "rlnImageName": [f"{i + 1:06d}@particles.mrcs" for i in range(self.n)],
            "rlnAngleRot": self.angles[:, 0],
            "rlnAngleTilt": self.angles[:, 1],
            "rlnAnglePsi": self.angles[:, 2],
            "rlnOriginXAngst": self.origins[:, 0],
            "rlnOriginYAngst": self.origins[:, 1],
            "rlnDefocusU": self.defocus[:, 0],
            "rlnDefocusV": self.defocus[:, 1],
            "rlnDefocusAngle": self.defocus[:, 2],
            "rlnRandomSubset": self.half_sets,
            "rlnOpticsGroup": np.ones(self.n, int),
        }
        optics: dict[str, object] = {
            "rlnOpticsGroup": [1],
            "rlnOpticsGroupName": ["optics1"],
            "rlnVoltage": [300.0],
            "rlnSphericalAberration": [2.7],
            "rlnAmplitudeContrast": [0.1],
            "rlnImagePixelSize": [self.pixel_size],
            "rlnImageSize": [self.box_size],
            "rlnImageDimensionality": [2],
        }
        for label, values in replaced.items():
            optics_label = label.removeprefix("optics_")
            table = optics if label.startswith("optics_") else columns
            table[optics_label] = values
        return star_block("optics", optics) + star_block("particles", columns)


def star_block(name: str, columns: dict[str, object]) -> str:
    """A loop of a star file; columns that are None are left out."""
    kept = {label: list(values) for label, values in columns.items() if values is not None}
    labels = "".join(f"_{label} #{i}\n" for i, label in enumerate(kept, 1))
    rows = "\n".join(" ".join(map(str, row)) for row in zip(*kept.values(), strict=True))
    return f"\n# version 30001\n\ndata_{name}\n\nloop_\n{labels}{rows}\n\n"


def make_data_set(folder: Path, n: int = 12, box_size: int = 8) -> DataSet:
    """Noise images with known columns, written to ``folder/particles.mrcs``."""
    rng = np.random.default_rng(5)
    images = rng.normal(size=(n, box_size, box_size)).astype(np.float32)
    angles = np.round(rng.uniform([-180, 0, -180], [180, 180, 180], (n, 3)), 4)
    rotations = np.stack([relion_matrix(*np.deg2rad(a)) for a in angles])
    defocus = np.round(rng.uniform([9e3, 9e3, 0], [2e4, 2e4, 180], (n, 3)), 2)
    defocus = defocus.astype(np.float32).astype(float)
    origins = np.round(rng.uniform(-3, 3, (n, 2)), 4)
    write_stack(folder / "particles.mrcs", images, 1.5)
    return DataSet(folder, images, angles, rotations, origins, defocus, np.arange(n) % 2 + 1)


def relion_matrix(rot: float, tilt: float, psi: float) -> np.ndarray:
    """RELION's matrix, from the definition: A = (Rz(rot) Ry(tilt) Rz(psi))^T."""

    def about_z(t: float) -> np.ndarray:
        return np.array([[np.cos(t), -np.sin(t), 0], [np.sin(t), np.cos(t), 0], [0, 0, 1]])

    c, s = np.cos(tilt), np.sin(tilt)
    about_y = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return (about_z(rot) @ about_y @ about_z(psi)).T


def write_cs(data_set: DataSet, path: Path, **replaced: object) -> Path:
    """A cryoSPARC table of the data set; a keyword ("ctf__scale") replaces, adds or drops a field.

    Rotation vectors are found from the matrices' transposes: cryoSPARC's pose is the inverse of
    RELION's.
    """
    n = data_set.n
    fields: dict[str, object] = {
        "uid": np.arange(n, dtype=np.uint64) * 7919 + 2**60,
        "blob/path": np.array([b">particles.mrcs"] * n),
        "blob/idx": np.arange(n, dtype=np.uint32),
        "blob/shape": np.full((n, 2), data_set.box_size, np.uint32),
        "blob/psize_A": np.full(n, data_set.pixel_size, np.float32),
        "blob/sign": np.full(n, -1, np.float32),
        "ctf/exp_group_id": np.full(n, 3, np.uint32),
        "ctf/accel_kv": np.full(n, 300, np.float32),
        "ctf/cs_mm": np.full(n, 2.7, np.float32),
        "ctf/amp_contrast": np.full(n, 0.1, np.float32),
        "ctf/df1_A": data_set.defocus[:, 0].astype(np.float32),
        "ctf/df2_A": data_set.defocus[:, 1].astype(np.float32),
        "ctf/df_angle_rad": np.deg2rad(data_set.defocus[:, 2]).astype(np.float32),
        "alignments3D/pose": np.stack([rotation_vector(a.T) for a in data_set.rotations]),
        "alignments3D/shift": data_set.origins / data_set.pixel_size,
        "alignments3D/psize_A": np.full(n, data_set.pixel_size, np.float32),
        "alignments3D/split": (data_set.half_sets - 1).astype(np.uint32),
    }
    for name, values in replaced.items():
        fields[name.replace("__", "/")] = values
    arrays = {name: np.asarray(v) for name, v in fields.items() if v is not None}
    rows = np.empty(n, [(name, v.dtype, v.shape[1:]) for name, v in arrays.items()])
    for name, values in arrays.items():
        rows[name] = values
    with open(path, "wb") as stream:
        np.save(stream, rows)
    return path


def rotation_vector(matrix: np.ndarray) -> np.ndarray:
    """Axis times angle of a rotation that is neither none nor a half turn."""
    angle = np.arccos(np.clip((np.trace(matrix) - 1) / 2, -1, 1))
    antisymmetric = matrix - matrix.T
    axis = np.array([antisymmetric[2, 1], antisymmetric[0, 2], antisymmetric[1, 0]])
    return axis / (2 * np.sin(angle)) * angle


def write_empty_stack(path: Path, n: int, box_size: int) -> None:
    """A stack that claims n images and has their size, but holds only a hole in the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_stack(path, np.zeros((1, box_size, box_size), np.float32), 1.0)
    with open(path, "r+b") as stream:
        stream.seek(8)
        stream.write(np.int32(n).astype("<i4").tobytes())
        stream.truncate(1024 + n * box_size * box_size * 4)
