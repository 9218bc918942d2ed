"""A folder with a folder for each class, as it is or below train, val and test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from whet.core.errors import TaskError
from whet.data.sources.pictures import settings_of
from whet.data.sources.source import Bad, Options
from whet.data.sources.splits import PILE, split_of

SHOWN = 3
"""How many files are shown of a folder."""


@dataclass(frozen=True)
class Files:
    """The files of each split with their class numbers, and the classes' names."""

    paths: dict[str, list[Path]]
    labels: dict[str, Tensor]
    classes: tuple[str, ...]
    notes: tuple[str, ...]

    def first(self) -> list[Path]:
        """Return the first file of each of the first three classes."""
        found: dict[int, Path] = {}
        for split, several in self.paths.items():
            for path, number in zip(several, self.labels[split].tolist(), strict=True):
                found.setdefault(number, path)
        return [found[number] for number in sorted(found)[:SHOWN]]


def files_by_class(folder: Path, suffixes: Sequence[str], options: Options, what: str) -> Files:
    """Return the files of each class.

    Classes are numbered by their names in order, or as `config.json` beside the network says where it has all of them.
    Raises: TaskError for a folder without classes or with a single one, and for other files under `options.skip_bad`.
    """
    roots = {split: path for path in _folders(folder) if (split := split_of(path.name))}
    if not roots:
        roots = {PILE: folder}
    found: dict[str, dict[str, list[Path]]] = {}
    bad = Bad("files")
    for split, root in roots.items():
        loose = sorted(path for path in root.iterdir() if path.suffix.lower() in suffixes)
        kinds = {path.name: _files(path, suffixes, bad) for path in _folders(root)}
        found[split] = {name: files for name, files in kinds.items() if files}
        if not found[split]:
            kind = f"{len(loose)} {what} and no folder of a class" if loose else f"no folder of a class with {what}"
            raise TaskError(
                f"'{root}' holds {kind}: give each class a folder, '{root.name}/cat/1{suffixes[0]}'. Without labels, "
                "give the inputs as arrays: inputs.npz."
            )
    names = sorted({name for kinds in found.values() for name in kinds})
    if len(names) < 2:
        raise TaskError(f"'{folder}' has a single class, '{names[0]}': there is nothing to tell apart.")
    classes, notes = _numbered(tuple(names), options)
    paths = {split: [path for name in classes for path in kinds.get(name, ())] for split, kinds in found.items()}
    labels = {
        split: torch.tensor([n for n, name in enumerate(classes) for _ in kinds.get(name, ())])
        for split, kinds in found.items()
    }
    return Files(paths, labels, classes, (*notes, *bad.settle(options, sum(map(len, paths.values())))))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(folder: Path, suffixes: Sequence[str], bad: Bad) -> list[Path]:
    every = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    for path in every:
        if path.suffix.lower() not in suffixes:
            bad.found[f"{folder.name}/{path.name}"] = f"a {path.suffix or 'file without ending'}"
    return [path for path in every if path.suffix.lower() in suffixes]


def _numbered(names: tuple[str, ...], options: Options) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the classes in the order of their numbers, and the note of where that is from."""
    own = settings_of(options.beside, "config.json").get("label2id") or {}
    if set(names) == set(own):
        return tuple(sorted(names, key=lambda name: int(own[name]))), ("classes are numbered as in config.json",)
    return names, ()


def without(files: Files, bad: Bad, options: Options) -> Files:
    """Return the files without those that are bad, by their paths."""
    notes = bad.settle(options, sum(map(len, files.paths.values())) - len(bad.found))
    paths, labels = {}, {}
    for split, several in files.paths.items():
        kept = [row for row, path in enumerate(several) if str(path) not in bad.found]
        paths[split], labels[split] = [several[row] for row in kept], files.labels[split][kept]
    return Files(paths, labels, files.classes, (*files.notes, *notes))
