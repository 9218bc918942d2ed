"""Tables: CSV, TSV and Parquet, with the column that is to be foretold."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from whet.core.errors import TaskError, unknown
from whet.data.sources.scaling import standardized
from whet.data.sources.source import TABLES, Bad, Data, Options, Part, need
from whet.data.sources.splits import PILE, divided, files_of, split_of
from whet.data.sources.targets import targets_of

MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "?", "-"))
SPLIT = "split"
"""The column that says which split a row is of, if its values do."""
NONE = "none"
"""What --target-column says of a table that has none."""
SHOWN = 5
"""How many columns of a sample are shown, beside the last."""
Columns = dict[str, list[Any]]


class Tables:
    """A table whose first line names its columns; all but the target are inputs, numbers, in the file's order."""

    def load(self, path: Path, options: Options) -> Data:
        every: Columns = {}
        for split, one in files_of(path, TABLES).items():
            columns = read(one)
            if every and list(columns) != [name for name in every if name != SPLIT]:
                raise TaskError(f"'{one}' has other columns than the files beside it: {', '.join(columns)}.")
            rows = len(next(iter(columns.values()), []))
            for name, values in (columns | ({SPLIT: [split] * rows} if split else {})).items():
                every.setdefault(name, []).extend(values)
        return table_data(f"table ({''.join(path.suffixes[-2:]) or 'folder'})", every, options)


def read(path: Path) -> Columns:
    """Return the columns of a file by name; what is missing is None or empty."""
    if path.suffix == ".parquet":
        need("pyarrow", f"'{path}'")
        try:
            frame = need("pandas", f"'{path}'").read_parquet(path)
        except (OSError, ValueError) as error:
            raise TaskError(f"'{path}' is truncated or no Parquet file: {error}") from None
        return {
            str(name): [None if missing else value for value, missing in zip(frame[name].tolist(), frame[name].isna())]
            for name in frame
        }
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file, delimiter=_delimiter(path, file)) if line]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise TaskError(f"'{path}' is truncated or no table of UTF-8 text: {error}") from None
    if len(lines) < 2:
        raise TaskError(f"'{path}' has no rows below the names of its columns.")
    header = [name.strip() for name in lines[0]]
    if all(_number(name) is not None for name in header):
        raise TaskError(
            f"'{path}' does not name its columns in the first line: it begins with {', '.join(header[:4])}."
        )
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(header):
            raise TaskError(f"'{path}', row {number} has {len(line)} values; there are {len(header)} columns.")
    return {name: [value.strip() for value in column] for name, column in zip(header, zip(*lines[1:]))}


def _delimiter(path: Path, file: Any) -> str:
    if ".tsv" in path.suffixes:
        return "\t"
    first = file.readline()
    file.seek(0)
    return max((",", ";", "\t"), key=first.count)


def table_data(kind: str, columns: Mapping[str, list[Any]], options: Options) -> Data:
    """Return the samples of a table by its columns.

    Raises: TaskError for text where numbers are wanted, and for missing values unless they may be left out;
    UnknownNameError for a target that is no column.
    """
    splits = columns.get(SPLIT)
    if splits is not None and not all(isinstance(name, str) and split_of(name) for name in splits):
        splits = None
    names = [name for name in columns if splits is None or name != SPLIT]
    target = _target(names, options)
    count, bad = len(columns[names[0]]), Bad("rows")
    inputs = {name: _numbers(name, columns[name], bad) for name in names if name != target}
    if not inputs:
        raise TaskError("the table has no column but the target.")
    for row, value in enumerate(columns[target] if target else ()):
        if _is_missing(value):
            bad.found.setdefault(f"row {row + 2}", f"no value in '{target}'")
    kept = [row for row in range(count) if f"row {row + 2}" not in bad.found]
    notes = list(bad.settle(options, len(kept)))
    x = torch.from_numpy(np.stack([values[kept] for values in inputs.values()], 1))
    y = (
        targets_of(_typed([columns[target][row] for row in kept]), f"column '{target}'", options.aim)
        if target
        else None
    )
    notes += [y.note] if y and y.note else []
    where = [split_of(splits[row]) or PILE for row in kept] if splits is not None else [PILE] * len(kept)
    given = {
        split: Part({"x": x[rows]}, None if y is None else y.values[rows])
        for split in dict.fromkeys(where)
        if (rows := torch.tensor([i for i, name in enumerate(where) if name == split])).numel()
    }
    aim, classes = (y.aim, y.classes) if y else ("agreement", ())
    parts, how = divided(given, options, aim == "classes", classes)
    if options.standardize:
        parts = standardized(parts, aim == "numbers")
        notes.append("standardised by the training rows")
    notes.append(f"inputs in order: {', '.join(inputs)}")
    return Data(kind, parts, aim, how, classes, tuple(notes), _samples(columns, names, kept))


def _target(names: Sequence[str], options: Options) -> str | None:
    given = options.target_column
    if given in names:
        return given
    if given == NONE:
        return None
    if given is not None:
        raise unknown("column", given, names)
    raise TaskError(
        f"which column is to be foretold? Give --target-column, one of {', '.join(names)}; or --target-column {NONE} "
        "if the table has none, and quality is agreement with the original."
    )


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in MISSING) or value != value


def _numbers(name: str, values: Sequence[Any], bad: Bad) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return a column of inputs as numbers, shape (rows,); what is none is gathered in `bad`."""
    try:
        found = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        found = np.array([np.nan if _is_missing(v) or _number(v) is None else float(v) for v in values], np.float32)
    wrong = [int(row) for row in np.flatnonzero(~np.isfinite(found))]
    text = [row for row in wrong if not _is_missing(values[row]) and _number(values[row]) is None]
    if 2 * len(text) > len(values):
        raise TaskError(
            f"column '{name}' holds text such as '{values[text[0]]}', where numbers are wanted: encode it in the file, "
            "or leave the column out of it."
        )
    for row in wrong:
        why = f"'{values[row]}' in '{name}' is no number" if row in text else f"no value in '{name}'"
        bad.found.setdefault(f"row {row + 2}", why)
    return found


def _typed(values: list[Any]) -> Any:
    """Return labels as whole numbers, as numbers, or as they are, whatever all of them can be read as."""
    for kind in (np.int64, np.float64):
        try:
            if kind is np.float64 or not any(isinstance(value, float) for value in values):
                return np.asarray(values, dtype=kind)
        except (TypeError, ValueError, OverflowError):
            continue
    return [str(value) for value in values]


def _samples(columns: Mapping[str, list[Any]], names: Sequence[str], rows: Sequence[int]) -> tuple[str, ...]:
    shown = [*names[:SHOWN], *(["..."] if len(names) > SHOWN + 1 else []), *names[SHOWN:][-1:]]
    return tuple(", ".join(f"{n} {_short(columns[n][row])}" if n in columns else n for n in shown) for row in rows[:2])


def _short(value: Any) -> str:
    number = _number(value)
    return str(value) if number is None else f"{number:.4g}"
