"""Data that users bring: one file a kind of source, and the table that says which path is which.

`understood("pictures/", Options())` returns `Data`: inputs and targets split by split, and what to say of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from whet.core.errors import TaskError
from whet.data.sources.source import ARRAYS, IMAGES, SOUNDS, TABLES, TEXTS, Data, Options, Source

__all__ = ["SOURCES", "Data", "Options", "Row", "row_of", "understood"]


@dataclass(frozen=True)
class Row:
    """One kind of source, and the paths that are its own.

    A path fits by how its name ends; a folder by a file that it holds (`marks`), by how the files end that lie directly
    in it under the name of a split (`beside`), or by how those end that lie in folders in it (`below`).
    """

    name: str
    where: str
    looks_like: str
    suffixes: tuple[str, ...] = ()
    inside: str = ""
    marks: tuple[str, ...] = ()
    below: tuple[str, ...] = ()

    def takes(self, path: Path) -> bool:
        """Say whether a path is of this kind."""
        if path.is_dir():
            return any((path / mark).is_file() for mark in self.marks) or self._holds(path)
        return path.name.lower().endswith(self.suffixes) or bool(self.inside and self.inside in path.name)

    def _holds(self, folder: Path) -> bool:
        splits = [
            one for one in folder.iterdir() if one.is_file() and one.name.lower().partition(".")[0] in ("train", "test")
        ]
        if any(one.name.lower().endswith(self.suffixes) for one in splits):
            return True
        return any(one.suffix.lower() in self.below for one in folder.rglob("*")) if self.below else False

    def load(self) -> Source:
        """Import the source and return one of it."""
        module, _, name = self.where.partition(":")
        source: Source = getattr(import_module(module), name)()
        return source


_HERE = "whet.data.sources"
SOURCES = (
    Row("task", f"{_HERE}.task_file:TaskFile", "task.py:make", inside=".py:"),
    Row("arrays", f"{_HERE}.arrays:Arrays", "a.npz, .npy, .pt or .safetensors", ARRAYS),
    Row("table", f"{_HERE}.tables:Tables", "a.csv, .tsv or .parquet", TABLES),
    Row("text", f"{_HERE}.texts:Texts", "a.txt or .jsonl", TEXTS),
    Row("saved data set", f"{_HERE}.saved_datasets:SavedDatasets", "a folder of datasets' save_to_disk",
        marks=("dataset_dict.json", "dataset_info.json")),
    Row("sounds", f"{_HERE}.sounds:Sounds", "a folder of .wav by class", below=SOUNDS),
    Row("images", f"{_HERE}.images:Images", "a folder of images by class", below=IMAGES),
)  # fmt: skip
"""The first row that takes a path reads it."""


def row_of(path: Path) -> Row:
    """Return the row of the table that takes a path.

    Raises: TaskError for a path that is not there, or that nothing reads.
    """
    file = Path(str(path).partition(".py:")[0] + ".py") if ".py:" in path.name else path
    if not file.exists():
        raise TaskError(f"data '{file}' does not exist.")
    kinds = "; ".join(row.looks_like for row in SOURCES)
    for row in SOURCES:
        if row.takes(path):
            return row
    what = "folder holds nothing" if path.is_dir() else "file is nothing"
    raise TaskError(f"data '{path}': this {what} that is read. Data are: {kinds}.")


def understood(path: str | Path, options: Options | None = None) -> Data:
    """Return what is at a path: inputs and targets split by split."""
    path = Path(path)
    return row_of(path).load().load(path, options or Options())
