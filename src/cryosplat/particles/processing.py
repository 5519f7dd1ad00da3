"""Images that were changed by their own CTF, brought back to what the detector recorded."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .. import fourier
from ..optics import Optics, Processing, ctf

# |CTF|, in parts of its envelope, where a premultiplied image no longer says what was recorded
ZERO = 0.02
# the smallest envelope that is divided by; rounding has the rest
_FAINTEST = 1e-4


def recorded(images: Tensor, optics: Optics) -> Tensor:
    """``images`` (n, d, d) float32 as they were before their CTF was applied to them, float32.

    Phase-flipped images are multiplied by the sign of their CTF again, which is exact. Premultiplied
    ones are multiplied by ``C / (C^2 + e^2)``, with C in parts of its envelope and e = 0.02: they
    become the recorded image times ``C^2 / (C^2 + e^2)``, which is it wherever the CTF is not nearly
    zero. There it keeps little, but what is estimated from an image takes ``C`` times it, and that
    has lost at most ``e / 2`` of the recorded image, so that nothing is lost at zeros.

    The CTF is that of ``optics``, with B-factor, dose and scale, as RELION multiplies it, at the
    frequencies of the images as they are given, cropped or not; odd aberrations, which are phases,
    have no part in it. Frequencies at Nyquist stay as they are: an image does not say which of two
    frequencies they are. Images of unprocessed groups are returned as they came.
    """
    result = images
    for i, group in enumerate(optics.groups):
        if group.processing == "none":
            continue
        rows = torch.nonzero(optics.group == i).squeeze(1)
        if not len(rows):
            continue
        own = optics.select(rows)
        own = replace(own, groups=(group,), group=torch.zeros_like(own.group))
        undone = _undone(images[rows], own, group.processing)
        result = result.clone() if result is images else result
        result[rows] = undone
    return result


def _undone(images: Tensor, optics: Optics, processing: Processing) -> Tensor:
    d = images.shape[-1]
    frequencies = fourier.frequencies((d, d), optics.groups[0].pixel_size)
    if processing == "premultiplied":
        envelope = _envelope(optics, frequencies).clamp_min(_FAINTEST)
        contrast = ctf(optics, frequencies) / envelope
        factor = contrast / (contrast.square() + ZERO**2) / envelope
    else:
        factor = torch.where(ctf(optics, frequencies) < 0.0, -1.0, 1.0)
    factor[:, ~fourier.below_nyquist((d, d))] = 1.0
    spectra = torch.fft.rfft2(images) * factor.to(images.dtype)
    return torch.fft.irfft2(spectra, s=(d, d))


def _envelope(optics: Optics, frequencies: Tensor) -> Tensor:
    """What the CTF is at most: that of a lens whose contrast is all of amplitude, (n, ...)."""
    plain = replace(
        optics.groups[0], spherical_aberration=0.0, amplitude_contrast=1.0, even=(),
    )  # fmt: skip
    zero = torch.zeros_like(optics.defocus_u)
    still = replace(
        optics, groups=(plain,), defocus_u=zero, defocus_v=zero, phase_shift=zero,
    )  # fmt: skip
    return ctf(still, frequencies).abs()
