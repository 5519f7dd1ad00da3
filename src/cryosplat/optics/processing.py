"""Stored images that were already changed by their CTF: phase-flipped, or multiplied by it.

The image y of a detector is stored as ``z = D y`` with D = 1, the sign of the CTF C, or C itself, as
`OpticsGroup.processing` says; D has C's envelope and scale, as RELION multiplies it. Stored images are
used as they are. What is estimated from one takes ``C y``, which is `matched` times z: nothing is
divided, and a premultiplied image needs nothing more. `undone` is for numbers of single images.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import fourier
from .ctf import ctf, envelope
from .response import image_frequencies
from .values import Optics

ZERO = 0.02
"""|CTF|, in parts of its envelope, where a premultiplied image no longer says what was recorded."""
FAINTEST = 1e-4
"""The smallest envelope that is divided by; rounding has the rest."""
CODES = {"none": 0, "phase-flipped": 1, "premultiplied": 2}
"""How kernels know the processing."""


def matched(values: Tensor, optics: Optics) -> Tensor:
    """What a stored image is multiplied by to become ``C y``: C, |C| or 1, for CTFs ``values``."""
    code = _codes(optics, values)
    return torch.where(code == 2, 1.0, torch.where(code == 1, values.abs(), values))


def undone(values: Tensor, optics: Optics, frequencies: Tensor) -> Tensor:
    """What a stored image is multiplied by to become y: 1, the sign of C, or nearly 1 / C.

    For premultiplied images ``c / (c^2 + ZERO^2)`` over the envelope, with c the CTF in parts of it:
    y, but where the CTF is nearly zero, and nothing in its stead there.
    """
    code = _codes(optics, values)
    result = torch.where(code == 1, _signs(values), torch.ones_like(values))
    if bool((code == 2).any()):
        most = envelope(optics, frequencies).abs().clamp_min(FAINTEST)
        share = values / most
        result = torch.where(code == 2, share / (share.square() + ZERO**2) / most, result)
    return result


def processed(spectra: Tensor, optics: Optics) -> Tensor:
    """``rfft2`` of images as they are stored, from those as they were recorded, of one pixel size."""
    values = ctf(optics, image_frequencies(optics, spectra.shape[1]))
    code = _codes(optics, values)
    factors = torch.where(code == 2, values, torch.where(code == 1, _signs(values), 1.0))
    return spectra * factors.to(spectra.real.dtype)


def recorded(spectra: Tensor, optics: Optics) -> Tensor:
    """``rfft2`` of stored images of one pixel size, as `undone` makes them what was recorded.

    Frequencies at Nyquist stay: an image does not say which of two frequencies they are.
    """
    if all(group.processing == "none" for group in optics.present()[0]):
        return spectra
    box = spectra.shape[1]
    frequencies = image_frequencies(optics, box)
    factors = undone(ctf(optics, frequencies), optics, frequencies)
    factors[:, ~fourier.below_nyquist((box, box), factors.device)] = 1.0
    return spectra * factors.to(spectra.real.dtype)


def _signs(values: Tensor) -> Tensor:
    return torch.where(values < 0.0, -1.0, 1.0).to(values)


def _codes(optics: Optics, values: Tensor) -> Tensor:
    codes = torch.tensor([CODES[g.processing] for g in optics.groups], device=values.device)
    return codes[optics.group].reshape((-1,) + (1,) * (values.dim() - 1))
