"""What the dialects of particle tables share: columns, optics groups and their effects, and what the
user gives in place of columns."""

from ._aberrations import (
    CRYOSPARC_FIELDS,
    MOST_GROUPS,
    Aberration,
    Effects,
    Matrix,
    effect_notes,
    effects_without_ctf,
    in_degrees,
    largest_turn,
    stretches,
    unapplied_note,
    unapplied_stretch,
    with_effects,
)
from ._b_factors import damping_b_factors
from ._columns import (
    decimal,
    half_set_labels,
    integer_codes,
    integers,
    numbers,
    numbers_if_any,
    scales,
    signs,
    single_half_set,
)
from ._groups import group_rows
from ._replacements import (
    is_no_ctf,
    optics_without_ctf,
    pickled_optics,
    pickled_poses,
    pixel_size_note,
    unused_columns_note,
)

__all__ = [
    "CRYOSPARC_FIELDS",
    "MOST_GROUPS",
    "Aberration",
    "Effects",
    "Matrix",
    "damping_b_factors",
    "decimal",
    "effect_notes",
    "effects_without_ctf",
    "group_rows",
    "half_set_labels",
    "in_degrees",
    "integer_codes",
    "integers",
    "is_no_ctf",
    "largest_turn",
    "numbers",
    "numbers_if_any",
    "optics_without_ctf",
    "pickled_optics",
    "pickled_poses",
    "pixel_size_note",
    "scales",
    "signs",
    "single_half_set",
    "stretches",
    "unapplied_note",
    "unapplied_stretch",
    "unused_columns_note",
    "with_effects",
]
