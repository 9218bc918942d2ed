"""The last race: every file in every promising setting, so that no setting chosen earlier decides by chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from whet.core.errors import WhetError
from whet.core.net import Net
from whet.core.target import Artifact, Target
from whet.hardware.measure import Latency, measure
from whet.hardware.targets import every_setting, setting_name

Settings = dict[str, Any]
BAR = "bar"


def alike(target: Target, settings: Settings) -> list[Settings]:
    """Return the target's settings of the same runtime and precision: a file's accuracy was measured in those."""
    same = ("runtime", "precision")
    return [s for s in target.all_settings() if all(s[k] == settings[k] for k in same)]


@dataclass(frozen=True)
class Raced:
    """The bar's setting, and for each file its latency against the bar and the setting that it was fastest in."""

    bar: Settings
    latencies: dict[str, Latency]
    settings: dict[str, Settings]


def race(
    target: Target, net: Net, uncompressed: Path, files: Mapping[str, tuple[Path, Sequence[Settings]]], seconds: float
) -> Raced:
    """Time `files` against the uncompressed network, both in the setting that suits them best here and now.

    A heat with all of them in several settings chooses the settings, the bar's among those of every runtime; the race
    itself times each in its own. With several threads a network's speed depends on what else the process runs, so
    settings from an earlier, smaller race may be the wrong ones.
    """
    inputs = tuple(x[:1].contiguous().numpy() for x in net.example)
    runners = {BAR: (uncompressed, every_setting()), **files}
    sessions: dict[tuple[str, str], partial[Any]] = {}
    for name, (path, tried) in runners.items():
        for setting in tried:
            try:
                session = partial(target.open(Artifact(path, setting), 1), *inputs)
                session()
            except WhetError:
                continue
            sessions[name, setting_name(setting)] = session
    heat = measure({" ".join(k): s for k, s in sessions.items()}, " ".join(next(iter(sessions))), seconds=seconds / 2)
    best = {
        name: min((k for k in sessions if k[0] == name), key=lambda k: heat[" ".join(k)].latency_ms) for name in runners
    }
    known = {setting_name(s): s for _, tried in runners.values() for s in tried}
    latencies = measure({name: sessions[key] for name, key in best.items()}, BAR, seconds=seconds / 2)
    return Raced(known[best[BAR][1]], latencies, {name: known[best[name][1]] for name in files})
