"""Which source reads which path: the table."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_files import write_digits, write_tones

from whet.core.errors import TaskError
from whet.data.sources import SOURCES, row_of


def test_each_kind_of_path_has_its_row(tmp_path: Path) -> None:
    for name in ("a.npz", "b.PT", "c.csv", "d.csv.gz", "e.parquet", "f.txt", "g.jsonl", "own.py"):
        (tmp_path / name).touch()
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "dataset_dict.json").touch()
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "train.csv").touch()
    write_digits(tmp_path / "images", 20, ("train", "test"))
    write_tones(tmp_path / "tones")
    wanted = {
        "a.npz": "arrays", "b.PT": "arrays", "c.csv": "table", "d.csv.gz": "table", "e.parquet": "table",
        "f.txt": "text", "g.jsonl": "text", "own.py:make": "task", "saved": "saved data set", "parts": "table",
        "images": "images", "tones": "sounds",
    }  # fmt: skip
    assert {name: row_of(tmp_path / name).name for name in wanted} == wanted
    assert {row.name for row in SOURCES} == set(wanted.values())


def test_every_row_loads_a_source() -> None:
    assert all(callable(row.load().load) for row in SOURCES)


def test_what_nobody_reads_is_said_with_all_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.docx").touch()
    with pytest.raises(TaskError, match=r"a.docx': this file is nothing that is read. Data are: .*images by class"):
        row_of(tmp_path / "a.docx")
    with pytest.raises(TaskError, match="absent' does not exist"):
        row_of(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TaskError, match="this folder holds nothing that is read"):
        row_of(tmp_path / "empty")
