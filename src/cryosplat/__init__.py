"""Cryo-EM maps from particles as mixtures of anisotropic Gaussians.

The public names below are imported when first used, so that ``import cryosplat`` costs nothing.
"""

from __future__ import annotations

import importlib

from ._kernel_cache import choose_kernel_cache, forget_impossible_threads

__version__ = "0.1.0"

choose_kernel_cache()
forget_impossible_threads()

TYPE_CHECKING = False  # typing itself takes longer to import than all the rest here
if TYPE_CHECKING:
    from .batch import Batch
    from .errors import CryosplatError, InputError, OutputError, SettingsError
    from .fitting import Schedule, StatisticsTerm, descend, fit
    from .formation import MixtureProjector, SolvatedProjector, VolumeProjector, form_images
    from .grid import Grid
    from .io.mrc import read_map, write_map
    from .maps.fsc import fourier_shell_correlation
    from .maps.mask import soft_mask
    from .mixture import GaussianMixture
    from .noise import NoiseModel, estimate_noise
    from .optics import Optics, OpticsGroup
    from .particles import Particles, read_particles, split_half_sets, write_particles
    from .poses import Poses
    from .progress import SilentProgress
    from .reconstruction import Reconstruction, reconstruct
    from .run_folder import RunFolder, read_start, write_run
    from .settings import ReconstructionSettings
    from .simulation import SimulationSettings, mixture_from_atoms, simulate_particles
    from .solvent import Solvent
    from .splatting import voxelize
    from .statistics import Assignments, QuadraticForm, Statistics, accumulate

_MODULES = {
    "batch": ("Batch",),
    "errors": ("CryosplatError", "InputError", "OutputError", "SettingsError"),
    "fitting": ("Schedule", "StatisticsTerm", "descend", "fit"),
    "formation": ("MixtureProjector", "SolvatedProjector", "VolumeProjector", "form_images"),
    "grid": ("Grid",),
    "io.mrc": ("read_map", "write_map"),
    "mixture": ("GaussianMixture",),
    "noise": ("NoiseModel", "estimate_noise"),
    "optics": ("Optics", "OpticsGroup"),
    "particles": ("Particles", "read_particles", "split_half_sets", "write_particles"),
    "poses": ("Poses",),
    "progress": ("SilentProgress",),
    "reconstruction": ("Reconstruction", "reconstruct"),
    "run_folder": ("RunFolder", "read_start", "write_run"),
    "settings": ("ReconstructionSettings",),
    "simulation": ("SimulationSettings", "mixture_from_atoms", "simulate_particles"),
    "solvent": ("Solvent",),
    "splatting": ("voxelize",),
    "statistics": ("Assignments", "QuadraticForm", "Statistics", "accumulate"),
    "maps.fsc": ("fourier_shell_correlation",),
    "maps.mask": ("soft_mask",),
}  # fmt: skip
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Assignments",
    "Batch",
    "CryosplatError",
    "GaussianMixture",
    "Grid",
    "InputError",
    "MixtureProjector",
    "NoiseModel",
    "Optics",
    "OpticsGroup",
    "OutputError",
    "Particles",
    "Poses",
    "QuadraticForm",
    "Reconstruction",
    "ReconstructionSettings",
    "RunFolder",
    "Schedule",
    "SettingsError",
    "SilentProgress",
    "SimulationSettings",
    "SolvatedProjector",
    "Solvent",
    "Statistics",
    "StatisticsTerm",
    "VolumeProjector",
    "accumulate",
    "descend",
    "estimate_noise",
    "fit",
    "form_images",
    "fourier_shell_correlation",
    "mixture_from_atoms",
    "read_map",
    "read_particles",
    "read_start",
    "reconstruct",
    "simulate_particles",
    "soft_mask",
    "split_half_sets",
    "voxelize",
    "write_map",
    "write_particles",
    "write_run",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'cryosplat' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
