"""`Mixing`: where a finisher pays for some layers and not for others, the mixture that is faster than either whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from whet.core.space import Choice, Decision, Value
from whet.core.study import Trial
from whet.schedule.actions import Actions, LayersOf, Mix, ProfileLayers, Race
from whet.schedule.late import Heat
from whet.schedule.situation import Mixable, Situation
from whet.search.cuts import by_minimum_cut

PRICES = (0.25, 1.0, 4.0)
"""The prices of a border that mixtures are proposed at, in shares of the one that the first mixture's profile tells."""
PROPOSED = 3
"""How many mixtures of the strategy are raced."""
SURELY = 1.005
"""By how much a mixture must win the race over each whole for it to be verified."""
RACED_SECONDS = 1.0
"""How long each file of a race is timed."""
PROFILE = "layer_times"
"""Under which key a study remembers what was measured, for the report."""
Times = list[dict[str, float]]
"""The milliseconds of each layer, by its site, for each of several files."""


@dataclass(frozen=True)
class Layers:
    """The choices for single layers of a structure, and its borders: two sites, one of which reads the other.

    `borders` holds how many numbers cross each, for one sample.
    """

    choices: list[Choice]
    borders: dict[tuple[str, str], float]


@dataclass(frozen=True)
class Table:
    """What each layer takes as it is, `plain`, and in the quickest other value of its choice, in ms by site."""

    layers: Layers
    plain: dict[str, float]
    other: dict[str, tuple[float, Value]]

    @classmethod
    def of(cls, layers: Layers, values: Sequence[Value], times: Times) -> Table:
        """Return the table from the times of the plain file and of the whole ones, one a value."""
        other = {
            c.site: min((each[c.site], v) for v, each in zip(values, times[1:], strict=True) if v in c.values)
            for c in layers.choices
        }
        return cls(layers, {c.site: times[0][c.site] for c in layers.choices}, other)

    def mixture(self, price: float) -> Decision:
        """Return the values of least time, where each number that crosses between two formats costs `price` ms."""
        sites = [c.site for c in self.layers.choices]
        place = {site: i for i, site in enumerate(sites)}
        borders = {(place[a], place[b]): price * numbers for (a, b), numbers in self.layers.borders.items()}
        taken = by_minimum_cut([self.other[s][0] - self.plain[s] for s in sites], borders)
        return Decision({c.name: self.other[c.site][1] for c, t in zip(self.layers.choices, taken, strict=True) if t})

    def saved(self) -> dict[str, float]:
        """Return by choice which share of the plain file's time its quickest other value saves; below zero, costs."""
        total = sum(self.plain.values())
        return {c.name: (self.plain[c.site] - self.other[c.site][0]) / total for c in self.layers.choices}

    def price(self, mixture: Decision, times: dict[str, float]) -> float:
        """Return what a number that crosses costs, by how much more a mixture took than its layers did apart."""
        took, apart = (sum(each) for each in zip(*self._both(mixture, times), strict=True))
        inside = {c.site for c in self.layers.choices if c.name in mixture}
        crossing = sum(n for (a, b), n in self.layers.borders.items() if (a in inside) != (b in inside))
        return max(took - apart, 0.0) / crossing if crossing else 0.0

    def _both(self, mixture: Decision, times: dict[str, float]) -> list[tuple[float, float]]:
        return [
            (times[c.site], self.other[c.site][0] if c.name in mixture else self.plain[c.site])
            for c in self.layers.choices
        ]


