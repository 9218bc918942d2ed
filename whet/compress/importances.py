"""The importances by name, and scores that are taken once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from whet.compress.importance import Importance, Scores, batch_norm_scale, error_rise, taylor, weight_norm
from whet.compress.noise import noise_rise
from whet.compress.relevance import relevance
from whet.core.net import Net
from whet.core.run import Run
from whet.graph.axes import AtomGroup, analyze

IMPORTANCES: dict[str, Importance] = {
    "weight_norm": weight_norm,
    "error_rise": error_rise,
    "noise_rise": noise_rise,
    "batch_norm_scale": batch_norm_scale,
    "taylor": taylor,
    "relevance": relevance,
}


@dataclass(frozen=True, eq=False)
class Frozen:
    """Scores taken once: the same atoms come first whatever the weights are, so narrower cuts nest in wider ones."""

    scores: Scores = field(repr=False)
    name: str = ""

    @classmethod
    def of(cls, net: Net, importance: str, run: Run, samples: int = 256) -> Frozen:
        """Return the scores of every group of `net` by an importance in `IMPORTANCES`."""
        return cls(IMPORTANCES[importance](net, list(analyze(net).groups.values()), run, samples), importance)

    def __call__(self, net: Net, groups: Sequence[AtomGroup], run: Run, samples: int) -> Scores:
        return {g.site: self.scores[g.site] for g in groups if len(self.scores.get(g.site, ())) == g.size}
