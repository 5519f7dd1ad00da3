"""What a user may choose about the refinement of poses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ._rules import check, choice, number, setting, whole
from ._toml import check_names


@dataclass(frozen=True, slots=True)
class RefinementSettings:
    """How poses are refined before a reconstruction.

    ``rounds``: at most so many, each a fit of both half-sets and a pass over their images; ``angle``:
    how far a given orientation may be off, in degrees, and ``shift`` in Angstrom, for the first search.
    ``prior``: "given", a normal prior about the given poses, whose widths the images tell; or "none",
    where the given poses were found in these very images, which such a prior would count twice.
    ``defocus`` of each particle, ``beam_tilt`` and ``magnification`` of each optics group: whether
    they are refined too; what is found is used where unseen images gain by it.

    Raises
    ------
    SettingsError
        A value is outside its range or of another type.
    """

    rounds: int = setting(6, whole(1, 100))
    angle: float = setting(15.0, number("0 to 30 degrees", lambda v: 0.0 <= v <= 30.0))
    shift: float = setting(6.0, number("0 to 50 Angstrom", lambda v: 0.0 <= v <= 50.0))
    prior: Literal["given", "none"] = setting("given", choice("given", "none"))
    defocus: bool = True
    beam_tilt: bool = True
    magnification: bool = True

    def __post_init__(self) -> None:
        check(self, "refinement.")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> RefinementSettings:
        """The settings with these values; raises `SettingsError` for a name that is none of them."""
        check_names(RefinementSettings, values, "settings, refinement")
        return RefinementSettings(**values)
