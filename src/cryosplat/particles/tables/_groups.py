"""Optics groups from columns: rows that agree in everything a group holds share one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ...errors import InputError, SettingsError
from ...optics import OpticsGroup


def group_rows(
    names: Sequence[str], key: ArrayLike, columns: dict[str, ArrayLike], where: str,
    error: type[InputError],
) -> tuple[tuple[OpticsGroup, ...], NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
    """Groups of n rows: the groups, the group (n,) of each row, and each group's first row.

    ``key`` (n,) indexes ``names``, the groups of the file; ``columns`` holds `OpticsGroup`'s other
    fields (n,). A group of the file whose rows differ in a column is divided; groups
    of one name get numbers.
    """
    n = len(np.asarray(key))
    table = pd.DataFrame({k: np.broadcast_to(np.asarray(v), n) for k, v in columns.items()})
    table.insert(0, "key", np.asarray(key))
    group = table.groupby(list(table.columns), sort=True).ngroup().to_numpy(np.int64, copy=True)
    _, first = np.unique(group, return_index=True)
    parts = Counter(names[int(label)] for label in table["key"].iloc[first])
    groups, seen = [], dict.fromkeys(parts, 0)
    for row in table.iloc[first].to_dict("records"):
        name = names[int(row.pop("key"))]
        if parts[name] > 1:
            seen[name] += 1
            name = f"{name}_{seen[name]}"
        try:
            groups.append(OpticsGroup(name=name, **{**row, "box_size": int(row["box_size"])}))
        except SettingsError as wrong:
            raise error(f"{where}: {wrong}") from None
    return tuple(groups), group, first