class Mixing:
    """Proposes mixtures of formats for speed, from each layer's time in the plain file and in the whole ones.

    A layer's gain is the runtime's own figure. Between two formats numbers are converted, or kernels cannot be joined:
    what that costs is told by the profile of the first mixture, in which it is taken to cost nothing. A minimum cut
    gives the mixture of least time at a price; all are raced with the plain and the whole files. The strategy, told of
    that, proposes more with the structure given (`Late`); what wins the last race is verified.
    """

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        self.until_seconds, self.built_seconds = 0.0, 0.0

    def _fits(self, built: int, raced: int = 0) -> bool:
        """Say whether there is time to write so many files and to race so many, and still to verify one."""
        needed = (built + 1) * self.built_seconds + raced * RACED_SECONDS + self.situation.clock.file_seconds
        return self.situation.clock.spent_seconds + needed <= self.until_seconds

    def run(self, item: Mixable, trial: Trial, left: float) -> Actions[Trial | None]:
        """Look for a mixture of a finisher's values on the structure of a trial; return its trial where one wins."""
        s, scope, place = self.situation, item.scope, item.place
        if scope is None or "speed" not in s.goal.objectives.wanted or s.study.recall(PROFILE) is not None:
            return None
        layers = yield LayersOf(trial, place, scope)
        if layers is None or len(layers.choices) < 2:
            return None
        s.say(f"timing the layers of trial {trial.number}")
        values = list(dict.fromkeys(v for c in layers.choices for v in c.values if v != c.identity))
        wholes = [scope.merge({c.name: v for c in layers.choices if v in c.values}) for v in values]
        began, plain_and_whole = s.clock.spent_seconds, (Decision(), *wholes)
        self.until_seconds = began + left
        times = yield ProfileLayers(trial, place, plain_and_whole)
        if times is None:
            return None
        self.built_seconds = (s.clock.spent_seconds - began) / len(plain_and_whole)
        table = Table.of(layers, values, times)
        mixtures = yield from self._mixtures(table, scope, place, trial)
        while mixtures and not self._fits(len(mixtures), len(plain_and_whole) + len(mixtures)):
            mixtures = mixtures[:-1]
        if not mixtures and not self._fits(0, len(plain_and_whole)):
            return None
        return (yield from self._raced(table, plain_and_whole, mixtures, scope, item, trial))

    def _raced(
        self, table: Table, wholes: tuple[Decision, ...], mixtures: list[Decision], scope: Decision, item: Mixable,
        trial: Trial,
    ) -> Actions[Trial | None]:  # fmt: skip
        """Race mixtures with the plain and the whole files, then the best with what the strategy proposes; verify it.

        The last race decides: the best of several that differ little was best by luck as well.
        """
        s, raced = self.situation, (*wholes, *mixtures)
        structure = s.history.structural(trial.decision)
        first: Heat | None = yield Race(trial, item.place, raced)
        if first is None or not all(first[: len(wholes)]):
            return None
        heat = first
        late = s.facts.late({**structure, **scope}, table.saved())
        late.tell(raced, heat)
        in_time = self._fits(PROPOSED, len(wholes) + 1 + PROPOSED)
        proposed = [d for d in late.ask(PROPOSED) if d not in raced] if in_time else []
        if proposed:
            ahead = sorted(range(len(wholes), len(raced)), key=lambda i: -max(heat[i].values(), default=0.0))[:1]
            raced = (*wholes, *(raced[i] for i in ahead), *proposed)
            heat = (yield Race(trial, item.place, raced)) or [{} for _ in raced]
            late.tell(raced, heat)
        gains = [max(each.values(), default=0.0) for each in heat]
        if not gains[0]:
            return None
        best = max(range(len(raced)), key=gains.__getitem__)
        won = best >= len(wholes) and gains[best] > SURELY * max(gains[: len(wholes)])
        s.study.remember(PROFILE, _said(trial, table, raced, gains, best))
        self._note(table, raced, gains, best, won, len(wholes) - 1)
        if not won:
            return None
        setting = max(heat[best], key=heat[best].__getitem__)
        verified: Trial | None = yield Mix(trial, item.place, structure.merge(raced[best]).merge(setting))
        return verified

    def _mixtures(self, table: Table, scope: Decision, place: int, trial: Trial) -> Actions[list[Decision]]:
        """Return the mixtures that are worth a race: that of free borders, and those at the prices it tells."""
        most = len(table.layers.choices)
        first = table.mixture(0.0)
        if not 0 < len(first) < most or not self._fits(1):
            return []
        times = yield ProfileLayers(trial, place, (Decision(), scope.merge(first)))
        found = [first]
        if times is not None:
            price = table.price(first, times[1])
            found += [table.mixture(share * price) for share in PRICES]
        return [scope.merge(m) for m in dict.fromkeys(found) if 0 < len(m) < most]

    def _note(
        self, table: Table, raced: Sequence[Decision], gains: Sequence[float], best: int, won: bool, wholes: int
    ) -> None:
        """Keep for the conclusion what the race said of mixtures."""
        count, whole = len(table.layers.choices), max(gains[1 : wholes + 1]) / gains[0]
        beside = f"of the structure as it is in one race, where all of them give x{whole:.3f}"
        if won:
            many = sum(c.name in raced[best] for c in table.layers.choices)
            self.situation.note(
                f"{many} of {count} layers are finished: that is x{gains[best] / gains[0]:.3f} {beside}"
            )
        elif mixed := gains[wholes + 1 :]:
            self.situation.note(
                f"finishing some of the layers gains nothing: at most x{max(mixed) / gains[0]:.3f} {beside}"
            )


def _said(trial: Trial, table: Table, raced: Sequence[Decision], gains: Sequence[float], best: int) -> dict[str, Any]:
    """Return what the report shows: each layer's times and value, and how the race ended."""
    rows = [
        {
            "layer": c.site, "plain_ms": table.plain[c.site], "other_ms": table.other[c.site][0],
            "other": table.other[c.site][1], "chosen": raced[best].of(c),
        }
        for c in table.layers.choices
    ]  # fmt: skip
    race = [
        {"finished": sum(c.name in d for c in table.layers.choices), "gain": g}
        for d, g in zip(raced, gains, strict=True)
    ]
    return {"trial": trial.number, "layers": rows, "race": race, "best": best}
