"""A data set that the `datasets` library of Hugging Face wrote to disk with `save_to_disk`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whet.core.errors import TaskError, unknown
from whet.data.batches import TARGET_KEYS
from whet.data.sources.images import image_data
from whet.data.sources.pictures import why_unreadable
from whet.data.sources.source import Bad, Data, Options, need
from whet.data.sources.splits import PILE, in_lengths, split_of
from whet.data.sources.tables import SPLIT, table_data
from whet.data.sources.targets import targets_of
from whet.data.sources.texts import text_data, text_key

KIND = "data set on disk (Hugging Face)"


class SavedDatasets:
    """A `Dataset` or `DatasetDict` on disk: images, text or columns of numbers, with a label where it has one."""

    def load(self, path: Path, options: Options) -> Data:
        library = need("datasets", f"'{path}'")
        try:
            found = library.load_from_disk(str(path))
        except Exception as error:  # the library raises errors of many kinds
            raise TaskError(f"'{path}' is truncated or no data set on disk: {error}") from None
        sets = dict(found) if isinstance(found, library.DatasetDict) else {PILE: found}
        sets = {split_of(name) or PILE: one for name, one in sets.items() if split_of(name) or len(sets) == 1}
        if not sets:
            raise TaskError(f"'{path}' has no part called train, val or test: {', '.join(found)}.")
        features = next(iter(sets.values())).features
        label = _label(features, options)
        if pictures := [n for n, kind in features.items() if isinstance(kind, library.Image)]:
            return _images(library, sets, pictures[0], label, options)
        columns = {split: _columns(one, label) for split, one in sets.items()}
        if any(getattr(kind, "dtype", "") == "string" for name, kind in features.items() if name != label):
            return _texts(columns, label, options)
        return _table(columns, label, options)


def _label(features: Mapping[str, Any], options: Options) -> str | None:
    given = options.target_column
    if given not in (None, "none") and given not in features:
        raise unknown("column", str(given), features)
    return given if given in features else next((key for key in TARGET_KEYS if key in features), None)


def _columns(one: Any, label: str | None) -> dict[str, list[Any]]:
    """Return the columns of a data set as lists, class numbers of the label by their names."""
    columns = {name: list(one.with_format(None)[name]) for name in one.column_names}
    names = getattr(one.features[label], "names", None) if label else None
    if names and label:
        columns[label] = [None if number is None else names[number] for number in columns[label]]
    return columns


def _texts(columns: Mapping[str, dict[str, list[Any]]], label: str | None, options: Options) -> Data:
    first = {name: values[0] for name, values in next(iter(columns.values())).items()}
    text = text_key(first, label)
    texts = {split: [str(value) for value in own[text]] for split, own in columns.items()}
    labels = {split: own[label] for split, own in columns.items()} if label else {}
    return text_data(KIND, texts, labels, (), options)


def _table(columns: Mapping[str, dict[str, list[Any]]], label: str | None, options: Options) -> Data:
    from dataclasses import replace

    every: dict[str, list[Any]] = {}
    for split, own in columns.items():
        rows = len(next(iter(own.values())))
        for name, values in (own | ({SPLIT: [split] * rows} if split else {})).items():
            every.setdefault(name, []).extend(values)
    return table_data(KIND, every, replace(options, target_column=label or options.target_column))


def _images(library: Any, sets: Mapping[str, Any], column: str, label: str | None, options: Options) -> Data:
    raws: dict[str, list[Any]] = {}
    labels: dict[str, list[Any]] = {}
    bad = Bad("images")
    for split, one in sets.items():
        plain = one.cast_column(column, library.Image(decode=False))
        every = [image["bytes"] or Path(image["path"]) for image in plain[column]]
        why = {row: reason for row, raw in enumerate(every) if (reason := why_unreadable(raw))}
        bad.found |= {f"{split or 'row'} {row}": reason for row, reason in why.items()}
        raws[split] = [raw for row, raw in enumerate(every) if row not in why]
        if label:
            own = _columns(one.select_columns([label]), label)[label]
            labels[split] = [value for row, value in enumerate(own) if row not in why]
    notes = bad.settle(options, sum(map(len, raws.values())))
    targets = targets_of([y for own in labels.values() for y in own], f"'{label}'", options.aim) if label else None
    cut = in_lengths(targets.values, map(len, labels.values())) if targets else []
    numbers: dict[str, Tensor | None] = dict(zip(raws, cut)) if targets else dict.fromkeys(raws)
    names = _names(next(iter(sets.values())), label, targets.classes if targets else ())
    if names is not None and targets is not None:
        order = torch.tensor([names.index(name) for name in targets.classes])
        numbers = {split: None if own is None else order[own] for split, own in numbers.items()}
    return image_data(KIND, raws, numbers, names or (targets.classes if targets else ()), notes, (), options)


def _names(one: Any, label: str | None, found: tuple[str, ...]) -> tuple[str, ...] | None:
    names = getattr(one.features[label], "names", None) if label else None
    return tuple(names) if names and set(found) <= set(names) else None
