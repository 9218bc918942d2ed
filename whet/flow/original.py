"""`Original`: the uncompressed network in each setting: how fast it is there, and how good."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from whet.core.errors import TargetError
from whet.core.target import Artifact, Target
from whet.flow.failures import ends_the_run, reason
from whet.hardware.elsewhere import device_of
from whet.hardware.targets import Settings, every_setting, setting_name

ORIGINAL = -1
"""The number of the uncompressed network among the members of a front; trials count from 0."""


NEAR = 1.5
"""Settings that take so many times as long as a sound one are not scored: none of them will be the bar."""


def kind(settings: Mapping[str, Any]) -> str:
    """Return runtime and precision, which quality depends on.

    >>> kind({"runtime": "openvino", "precision": "bf16", "threads": 1})
    'openvino/bf16'
    """
    return f"{settings['runtime']}/{settings['precision']}"


@dataclass(frozen=True)
class Original:
    """The uncompressed network's file at `path`.

    `latency_ms` goes by `setting_name`, over all settings of any runtime that runs it; `qualities`, on the validation
    data, by `kind`, over those of the target. `reference` is the kind that quality is held against: f32 where that
    runs. `unfit` says why a setting or kind is left out.
    """

    path: Path
    latency_ms: dict[str, float]
    qualities: dict[str, float]
    reference: str
    unfit: dict[str, str]

    @property
    def quality(self) -> float:
        """The quality in the setting that others are held against."""
        return self.qualities[self.reference]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields but for the path, for a resumed study to read."""
        return {key: value for key, value in asdict(self).items() if key != "path"}

    def bars(self, target: Target, drop: Callable[[float], float], limit: float | None) -> list[Settings]:
        """Return the settings that a candidate has to beat: all of the target's whose quality is within the limit.

        What rounding alone puts beyond the limit is no rival; the reference never is beyond it. `drop` is by how much a
        quality is worse than the reference's.
        """
        within = {name for name, quality in self.qualities.items() if limit is None or drop(quality) <= limit}
        ran = [s for s in target.all_settings() if setting_name(s) in self.latency_ms]
        return [s for s in ran if kind(s) in within | {self.reference}]

    def artifact(self, settings: Settings) -> Artifact:
        """Return the file as it is served in a setting."""
        return Artifact(self.path, dict(settings))


def scored(
    path: Path, target: Target, latency_ms: dict[str, float], unfit: dict[str, str],
    score: Callable[[Artifact], float], sound: Callable[[float, float], bool] = lambda quality, reference: True,
) -> Original:  # fmt: skip
    """Score the uncompressed file in f32, and in each runtime and precision of the target that may be the bar.

    That is the fastest whose quality is `sound` beside the reference's, and what takes less than `NEAR` times as long.

    Raises: what the first of them raised, if none can be scored; TargetError if none runs.
    """
    own = _fastest_of_each_kind(target, latency_ms, unfit)
    qualities: dict[str, float] = {}
    errors: dict[str, Exception] = {}

    def try_to_score(name: str) -> None:
        try:
            qualities[name] = score(Artifact(path, own[name]))
        except Exception as error:
            if ends_the_run(error):
                raise
            errors[name] = error

    ran = [kind(s) for s in target.all_settings() if setting_name(s) in latency_ms]
    for name in sorted(ran, key=lambda name: not name.endswith("/f32")):
        if not qualities and name not in errors:
            try_to_score(name)
    if not qualities:
        raise next(iter(errors.values()))
    reference = next(iter(qualities))
    fastest = {name: latency_ms[setting_name(settings)] for name, settings in own.items()}
    enough = math.inf
    for name in sorted(own, key=fastest.__getitem__):
        if fastest[name] > NEAR * enough:
            break
        if name not in qualities.keys() | errors.keys():
            try_to_score(name)
        if name in qualities and sound(qualities[name], qualities[reference]):
            enough = min(enough, fastest[name])
    lost = {name: reason(error) for name, error in errors.items()}
    return Original(path, latency_ms, qualities, reference, {**unfit, **lost})


def _fastest_of_each_kind(
    target: Target, latency_ms: Mapping[str, float], unfit: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Return the fastest setting of each kind; raise TargetError where none runs."""
    ran = [s for s in target.all_settings() if setting_name(s) in latency_ms]
    if not ran:
        reasons = "; ".join(sorted({unfit.get(setting_name(s), "") for s in target.all_settings()} - {""}))
        raise TargetError(f"target '{target.name}' cannot run the network: {reasons}")
    return {kind(s): dict(s) for s in sorted(ran, key=lambda s: -latency_ms[setting_name(s)])}


def settings_by_name(target: Target) -> dict[str, Settings]:
    """Return every setting of every runtime on a target's device by `setting_name`."""
    return {setting_name(s): s for s in every_setting(device_of(target))}
