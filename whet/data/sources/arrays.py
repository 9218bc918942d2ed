"""Arrays in a file: .npz, .npy, .pt (tensors alone, nothing is unpickled) and .safetensors."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whet.core.errors import TaskError, unknown
from whet.data.batches import TARGET_KEYS
from whet.data.detection import CORNERS, packed
from whet.data.sources.pictures import BYTES
from whet.data.sources.scaling import Scaled, standardized
from whet.data.sources.source import ARRAYS, Data, Options, Part
from whet.data.sources.splits import PILE, divided, files_of, in_lengths, split_of
from whet.data.sources.targets import Targets, targets_of

CHANNELS, BOXES = (1, 3), "boxes"


class Arrays:
    """Arrays by name: `y` (or label, target) holds the labels, all others are inputs; `x_train` is part of a split.

    With `boxes` (N, most, 4) beside labels (N, most) the targets are both: corners, and -1 where there is none.

    Bytes of shape (N, H, W, C) or (N, H, W) are images; all else is taken as it is, but for `--mean` and `--std`.
    """

    def load(self, path: Path, options: Options) -> Data:
        found: dict[str, dict[str, Any]] = {}
        for split, one in files_of(path, ARRAYS).items():
            for key, array in read(one).items():
                own, name = placed(key)
                found.setdefault(own or split, {})[name] = array
        told, values = _targets(found, options)
        _check(path, found, values)
        given = {
            split: Part({name: _image(array) for name, array in part.items()}, values.get(split))
            for split, part in found.items()
        }
        flat = told.aim == "classes" and all(labels.dim() == 1 for labels in values.values())
        parts, splits = divided(given, options, flat, told.classes)
        notes, prepare = [told.note] if told.note else [], _prepare(parts, options)
        if options.standardize:
            parts = standardized(parts, told.aim == "numbers")
            notes.append("standardised by the training rows")
        if prepare is not None:
            notes.append(f"values are {prepare}")
        kind = f"arrays ({path.suffix or 'folder'})"
        return Data(kind, parts, told.aim, splits, told.classes, tuple(notes), prepare=prepare)


def read(path: Path) -> dict[str, Any]:
    """Return the arrays of a file by name, numbers and text of any shapes.

    A single one is `x`, two without names are `x` and `y`.

    Raises: TaskError for a file that is cut off or holds something else.
    """
    try:
        found = READERS[path.suffix.lower()](path)
    except (OSError, ValueError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TaskError(f"'{path}' is truncated or holds no plain arrays: {reason:.200}") from None
    except Exception as error:  # what zipfile and safetensors raise is of their own kinds
        raise TaskError(f"'{path}' is truncated or holds no plain arrays: {error!s:.200}") from None
    given = _named(found)
    for name, value in given.items():
        if getattr(value, "ndim", 0) < 1 or not (isinstance(value, Tensor) or value.dtype.kind in "US"):
            raise TaskError(f"'{path}': '{name}' is no array with a row for each sample; got {type(value).__name__}.")
    return given


def _named(found: Any) -> dict[str, Any]:
    if isinstance(found, Mapping):
        return {str(name): _tensor(value) for name, value in found.items()}
    several = found if isinstance(found, tuple | list) else (found,)
    return {name: _tensor(value) for name, value in zip(("x", "y"), several)}


def _tensor(value: Any) -> Any:
    """Return an array of numbers as a tensor of its shape; text, which only labels are, stays an array."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        return value
    if value.dtype.kind == "u" and value.dtype.itemsize > 1:
        value = value.astype(np.int64)
    return torch.from_numpy(np.array(value, order="C"))


