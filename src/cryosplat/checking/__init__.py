"""What is wrong with a particle set, found in seconds, and a corrected table."""

from .checks import Checked, check_particles, table_items, unreadable
from .fixing import check_target, write_fixed
from .values import Item, Report

__all__ = [
    "Checked",
    "Item",
    "Report",
    "check_particles",
    "check_target",
    "table_items",
    "unreadable",
    "write_fixed",
]
