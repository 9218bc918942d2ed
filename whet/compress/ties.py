"""Names of tied choices: several sites as one pattern of the shell, `layer1.{0..2}.conv1`, or `*` for all.

Each pattern holds its sites exactly, so that a decision means the same once another pass has removed some of them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Literal, TypeVar, get_args

from whet.core.errors import unknown

Tie = Literal["none", "stage", "network"]
T = TypeVar("T")

EVERY = "*"
BRACES = re.compile(r"\{([^{}]*)\}")


def tie(items: Iterable[tuple[str, T]], how: Tie, stage: Callable[[T], Hashable]) -> dict[str, list[str]]:
    """Return the sites that one choice decides, by the name of the tied site, in the order of first sites.

    `none` ties nothing, `stage` the items of equal `stage`, `network` all.
    """
    if how not in get_args(Tie):
        raise unknown("tie", how, get_args(Tie))
    ties: dict[Hashable, list[str]] = {}
    for site, item in items:
        key = {"none": site, "stage": stage(item), "network": None}[how]
        ties.setdefault(key, []).append(site)
    return {EVERY if how == "network" else fold(sites): sites for sites in ties.values()}


def fold(sites: Sequence[str]) -> str:
    """Return one name from which `unfold` recovers exactly these sites.

    >>> fold(["layer1.0.conv1", "layer1.1.conv1", "layer1.2.conv1"])
    'layer1.{0..2}.conv1'
    >>> fold(["a.fc", "b.up.fc"])
    '{a.fc,b.up.fc}'
    """
    if len(sites) == 1:
        return sites[0]
    parts = [site.split(".") for site in sites]
    if len({len(p) for p in parts}) == 1:
        columns = [list(dict.fromkeys(column)) for column in zip(*parts, strict=True)]
        name = ".".join(map(_brace, columns))
        if sorted(unfold(name)) == sorted(sites):
            return name
    return "{" + ",".join(sites) + "}"


def _brace(values: list[str]) -> str:
    if len(values) == 1:
        return values[0]
    numbers = [int(v) for v in values if v.isdigit() and str(int(v)) == v]
    if len(numbers) == len(values) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{{{numbers[0]}..{numbers[-1]}}}"
    return "{" + ",".join(values) + "}"


def unfold(name: str, sites: Iterable[str] = ()) -> list[str]:
    """Return the sites that `name` stands for; `sites` is what `*` stands for.

    >>> unfold("blocks.{0..1}.fc"), unfold("stem"), unfold("features.{3,7}.conv.{0,1}")[1:3]
    (['blocks.0.fc', 'blocks.1.fc'], ['stem'], ['features.3.conv.1', 'features.7.conv.0'])
    """
    if name == EVERY:
        return list(sites)
    pieces = BRACES.split(name)
    return ["".join(choice) for choice in itertools.product(*map(_options, range(len(pieces)), pieces))]


def _options(index: int, piece: str) -> list[str]:
    """Return what a piece may be: every second piece of the split was in braces."""
    if index % 2 == 0:
        return [piece]
    span = re.fullmatch(r"(\d+)\.\.(\d+)", piece)
    return [str(i) for i in range(int(span[1]), int(span[2]) + 1)] if span else piece.split(",")
