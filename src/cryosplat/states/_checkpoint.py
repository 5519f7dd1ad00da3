"""Searches that are broken off and go on: what a checkpoint belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..devices import device_of
from ..fitting import Journal
from ..io.checkpoint import CheckpointFile
from ..particles import Particles
from ..progress import Progress
from ..reconstruction.preparing import digests
from .values import StateSettings


def state_journal(
    path: Path, particles: Particles, settings: StateSettings, more: Mapping[str, Any],
    progress: Progress,
) -> Journal:  # fmt: skip
    """The journal in ``path`` of what was learned; raises `InputError` for that of another run."""
    store = CheckpointFile(path)
    if store.exists():
        progress.say(f"Resuming from {store}.")
    wanted = asdict(settings) | {"device": device_of(settings.device).type}
    return Journal.open(store, {"settings": wanted, **more, **digests(particles)})
