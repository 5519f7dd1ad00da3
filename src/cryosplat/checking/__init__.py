"""Faults of a particle set, found in seconds, and a corrected table."""

from .checks import CheckResult, check_particles, table_items, unreadable_report
from .fixing import check_target, write_fixed
from .values import Item, Report

__all__ = [
    "CheckResult",
    "Item",
    "Report",
    "check_particles",
    "check_target",
    "table_items",
    "unreadable_report",
    "write_fixed",
]
