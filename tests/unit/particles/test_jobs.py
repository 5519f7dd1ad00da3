"""Job folders in place of tables: the newest table of RELION's and cryoSPARC's jobs."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_sets import DataSet

from cryosplat.errors import InputError
from cryosplat.particles import read_particles, table_of


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["run_it025_data.star", "run_data.star", "run_model.star"], "run_data.star"),
        (["run_it009_data.star", "run_it010_data.star"], "run_it010_data.star"),
        (["run_it017_data.star", "run_ct17_it018_data.star"], "run_ct17_it018_data.star"),
        (["micrographs.star", "particles.star"], "particles.star"),
        (["J42_003_particles.cs", "J42_010_particles.cs", "J42_passthrough_particles.cs"],
         "J42_010_particles.cs"),
        (["cryosparc_P3_J42_011_particles.cs"], "cryosparc_P3_J42_011_particles.cs"),
        (["J42_particles_selected.cs", "J42_passthrough_particles_selected.cs"],
         "J42_particles_selected.cs"),
    ],
)  # fmt: skip
def test_the_newest_table_is_meant(tmp_path: Path, files: list[str], expected: str) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert table_of(tmp_path).name == expected


def test_a_folder_without_or_with_too_many_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it holds none"):
        table_of(tmp_path)
    for k in (0, 1):
        (tmp_path / f"J7_particles_class_{k}.cs").touch()
    with pytest.raises(
        InputError, match=r"several: J7_particles_class_0\.cs, J7_particles_class_1"
    ):
        table_of(tmp_path)


def test_particles_are_read_from_the_folder(data_set: DataSet) -> None:
    (data_set.folder / "run_data.star").write_text(data_set.star_rows())
    assert len(read_particles(data_set.folder)) == data_set.n
