"""The last race: every file in every promising setting, so that no setting chosen earlier decides by chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from whet.core.errors import WhetError
from whet.core.net import Net
from whet.core.target import Artifact, Target
from whet.hardware.measure import Latency, compared, timed
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
    """Time `files` against the uncompressed network, each in all its settings, all in one interleaved run.

    The bar is the setting of any runtime, and a file's is the one of its own, with the least median over the whole
    run. No shorter heat chooses them: with several threads a small network's speed changes from minute to minute with
    where the machine puts the threads, and the setting that won before may be the wrong one now.
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
    named = {" ".join(key): session for key, session in sessions.items()}
    times = timed(named, next(iter(named)), seconds=seconds)
    best = {
        name: min((key for key in sessions if key[0] == name), key=lambda key: median(times[" ".join(key)]))
        for name in runners
    }
    known = {setting_name(s): s for _, tried in runners.values() for s in tried}
    latencies = compared({name: times[" ".join(key)] for name, key in best.items()}, BAR)
    return Raced(known[best[BAR][1]], latencies, {name: known[best[name][1]] for name in files})
