"""Where tensors live and kernels run: the CPU, or a CUDA device."""

from __future__ import annotations

import importlib.util

import torch

from .errors import SettingsError

NAMES = ("auto", "cpu", "cuda")


def device_of(name: str) -> torch.device:
    """The device that is meant by ``name``, one of `NAMES`.

    "auto" is the CUDA device where PyTorch has one and Triton, which the kernels are written in, is
    installed; else the CPU. Raises `SettingsError` for "cuda" where there is none.
    """
    if name not in NAMES:
        raise SettingsError(f"device {name!r}: expected one of {', '.join(NAMES)}.")
    if name == "cpu":
        return torch.device("cpu")
    missing = _missing()
    if not missing:
        return torch.device("cuda", torch.cuda.current_device())
    if name == "auto":
        return torch.device("cpu")
    raise SettingsError(f"--device cuda: {missing}, or --device cpu.")


def device_title(device: torch.device) -> str:
    """The device as people know it, such as "NVIDIA H100 80GB HBM3"."""
    return "CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)


def _missing() -> str:
    """What keeps the kernels off a CUDA device, with its remedy; empty where nothing does."""
    if not torch.cuda.is_available():
        return (
            f"PyTorch {torch.__version__} finds no CUDA device.\n"
            f"  Remedy: check `nvidia-smi`, and install a CUDA build of PyTorch (pytorch.org)"
        )
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed.\n  Remedy: pip install 'cryosplat[gpu]'"
    return ""
