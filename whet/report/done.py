"""What was done to the network of a file, in lines that are read at a glance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whet.compress.ties import fold

SHOWN = 4
"""How many different things of one kind are listed; of more the first ones are, and the others are counted."""
NAMED = 70
"""How many characters names may take in a line; longer lists are counted."""
WHOLE = "network"
"""The site of what was done to all layers at once."""


@dataclass(frozen=True)
class Done:
    """What was done of one kind: the lines that are shown, and all of it with every name."""

    kind: str
    lines: tuple[str, ...]
    every: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether the lines name everything."""
        return self.lines == self.every


def done(changed: Iterable[Mapping[str, str]]) -> list[Done]:
    """Return what was changed, kind by kind, what is alike together.

    >>> site = "layer1.{}.conv1".format
    >>> some = [{"site": site(i), "kind": "narrower", "text": "64 to 16 channels"} for i in range(3)]
    >>> done(some)[0].lines
    ('64 to 16 channels: layer1.{0..2}.conv1',)
    """
    kinds: dict[str, dict[str, list[str]]] = {}
    for change in changed:
        sites = kinds.setdefault(change["kind"], {}).setdefault(change["text"], [])
        if change["site"] not in sites:
            sites.append(change["site"])
    return [_done(kind, texts) for kind, texts in kinds.items()]


def _done(kind: str, texts: Mapping[str, Sequence[str]]) -> Done:
    shown = [_line(kind, text, sites) for text, sites in texts.items()]
    if len(shown) > SHOWN:
        rest = sum(len(sites) for sites in list(texts.values())[SHOWN - 1 :])
        shown = [*shown[: SHOWN - 1], f"and {rest} more"]
    every = (_said(kind, text, places(sites)) for text, sites in texts.items())
    return Done(kind, tuple(shown), tuple(every))


def _line(kind: str, text: str, sites: Sequence[str]) -> str:
    names = places(sites)
    return _said(kind, text, names if len(names) <= NAMED else f"{len(sites)} layers")


def _said(kind: str, text: str, where: str) -> str:
    """Return what and where; what the kind says already is not said again."""
    what, place = "" if text == kind else text, "" if where == WHOLE else where
    return ": ".join(filter(None, [what, place])) or "all layers"


def places(sites: Sequence[str]) -> str:
    """Return the names of sites, those that differ in a number as one.

    >>> places(["stem", "a.0.fc", "a.1.fc", "a.2.fc", "b.7.fc"])
    'stem, a.{0..2}.fc, b.7.fc'
    """
    alike: dict[tuple[str, ...], list[str]] = {}
    for site in sites:
        shape = tuple("#" if part.isdigit() else part for part in site.split("."))
        alike.setdefault(shape, []).append(site)
    return ", ".join(fold(some) for some in alike.values())


def choices(decision: Mapping[str, Any]) -> list[str]:
    """Return the choices of a decision, a line each; none for the network as it is."""
    return [f"{name} = {value}" for name, value in decision.items()]
