"""Training, validation and test data: as given, or drawn with every class in the same proportion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import torch
from torch import Tensor

from whet.core.errors import TaskError
from whet.data.sources.source import Options, Part

NAMES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val", "eval": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""What folders, arrays and files of a split are called, and which one that is."""
ORDER = ("train", "val", "test")
PILE = ""
"""The name of samples that no split was given for."""
FLATTERS = (
    "; a network that was trained on what is drawn for validation looks better than it is: give train and val apart"
)


def split_of(name: str) -> str | None:
    """Return which split a name means, or None.

    >>> split_of("Validation"), split_of("cats")
    ('val', None)
    """
    return NAMES.get(name.lower())


def files_of(path: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Return the file of each split: of a folder those called train, val and test, otherwise the path itself."""
    if not path.is_dir():
        return {PILE: path}
    inside = (one for one in sorted(path.iterdir()) if one.name.lower().endswith(tuple(suffixes)))
    found = {split: one for one in inside if (split := split_of(one.name.partition(".")[0]))}
    return {split: found[split] for split in ORDER if split in found}


def divided(
    given: Mapping[str, Part], options: Options, by_class: bool = False, names: tuple[str, ...] = ()
) -> tuple[dict[str, Part], str]:
    """Return the parts train, val and test, as far as there are samples, and how they came about in words.

    `given` holds one pile, or some of the three. One pile, or training data alone, is cut by `options.split`. Without
    validation data the test data are cut in halves: the network has probably seen its training data, so that
    validation on some of those would flatter the original and no smaller one. `by_class` draws each class in the same
    proportion; `names` are the classes'.

    Raises: TaskError where a class has too few samples to be in each part.
    """
    left = {name: part for name, part in given.items() if len(part)}
    how = ", each class in the same proportion" if by_class else ""
    if set(left) <= {PILE, "train"}:
        pile = next(iter(left.values()), None)
        if pile is None:
            raise TaskError("there are no samples.")
        shares = "/".join(f"{100 * share:g}" for share in options.split)
        parts = dict(zip(ORDER, _cut(pile, options.split, options, by_class, names)))
        parts = {name: part for name, part in parts.items() if len(part)}
        told = FLATTERS if pile.targets is not None else ""
        return parts, f"drawn {shares} % for {', '.join(parts)}{how}, seed {options.seed}{told}"
    if "val" not in left and "train" in left:
        _, val, test = _cut(left["test"], (0.0, 0.5, 0.5), options, by_class, names)
        text = f"train as given, test cut in halves, one of them to choose by{how}"
        return {"train": left["train"], "val": val, "test": test}, text
    if "val" not in left:
        return {"val": left["test"]}, "no training data: test is what candidates are chosen by"
    parts = {name: left[name] for name in ORDER if name in left}
    return parts, f"{', '.join(parts)} as given"


def in_lengths(values: Tensor, lengths: Iterable[int]) -> list[Tensor]:
    """Return consecutive pieces of (rows, ...) of those lengths.

    >>> [piece.tolist() for piece in in_lengths(torch.arange(3), [1, 2])]
    [[0], [1, 2]]
    """
    ends = list(accumulate(lengths, initial=0))
    return [values[start:end] for start, end in pairwise(ends)]


def _cut(
    pile: Part, shares: tuple[float, float, float], options: Options, by_class: bool, names: tuple[str, ...]
) -> list[Part]:
    """Return three parts of a pile, drawn at random: of each class where `by_class`."""
    generator = torch.Generator().manual_seed(options.seed)
    targets = pile.targets if by_class else None
    groups = (
        [torch.arange(len(pile))]
        if targets is None
        else [(targets == c).nonzero()[:, 0] for c in sorted(set(targets.tolist()))]
    )
    wanted = sum(share > 0 for share in shares)
    rows: list[list[Tensor]] = [[], [], []]
    for group in groups:
        if len(group) < wanted:
            label = "" if targets is None else _class(int(targets[group[0]]), names)
            raise TaskError(
                f"{label}only {len(group)} samples, and {wanted} parts are drawn from them: train, val and test. Give "
                "the parts yourself, or more samples."
            )
        order = group[torch.randperm(len(group), generator=generator)]
        for kept, some in zip(rows, in_lengths(order, _counts(len(group), shares)), strict=True):
            kept.append(some)
    return [pile.at(torch.cat(some).sort().values) for some in rows]


def _class(number: int, names: tuple[str, ...]) -> str:
    return f"class '{names[number] if number < len(names) else number}' has "


def _counts(count: int, shares: tuple[float, float, float]) -> list[int]:
    """Return how many of `count` samples each part gets: at least one where it has a share."""
    val, test = (max(1, round(count * share)) if share else 0 for share in shares[1:])
    return [count - val - test, val, test] if shares[0] else [0, count - test, test]
