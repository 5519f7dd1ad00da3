"""Settings from a file, a preset and single options, each overriding those before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import SettingsError
from ._options import Device, Invert, existing

if TYPE_CHECKING:
    from ..settings import ReconstructionSettings

_image_option = partial(typer.Option, rich_help_panel="Image solver (with --solver images)")
OPTIONS = {"batch_size": "--batch", "shape": "--isotropic", "particle_weights": "--weights"}
"""Options of the image solver that are not called as their setting."""


AUTO = "auto"  # the point group, found with the poses


@dataclass(frozen=True, slots=True)
class FitOptions:
    """Settings of a reconstruction, as options; None where an option is not given."""

    settings: Annotated[
        Path | None,
        typer.Option(
            "--settings",
            metavar="FILE",
            parser=existing,
            help="Read settings from a TOML file; options override it.",
        ),
    ] = None
    gaussians: Annotated[
        int | None,
        typer.Option(metavar="N", help="Number of Gaussians. Default: chosen from the data."),
    ] = None
    symmetry: Annotated[
        str | None,
        typer.Option(
            metavar="GROUP",
            help="Point group about RELION's axes: Cn, Dn, T, O, I, I1 to I4; with --abinit also "
            "'auto'. Default: C1.",
        ),
    ] = None
    start: Annotated[
        str | None,
        typer.Option(
            metavar="START",
            help="Initial Gaussians: 'statistics' (default), 'random', or an earlier run's folder.",
        ),
    ] = None
    invert: Invert = None
    solvent: Annotated[
        bool | None,
        typer.Option(
            "--solvent/--no-solvent",
            help="Model the water around the molecule if the data show it (default), or never.",
        ),
    ] = None
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Steps per fit. Default: until convergence.")
    ] = None
    mask: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=existing,
            help="Mask for the FSC (.mrc). Default: generated automatically.",
        ),
    ] = None
    particle_diameter: Annotated[
        float | None,
        typer.Option(
            metavar="Å",
            help="Diameter of a sphere around the particle; density outside is ignored. Default: the "
            "extent is found in the data.",
        ),
    ] = None
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=existing,
            help="Compare the map with an atomic model (.cif, .pdb).",
        ),
    ] = None
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Skip noise substitution, the control that repeats all fits."),
    ] = False
    solver: Annotated[
        Literal["statistics", "images"] | None,
        typer.Option(
            help="Fit to the statistics of all particles (default) or to batches of images."
        ),
    ] = None
    weights: Annotated[
        Literal["auto", "equal"] | None,
        typer.Option(
            help="Weight and scale particles by their half-set's map if that improves the half-map "
            "FSC (default), or weight all equally."
        ),
    ] = None
    seed: Annotated[int | None, typer.Option(metavar="N", help="Random seed. Default: 0.")] = None
    device: Device = None
    preset: Annotated[
        Literal["paper"] | None, _image_option(help="Settings of the CryoSplat paper.")
    ] = None
    epochs: Annotated[int | None, _image_option(metavar="N", help="Passes over the images.")] = None
    batch_size: Annotated[
        int | None, _image_option("--batch", metavar="N", help="Images per step.")
    ] = None
    rate: Annotated[
        float | None,
        _image_option(
            metavar="X", help="Learning rate for batches of one image, in units of the box side."
        ),
    ] = None
    isotropic: Annotated[bool, _image_option("--isotropic", help="Use isotropic Gaussians.")] = (
        False
    )
    split_after: Annotated[
        list[int] | None,
        _image_option(
            metavar="EPOCH", help="Split every Gaussian in two after this epoch; may be repeated."
        ),
    ] = None

    def resolved(self) -> ReconstructionSettings:
        """The settings; raises `SettingsError`."""
        if self.symmetry == AUTO:
            raise SettingsError(
                "--symmetry auto: a point group is searched for while poses are found from nothing.\n"
                "  Remedy: add --abinit to reconstruct, or reconstruct in C1 and find the group of the "
                "result by 'cryosplat symmetrize RUN -o MAP.mrc --particles OUT.star'."
            )
        return settings_from(
            self.settings,
            self.preset,
            {
                "gaussians": self.gaussians, "start": self.start, "steps": self.steps,
                "seed": self.seed, "mask": self.mask and str(self.mask),
                "particle_diameter": self.particle_diameter,
                "model": self.model and str(self.model), "quick": self.quick or None,
                "contrast": None if self.invert is None else "dark" if self.invert else "bright",
                "solver": self.solver, "symmetry": self.symmetry,
                "solvent": None if self.solvent is None else "auto" if self.solvent else "none",
                "device": self.device,
                "particle_weights": self.weights,
            },
            {
                "epochs": self.epochs, "batch_size": self.batch_size, "rate": self.rate,
                "shape": "isotropic" if self.isotropic else None,
                "split_after": tuple(self.split_after) if self.split_after else None,
            },
        )  # fmt: skip


def settings_from(
    file: Path | None,
    preset: str | None,
    options: Mapping[str, Any],
    image_options: Mapping[str, Any],
) -> ReconstructionSettings:
    """The settings; an option that is None was not given.

    Raises `SettingsError`, also for options of the image solver where it is not the one used.
    """
    from ..settings import ReconstructionSettings

    settings = ReconstructionSettings() if file is None else ReconstructionSettings.from_toml(file)
    if preset == "paper":
        paper = ReconstructionSettings.paper(settings.gaussians)
        settings = replace(
            settings, gaussians=paper.gaussians, start=paper.start, solver=paper.solver,
            particle_weights=paper.particle_weights, solvent=paper.solvent, images=paper.images,
        )  # fmt: skip
    given = {name: value for name, value in options.items() if value is not None}
    settings = replace(settings, **given)
    of_images = {name: value for name, value in image_options.items() if value is not None}
    if of_images and settings.solver != "images":
        name = next(iter(of_images))
        option = OPTIONS.get(name, "--" + name.replace("_", "-"))
        raise SettingsError(
            f"{option}: is an option of the image solver, but the solver is {settings.solver!r}.\n"
            f"  Remedy: add --solver images, or leave {option} out."
        )
    return replace(settings, images=replace(settings.images, **of_images))
