"""The optics of a microscope: contrast transfer, aberrations, dose, and what they do to images."""

from .aberrations import (
    added,
    beam_tilt,
    even_phase,
    magnified,
    odd_phase,
    pure_beam_tilt,
    seen_rotations,
    zernike,
)
from .ctf import ctf, envelope
from .dose import dose_exponent
from .operators import Weighed, form, image_ctf, residuals_, weigh
from .processing import processed, recorded
from .response import image_frequencies, response
from .values import ISOTROPIC, Optics, OpticsGroup, Processing

__all__ = [
    "ISOTROPIC",
    "Optics",
    "OpticsGroup",
    "Processing",
    "Weighed",
    "added",
    "beam_tilt",
    "ctf",
    "dose_exponent",
    "envelope",
    "even_phase",
    "form",
    "image_ctf",
    "image_frequencies",
    "magnified",
    "odd_phase",
    "processed",
    "pure_beam_tilt",
    "recorded",
    "residuals_",
    "response",
    "seen_rotations",
    "weigh",
    "zernike",
]
