"""Starting where an earlier run ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, SettingsError
from ..mixture import GaussianMixture
from ..settings import ReconstructionSettings


@dataclass(frozen=True, slots=True)
class Start:
    """Mixtures [full, half 1, half 2] of an earlier run, and the digest of its ``half_sets``.

    ``source`` names the run in messages, and ``particles`` the file where its half-sets are.
    """

    mixtures: list[GaussianMixture]
    half_sets: str | None
    source: Path
    particles: str

    def check(self, half_sets: str, symmetry: str) -> None:
        """Raise `InputError` where the run had other half-sets or another symmetry.

        A half-set that starts from Gaussians which have seen the other half gives no honest FSC.
        """
        if self.half_sets != half_sets:
            raise InputError(
                f"{self.source}: that run was made with other particles or half-sets, so the half-maps "
                f"of a run that starts there would not be independent.\n"
                f"  Remedy: give the same particle file; if that run drew the half-sets, give its "
                f"{self.particles}."
            )
        for mixture in self.mixtures:
            if mixture.symmetry != symmetry:
                raise InputError(
                    f"{self.source}: its Gaussians have the symmetry {mixture.symmetry}, expected "
                    f"{symmetry}, as in this run.\n"
                    f"  Remedy: --symmetry {mixture.symmetry}, or leave --start out."
                )


def mixtures_to_start_from(
    start: Start | None, settings: ReconstructionSettings, half_sets: str
) -> list[GaussianMixture] | None:
    """Mixtures of an earlier run that fit this one; None where ``settings`` name no run."""
    if settings.start in ("statistics", "random"):
        return None
    if start is None:
        raise SettingsError(
            f"reconstruct: the settings start from {settings.start!r}, but no start was given.\n"
            f"  Remedy: reconstruct(..., start=read_start(settings))"
        )
    start.check(half_sets, settings.symmetry)
    return start.mixtures
