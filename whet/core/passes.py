"""`Pass`: one way of making a network smaller, and `Chain`, several in a row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from whet.core.net import Net
from whet.core.run import Run
from whet.core.space import Decision, Space
from whet.core.spec import check_if_asked
from whet.core.target import Target


@dataclass(frozen=True)
class Result:
    """A pass's output: the new net, what changed and what could not be treated, each by site with a sentence."""

    net: Net
    changed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


@runtime_checkable
class Pass(Protocol):
    """A frozen dataclass; its fields are the method's hyper-parameters.

    The all-identity decision must return a net whose outputs equal the input net's to the bit. `apply` ignores
    choices of other passes, copies before it changes anything, and may call `run.fit`.
    """

    def space(self, net: Net, target: Target) -> Space: ...

    def apply(self, net: Net, decision: Decision, run: Run) -> Result: ...


@dataclass(frozen=True)
class Chain:
    """Passes applied in order, as one pass. Every space is taken on the original net."""

    passes: tuple[Pass, ...]

    def space(self, net: Net, target: Target) -> Space:
        total = Space()
        for item in self.passes:
            total = total + item.space(net, target)
        return total

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        changed: dict[str, str] = {}
        skipped: dict[str, str] = {}
        for item in self.passes:
            result = item.apply(net, decision, run)
            net = check_if_asked(result.net)
            for site, text in result.changed.items():
                changed[site] = f"{changed[site]}; {text}" if site in changed else text
            skipped.update(result.skipped)
        return Result(net, changed, skipped)
