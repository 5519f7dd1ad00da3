"""A tomography project of RELION with 2-D stacks, simulated by projecting points with 4x4 matrices.

What `Tomogram::setProjectionMatrix` and `ParticleSet::getMatrix4x4` document is done literally, in
pixels of the tilt series: particle to tomogram, tomogram to tilt image, out of which a box is cut
around where the particle's coordinates (without its origin) are seen. The molecule is a set of points
with a Gaussian each; CTF and radiation damage are written out here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from data_sets import relion_matrix, star_block
from dialects import write_mrc

PIXEL, BINNING, BOX = 1.5, 2, 40
SIZE = np.array([1001, 900, 300])  # of the tomograms, pixels
IMAGE = np.array([1023, 959])  # of the tilt images, pixels
HAND, CS, CONTRAST = -1.0, 2.7, 0.08
WIDTH = 4.0  # Angstrom
VOLTAGES = {"TS_01": 300.0, "TS_02": 200.0}


@dataclass(frozen=True)
class Series:
    """A tilt series: columns (f,) in RELION's units."""

    x_tilt: np.ndarray
    y_tilt: np.ndarray
    z_rot: np.ndarray
    shifts: np.ndarray
    defocus: np.ndarray
    """u, v, angle (f, 3)"""
    dose: np.ndarray
    scale: np.ndarray

    def __len__(self) -> int:
        return len(self.y_tilt)

    def matrix(self, frame: int) -> np.ndarray:
        """From voxels of the tomogram to pixels of a tilt image."""
        angles = np.deg2rad([self.x_tilt[frame], self.y_tilt[frame], self.z_rot[frame]])
        (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
        about_x = [[1, 0, 0], [0, cx, -sx], [0, sx, cx]]
        about_y = [[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]
        about_z = [[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]]
        turn = np.eye(4)
        turn[:3, :3] = np.array(about_z) @ about_y @ about_x
        to_image = _translation([*(IMAGE // 2), 0.0])
        moved = _translation([*(self.shifts[frame] / PIXEL), 0.0])
        return moved @ to_image @ turn @ _translation(-(SIZE // 2))


@dataclass(frozen=True)
class TiltSet:
    """A project on disk and the molecule in it: ``points`` (k, 3) in Angstrom, ``weights`` (k,)."""

    folder: Path
    points: np.ndarray
    weights: np.ndarray
    series: dict[str, Series]
    particles: dict[str, object]
    """columns of the particles' table"""
    n_images: int
    premultiplied: bool = False


def _translation(vector: object) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = vector
    return matrix


def make_tilt_set(
    folder: Path, n: int = 24, premultiplied: bool = False, noise: float = 0.0
) -> TiltSet:
    """n particles of two tilt series; stacks and tables as RELION 5 writes them.

    ``premultiplied``: as it does without further options (``subtomo.cpp``): images of twice the box
    times CTF and dose weight, cut out, without the mean outside a circle, cut to it, in 16 bits.
    ``noise`` is the deviation of white noise in them before.
    """
    random = np.random.default_rng(8)
    points = random.normal(size=(40, 3)) * [12, 9, 7] + [4, -3, 2]
    weights = random.uniform(0.5, 1.5, 40)
    series = {"TS_01": _series(random, 9), "TS_02": _series(random, 7)}
    names = [f"TS_0{1 + i % 2}" for i in range(n)]
    angles = random.uniform([-180, 5, -180], [180, 175, 180], (2, n, 3)).round(4)
    centred = random.uniform(-0.3, 0.3, (n, 3)) * SIZE * PIXEL
    origins = random.uniform(-6, 6, (n, 3)).round(4)
    visible = [random.random(len(series[name])) < 0.8 for name in names]
    total = 0
    for i, name in enumerate(names):
        subtomogram, particle = (relion_matrix(*np.deg2rad(a[i])) for a in angles)
        visible[i][2] = True
        images = []
        for frame in np.flatnonzero(visible[i]):
            seen, depth = _seen(series[name], int(frame), centred[i], origins[i], subtomogram,
                                particle, points)  # fmt: skip
            box = 2 * BOX if premultiplied else BOX
            contrast, image = _image(seen, weights, series[name], int(frame), depth,
                                     VOLTAGES[name], box)  # fmt: skip
            image = image + noise * random.normal(size=image.shape)
            images.append(_relion5(image, contrast) if premultiplied else image)
        write_mrc(folder / f"Extract/job009/Subtomograms/{name}/{i + 1}_stack2d.mrcs",
                  np.stack(images).astype(np.float16 if premultiplied else np.float32),
                  PIXEL * BINNING)  # fmt: skip
        total += len(images)
    particles = {
        "rlnTomoName": names,
        "rlnTomoParticleName": [f"{name}/{i + 1}" for i, name in enumerate(names)],
        "rlnImageName": [
            f"Extract/job009/Subtomograms/{name}/{i + 1}_stack2d.mrcs"
            for i, name in enumerate(names)
        ],
        "rlnTomoVisibleFrames": [f"[{','.join(str(int(f)) for f in v)}]" for v in visible],
        **{f"rlnCenteredCoordinate{a}Angst": centred[:, j] for j, a in enumerate("XYZ")},
        **{f"rlnOrigin{a}Angst": origins[:, j] for j, a in enumerate("XYZ")},
        **{f"rlnTomoSubtomogram{a}": angles[0, :, j] for j, a in enumerate(("Rot", "Tilt", "Psi"))},
        **{f"rlnAngle{a}": angles[1, :, j] for j, a in enumerate(("Rot", "Tilt", "Psi"))},
        "rlnOpticsGroup": [1 + i % 2 for i in range(n)],
        "rlnRandomSubset": random.permutation(np.arange(n) % 2 + 1),
    }
    made = TiltSet(folder, points, weights, series, particles, total, premultiplied)
    write_particles_star(made)
    write_tomograms(made)
    return made


def _series(random: np.random.Generator, n: int) -> Series:
    y = np.linspace(-54, 54, n) + random.normal(size=n)
    u = random.uniform(2.5e4, 3e4, n)
    defocus = np.stack([u, u - random.uniform(0, 800, n), random.uniform(0, 180, n)], 1)
    order = np.argsort(np.argsort(np.abs(y)))
    return Series(
        random.normal(size=n), y, 85.0 + random.normal(size=n), random.normal(size=(n, 2)) * 40,
        defocus, 3.0 * order, np.cos(np.deg2rad(y)),
    )  # fmt: skip


def _seen(
    series: Series, frame: int, centred: np.ndarray, origin: np.ndarray,
    subtomogram: np.ndarray, particle: np.ndarray, points: np.ndarray,
) -> tuple[np.ndarray, float]:  # fmt: skip
    """Where the points are in the cut-out image (k, 2), and how deep the particle lies, Angstrom."""
    matrix, middle = series.matrix(frame), SIZE / 2
    cut_around = centred / PIXEL + middle
    position = cut_around - subtomogram @ origin / PIXEL
    places = position + points @ (subtomogram @ particle).T / PIXEL

    def project(vectors: np.ndarray) -> np.ndarray:
        return (matrix @ np.append(np.atleast_2d(vectors), np.ones((len(np.atleast_2d(vectors)), 1)),
                                   axis=1).T).T[:, :3]  # fmt: skip

    seen = (project(places) - project(cut_around))[:, :2] * PIXEL
    return seen, float((project(position) - project(middle))[0, 2]) * PIXEL


def _image(
    seen: np.ndarray, weights: np.ndarray, series: Series, frame: int, depth: float, voltage: float,
    box: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """CTF and damage, and the image of points under them, its transform zero from Nyquist on."""
    pixel = PIXEL * BINNING
    ky = np.fft.fftfreq(box)[:, None]
    kx = np.fft.rfftfreq(box)[None]
    x, y = kx / pixel, ky / pixel
    squared = x**2 + y**2
    phases = np.exp(-2j * np.pi * (x[..., None] * seen[:, 0] + y[..., None] * seen[:, 1]))
    transform = (phases @ weights) * np.exp(-2 * np.pi**2 * WIDTH**2 * squared)
    volt = 1e3 * voltage
    wavelength = 12.2643247 / np.sqrt(volt * (1 + 0.978466e-6 * volt))
    u, v = series.defocus[frame, :2] + HAND * depth
    along = np.arctan2(y, x) - np.deg2rad(series.defocus[frame, 2])
    defocus = 0.5 * (u + v) + 0.5 * (u - v) * np.cos(2 * along)
    gamma = np.pi * wavelength * defocus * squared
    gamma = gamma - 0.5 * np.pi * CS * 1e7 * wavelength**3 * squared**2 + np.arcsin(CONTRAST)
    with np.errstate(divide="ignore"):
        damage = np.exp(-0.5 * series.dose[frame] / (0.245 * np.sqrt(squared) ** -1.665 + 2.81))
    contrast = np.sin(gamma) * series.scale[frame] * damage
    centre = np.exp(-2j * np.pi * (kx + ky) * (box // 2))
    spectrum = transform * contrast * centre * (kx**2 + ky**2 < 0.25)
    return contrast, np.fft.irfft2(spectrum, s=(box, box))


def _relion5(image: np.ndarray, contrast: np.ndarray) -> np.ndarray:
    """What RELION's extraction makes of an image of twice the box."""
    image = np.fft.irfft2(np.fft.rfft2(image) * contrast, s=image.shape)
    first = (len(image) - BOX) // 2
    axis = np.arange(len(image)) - len(image) // 2
    radius, circle = np.hypot(axis[:, None], axis[None]), BOX // 2
    edge = 0.5 - 0.5 * np.cos(np.pi * np.clip((circle - radius) / 5.0, 0.0, 1.0))
    image = (image - image[radius > circle].mean()) * edge
    return image[first : first + BOX, first : first + BOX]


def write_particles_star(made: TiltSet, **replaced: object) -> Path:
    """The table of particles, one row each; keywords replace or drop columns."""
    optics = {
        "rlnOpticsGroup": [1, 2],
        "rlnOpticsGroupName": list(VOLTAGES),
        "rlnVoltage": list(VOLTAGES.values()),
        "rlnSphericalAberration": [CS, CS],
        "rlnAmplitudeContrast": [CONTRAST, CONTRAST],
        "rlnTomoTiltSeriesPixelSize": [PIXEL, PIXEL],
        "rlnCtfDataAreCtfPremultiplied": [int(made.premultiplied)] * 2,
        "rlnImageDimensionality": [2, 2],
        "rlnTomoSubtomogramBinning": [BINNING, BINNING],
        "rlnImagePixelSize": [PIXEL * BINNING] * 2,
        "rlnImageSize": [BOX, BOX],
    }
    path = made.folder / "Extract/job009/particles.star"
    general = "\n# version 50001\n\ndata_general\n\n_rlnTomoSubTomosAre2DStacks 1\n"
    rows = made.particles | replaced
    path.write_text(general + star_block("optics", optics) + star_block("particles", rows))
    return path


def write_tomograms(made: TiltSet) -> Path:
    """RELION 5: a global table, a file for each tilt series, and the optimisation set of the job."""
    job = made.folder / "Tomograms/job006"
    (job / "tilt_series").mkdir(parents=True, exist_ok=True)
    for name, series in made.series.items():
        table = {
            "rlnMicrographName": [f"{name}_{f}.mrc" for f in range(len(series))],
            "rlnTomoXTilt": series.x_tilt, "rlnTomoYTilt": series.y_tilt,
            "rlnTomoZRot": series.z_rot,
            "rlnTomoXShiftAngst": series.shifts[:, 0], "rlnTomoYShiftAngst": series.shifts[:, 1],
            **_contrast(series),
        }  # fmt: skip
        (job / "tilt_series" / f"{name}.star").write_text(star_block(name, table))
    files = [f"Tomograms/job006/tilt_series/{name}.star" for name in made.series]
    table = _global(made) | {"rlnTomoTiltSeriesStarFile": files}
    (job / "tomograms.star").write_text(star_block("global", table))
    (made.folder / "Extract/job009/optimisation_set.star").write_text(
        "data_\n\n_rlnTomoParticlesFile Extract/job009/particles.star\n"
        "_rlnTomoTomogramsFile Tomograms/job006/tomograms.star\n"
    )
    return job / "tomograms.star"


def write_tomograms_of_relion4(made: TiltSet) -> Path:
    """RELION 4: all tables in one file, matrices written out; beside the particles."""
    blocks = star_block("global", _global(made))
    for name, series in made.series.items():
        matrices = np.stack([series.matrix(f) for f in range(len(series))])
        rows = {
            f"rlnTomoProj{axis}": ["[" + ",".join(map(str, m[i])) + "]" for m in matrices]
            for i, axis in enumerate("XYZW")
        }
        blocks += star_block(name, rows | _contrast(series))
    path = made.folder / "Extract/job009/tomograms.star"
    path.write_text(blocks)
    return path


def _global(made: TiltSet) -> dict[str, object]:
    n = len(made.series)
    return {
        "rlnTomoName": list(made.series),
        "rlnVoltage": list(VOLTAGES.values()),
        "rlnSphericalAberration": [CS] * n,
        "rlnAmplitudeContrast": [CONTRAST] * n,
        "rlnTomoTiltSeriesPixelSize": [PIXEL] * n,
        "rlnTomoHand": [HAND] * n,
        **{f"rlnTomoSize{axis}": [SIZE[i]] * n for i, axis in enumerate("XYZ")},
    }


def _contrast(series: Series) -> dict[str, object]:
    return {
        "rlnDefocusU": series.defocus[:, 0],
        "rlnDefocusV": series.defocus[:, 1],
        "rlnDefocusAngle": series.defocus[:, 2],
        "rlnCtfScalefactor": series.scale,
        "rlnMicrographPreExposure": series.dose,
    }
