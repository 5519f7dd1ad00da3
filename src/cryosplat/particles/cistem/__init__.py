"""cisTEM's star files, as RELION's columns."""

from ._reader import ACTIVE_ROWS, OWN_LABELS, is_cistem, relion_columns

__all__ = ["ACTIVE_ROWS", "OWN_LABELS", "is_cistem", "relion_columns"]
