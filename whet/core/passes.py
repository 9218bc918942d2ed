"""`Pass`: one way of making a network smaller, and `Chain`, several in a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, runtime_checkable

from whet.core.errors import DecisionError
from whet.core.net import Net
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.spec import check_if_asked
from whet.core.target import Target

Phase = Literal["structure", "weights", "file"]
Need = Literal["calibration", "labels", "training"]


@dataclass(frozen=True)
class Traits:
    """When a pass acts and what it asks for; the flow goes by this, and by no pass's class or name.

    `phase`: `structure` passes act before training, and what they leave is trained; those of `weights` act on a
    structure that is trained, and need no training of their own; those of `file` act on the written file. `nests`: the
    candidates of one supernet may share weights across its decisions. `needs`: what it cannot do without.
    """

    phase: Phase = "structure"
    nests: bool = False
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True)
class Change:
    """What was done to a site: its kind in one word, by which reports group (`dropped`, `int8`), and a sentence."""

    site: str
    kind: str
    text: str


def changes(kind: str, texts: Mapping[str, str]) -> tuple[Change, ...]:
    """Return changes of one kind from sentences by site."""
    return tuple(Change(site, kind, text) for site, text in texts.items())


@dataclass(frozen=True)
class Result:
    """A pass's output: the new net, what changed, and by site what could not be treated and why."""

    net: Net
    changed: tuple[Change, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def texts(self) -> dict[str, str]:
        """What changed as sentences by site, several joined."""
        found: dict[str, str] = {}
        for change in self.changed:
            found[change.site] = "; ".join(filter(None, [found.get(change.site), change.text]))
        return found

    def then(self, later: Result) -> Result:
        """Return `later`, with what was said of this one before it."""
        return Result(later.net, self.changed + later.changed, {**self.skipped, **later.skipped})


@runtime_checkable
class Pass(Protocol):
    """A frozen dataclass; its fields are the method's hyper-parameters.

    The all-identity decision must return a net whose outputs equal the input net's to the bit. `apply` ignores
    choices of other passes, copies before it changes anything, and may call `run.fit`.
    """

    @property
    def traits(self) -> Traits: ...

    def space(self, net: Net, target: Target) -> Space: ...

    def apply(self, net: Net, decision: Decision, run: Run) -> Result: ...


@runtime_checkable
class Freezes(Protocol):
    """A pass that goes by the weights, and can be told to go by today's, so that a supernet's sub-networks nest."""

    def frozen(self, net: Net, run: Run) -> Pass: ...


@runtime_checkable
class Untrained(Protocol):
    """A pass that is best searched otherwise where nothing is trained: a candidate then costs no more than its file."""

    def untrained(self) -> Pass: ...


@dataclass(frozen=True)
class OneOf:
    """Passes as alternatives at one site: the choice `name`, `site:kind`, says by a pass's name which of them acts.

    Their own choices count only with it; those that several have are one. With `none` the network stays as it is.
    """

    name: str
    passes: tuple[tuple[str, Pass], ...]

    @property
    def traits(self) -> Traits:
        return Chain(tuple(item for _, item in self.passes)).traits

    def space(self, net: Net, target: Target) -> Space:
        found, names = dict[str, Choice](), list[str]()
        for name, item in self.passes:
            own = item.space(net, target)
            names += [name] * bool(len(own))
            for choice in own:
                known = found.get(choice.name)
                wanted = choice.when or (self.name, (*known.when[1], name) if known and known.when else (name,))
                found[choice.name] = replace(choice, when=wanted)
                if known and replace(known, when=wanted) != found[choice.name]:
                    raise DecisionError(f"{self.name}: its passes have different choices '{choice.name}'.")
        return Space([Choice(self.name, ("none", *names), "none"), *found.values()] if names else [])

    def obvious(self, net: Net, target: Target) -> list[Decision]:
        """Return what anyone would try of each, one after the other."""
        each = [(name, item.obvious(net, target)) for name, item in self.passes if hasattr(item, "obvious")]
        return [way.merge({self.name: name}) for name, ways in each for way in ways]

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        item = dict(self.passes).get(str(decision.get(self.name, "none")))
        return Result(net.copy()) if item is None else item.apply(net, decision, run)


@dataclass(frozen=True)
class Chain:
    """Passes applied in order, as one pass. Every space is taken on the original net."""

    passes: tuple[Pass, ...]

    @property
    def traits(self) -> Traits:
        """The phase of the first; it nests if all do, and needs what any needs."""
        each = [item.traits for item in self.passes]
        needs = tuple(dict.fromkeys(need for t in each for need in t.needs))
        return Traits(each[0].phase if each else "structure", all(t.nests for t in each), needs)

    def space(self, net: Net, target: Target) -> Space:
        total = Space()
        for item in self.passes:
            total = total + item.space(net, target)
        return total

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        result = Result(net)
        for item in self.passes:
            result = result.then(item.apply(result.net, decision, run))
            check_if_asked(result.net)
        return result
