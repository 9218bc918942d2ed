"""The last race: every file in every promising setting, so that no setting chosen earlier decides by chance."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import truediv
from pathlib import Path
from statistics import median
from typing import Any

from whet.core.errors import StudyError, TargetError, WhetError
from whet.core.target import Array, Artifact, Target
from whet.hardware.elsewhere import device_of
from whet.hardware.measure import Latency, compared, timed
from whet.hardware.targets import Settings, every_setting, setting_name

BAR = "bar"


def alike(target: Target, settings: Settings) -> list[Settings]:
    """Return the target's settings of the same runtime and precision: a file's accuracy was measured in those."""
    same = ("runtime", "precision")
    return [s for s in target.all_settings() if all(s[k] == settings[k] for k in same)]


def uncompressed(path: Path) -> dict[str, tuple[Path, list[Settings]]]:
    """Return the runner that is the bar: the uncompressed network's file in every setting of any runtime."""
    return {BAR: (path, every_setting())}


@dataclass(frozen=True)
class Raced:
    """Each file's latency against the bar and the setting that it was fastest in; `bar` is the bar's name.

    `errors` says, in a line, why a file was not opened in a setting; a file that no setting opens is only there.
    """

    bar: str
    latencies: dict[str, Latency]
    settings: dict[str, Settings]
    errors: dict[str, str]


def race(
    target: Target, inputs: Sequence[Array], files: Mapping[str, tuple[Path, Sequence[Settings]]],
    bars: Collection[str], seconds_each: float, batch: int = 1,
) -> Raced:  # fmt: skip
    """Time files, each in all its settings, in one interleaved run; the fastest of `bars` is the bar.

    A file's setting is the one of the least median over the whole run. No shorter heat chooses it: with several threads
    a small network's speed changes from minute to minute with where the machine puts the threads, and the setting that
    won before may be the wrong one now. `seconds_each` is the time for each file in each setting, `batch` how many
    samples `inputs`, `(batch, ...)` each, are.
    Raises: TargetError where none of the bars can be opened.
    """
    sessions, errors = _opened(target, inputs, files, batch)
    if not any(name in bars for name, _ in sessions):
        raise TargetError(f"no runtime opens the uncompressed network: {errors}")
    named = {" ".join(key): session for key, session in sessions.items()}
    times = timed(named, next(iter(named)), seconds=seconds_each * len(named))
    medians = {key: median(times[" ".join(key)]) for key in sessions}
    best = {
        name: min((key for key in sessions if key[0] == name), key=medians.__getitem__)
        for name in dict.fromkeys(name for name, _ in sessions)
    }
    raced = {name: times[" ".join(key)] for name, key in best.items()}
    bar = _hardest({name: taken for name, taken in raced.items() if name in bars})
    latencies = compared(raced, bar, device=device_of(next(iter(named.values()))))
    settings = {name: next(s for s in files[name][1] if setting_name(s) == key[1]) for name, key in best.items()}
    return Raced(bar, latencies, settings, errors)


def _hardest(bars: Mapping[str, Sequence[float]]) -> str:
    """Return the one that is faster than each other in most rounds, or nearest to that.

    Files are judged by medians of per-round ratios, so the bar is too: on a machine that drifts, the least median time
    may belong to one that another beats in most rounds.
    """
    return max(bars, key=lambda name: min(median(map(truediv, times, bars[name])) for times in bars.values()))


def _opened(
    target: Target, inputs: Sequence[Array], files: Mapping[str, tuple[Path, Sequence[Settings]]], batch: int
) -> tuple[dict[tuple[str, str], partial[Any]], dict[str, str]]:
    """Open and call each file once in each of its settings; return the sessions, and why others failed."""
    sessions: dict[tuple[str, str], partial[Any]] = {}
    errors: dict[str, str] = {}
    for name, (path, tried) in files.items():
        for setting in tried:
            try:
                session = partial(target.open(Artifact(path, setting), batch), *inputs)
                session()
            except StudyError:  # the device is gone: nothing can be opened on it
                raise
            except WhetError as error:
                errors[name] = str(error).splitlines()[0][:200]
                continue
            sessions[name, setting_name(setting)] = session
    return sessions, errors
