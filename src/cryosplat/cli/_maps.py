"""``cryosplat voxelize``: Gaussians as a map."""

from __future__ import annotations

from pathlib import Path

from ..errors import SettingsError
from ..grid import Grid
from ..io.atomic import check_no_input, check_suffix
from ..io.mrc import write_map
from ..mixture import GaussianMixture
from ..run_folder import RunFolder
from ..simulation import band_limited_map
from ..splatting import voxelize
from ._console import plain_console
from ._outcome import trusting

NARROWEST = 0.39  # pixels: a little below the floor of a fit
MAP_SUFFIXES = (".mrc", ".map")


def run_voxelize(
    source: Path, out: Path, box: int | None, pixel_size: float | None, at: str | None
) -> None:
    """Write the map of a mixture: of Gaussians in a file, or of a run's state ``at`` some place.

    Gaussians too narrow for the pixels are band-limited instead of sampled, so nothing aliases.
    """
    check_suffix("-o", out, "maps", MAP_SUFFIXES)
    check_no_input("-o", out, [source])
    if at is not None:
        mixture, own = _state(source, at)
        box, pixel_size = box or own.box_size, pixel_size or own.side / (box or own.box_size)
    elif source.is_dir():
        raise SettingsError(
            f"voxelize: --at is needed for {source}, the folder of a run.\n"
            f"  Remedy: --at 1 (a class) or --at 0.3 (a coordinate)."
        )
    elif box is None or pixel_size is None:
        raise SettingsError(
            "voxelize: --box and --pixel-size are needed for a file of Gaussians.\n"
            "  Remedy: give both, for example those of the particles."
        )
    else:
        mixture = GaussianMixture.load(source)
    grid = Grid(box, pixel_size)
    narrow = float(mixture.scales.min()) < NARROWEST * pixel_size
    volume = band_limited_map(mixture, grid) if narrow else voxelize(mixture, grid)
    write_map(out, volume.numpy(), pixel_size, f"from {source.name}")
    plain_console().print(
        f"{out}: {mixture.copies * len(mixture):,} Gaussians on {box} px of {pixel_size:g} Å"
    )


def _state(run: Path, at: str) -> tuple[GaussianMixture, Grid]:
    """The mixture of a run's state, and the grid of its maps."""
    from ..run_folder.stored_states import StoredStates

    try:
        place = [float(part) for part in at.split(",")]
    except ValueError:
        raise SettingsError(
            f"--at {at}: expected a coordinate, or several with commas between, or a class's number."
        ) from None
    folder = RunFolder(run)
    summary = folder.read_summary()
    with trusting(run):
        return StoredStates.open(folder).at(place), Grid(summary.box_size, summary.pixel_size)