def _safetensors(path: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(path)


def _npz(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


READERS: dict[str, Callable[[Path], Any]] = {
    ".npz": _npz,
    ".npy": lambda path: np.load(path, allow_pickle=False),
    ".pt": lambda path: torch.load(path, weights_only=True, map_location="cpu"),
    ".safetensors": _safetensors,
}


def placed(key: str) -> tuple[str, str]:
    """Return the split that a name begins or ends with, and the rest of the name.

    >>> placed("x_train"), placed("test_labels"), placed("x"), placed("val")
    (('train', 'x'), ('test', 'labels'), ('', 'x'), ('val', 'x'))
    """
    words = key.replace("-", "_").replace(".", "_").split("_")
    if len(words) == 1:
        return (split_of(key) or PILE), ("x" if split_of(key) else key.lower() if key in ("X", "Y") else key)
    for place in (-1, 0):
        if split := split_of(words[place]):
            rest = "_".join(words[:-1] if place else words[1:])
            return split, rest.lower() if rest in ("X", "Y") else rest
    return PILE, key


def _targets(found: Mapping[str, dict[str, Any]], options: Options) -> tuple[Targets, dict[str, Tensor]]:
    """Take the labels out of the arrays: what all of them are, and those of each split, shape (rows, ...).

    They are understood together, since a class may be in one split only.
    """
    names = {name for part in found.values() for name in part}
    label = options.target_column or next((key for key in TARGET_KEYS if key in names), "none")
    if label != "none" and label not in names:
        raise unknown("array of targets", label, names)
    if options.aim == "boxes" and BOXES not in names:
        raise unknown("array of boxes", BOXES, names)
    own = {split: part.pop(label) for split, part in found.items() if label in part}
    if not own:
        return Targets(torch.empty(0), "agreement"), {}
    if options.aim == "boxes" or (options.aim is None and any(_is_boxes(p.get(BOXES)) for p in found.values())):
        boxes = {split: packed(found[split].pop(BOXES, []), own[split], split or "the arrays") for split in own}
        return Targets(torch.empty(0), "boxes", note="boxes are corners x1, y1, x2, y2"), boxes
    told = targets_of(np.concatenate([np.asarray(values) for values in own.values()]), f"'{label}'", options.aim)
    return told, dict(zip(own, in_lengths(told.values, map(len, own.values())), strict=True))


def _is_boxes(array: Any) -> bool:
    return isinstance(array, Tensor) and array.dim() == 3 and array.shape[-1] == CORNERS


def _check(path: Path, found: Mapping[str, Mapping[str, Any]], targets: Mapping[str, Tensor]) -> None:
    for split, part in found.items():
        where = f"'{path}'" + (f", {split}" if split else "")
        if not part:
            raise TaskError(f"{where} holds labels and no inputs.")
        if text := [name for name, array in part.items() if not isinstance(array, Tensor)]:
            raise TaskError(f"{where}: '{text[0]}' holds text; inputs are numbers. --target-column names the labels.")
        if targets and split not in targets:
            raise TaskError(f"{where} has no labels, and other parts have some.")
        rows = {name: len(array) for name, array in part.items()}
        rows |= {"the labels": len(targets[split])} if split in targets else {}
        if len(set(rows.values())) > 1:
            told = ", ".join(f"{name} {count}" for name, count in rows.items())
            raise TaskError(f"{where}: the arrays have different numbers of rows: {told}.")
        if PILE in found and len(found) > 1:
            raise TaskError(f"{where} mixes arrays with and without a split in their names: {', '.join(part)}.")


def _image(array: Tensor) -> Tensor:
    """Return bytes of shape (N, H, W, C) or (N, H, W) as images (N, C, H, W); all else as it is."""
    if array.dtype != torch.uint8 or array.dim() not in (3, 4):
        return array
    if array.dim() == 3:
        return array[:, None]
    last = array.shape[-1] in CHANNELS and array.shape[1] not in CHANNELS
    return array.permute(0, 3, 1, 2).contiguous() if last else array


def _prepare(parts: Mapping[str, Part], options: Options) -> Scaled | None:
    """Return how a single input is scaled: bytes by 255, all by means and deviations that the user names."""
    inputs = next(iter(parts.values())).inputs
    values = next(iter(inputs.values()))
    pixels = isinstance(values, Tensor) and values.dtype == torch.uint8 and values.dim() == 4
    if len(inputs) > 1 or not (pixels or options.mean or options.std):
        return None
    return Scaled(options.mean or (0.0,), options.std or (1.0,), 1 / BYTES if pixels else 1.0)
