"""What an optimization hands back: the front's files with what was measured from them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whet.core.errors import ArtifactError
from whet.core.target import Artifact
from whet.verify.manifest import check_files

UNITS = {
    "speedup": "ratio to the bar's latency", "speedup_low": "quartile", "speedup_high": "quartile", "latency_ms": "ms",
    "size_bytes": "bytes on disk", "memory_bytes": "bytes, peak of a process that serves it; 0 where not measured",
    "serving": "ms; p50, p95 and p99 of single calls, the cold start of a process",
    "drop": "validation data, unit of the limit", "samples": "training samples",
}  # fmt: skip
"""Of the figures of a member, beside its `protocol`."""


@dataclass(frozen=True)
class Member:
    """One delivered file with what was measured from it; the uncompressed network has the number -1.

    `path` is relative to the study's folder; `delivered` is the folder of the copy with its manifest, empty for a
    candidate that broke a limit. `gain` is what the search made large. `agreement` holds how its outputs agree with the
    original's, by what suits their kind: `top1_agreement`, `cosine_similarity`, `relative_error`; with several outputs
    as `name.figure`. `serving` holds what serving it takes: `p50_ms`, `p95_ms` and `p99_ms` of so many single `calls`,
    `cold_start_ms`, `memory_bytes`.
    """

    number: int
    path: str
    decision: dict[str, Any]
    settings: dict[str, Any]
    setting: str
    val: float
    drop: float
    test: float | None
    speedup: float
    speedup_low: float
    speedup_high: float
    latency_ms: float
    size_bytes: int
    agreement: dict[str, float]
    max_abs_difference: float | None
    relative_difference: float | None
    samples: int
    protocol: str
    delivered: str = ""
    gain: float = 1.0
    memory_bytes: int = 0
    serving: dict[str, float] = field(default_factory=dict)

    @property
    def top1_agreement(self) -> float | None:
        """The share of rows with the original's first choice, None where the output is no logits."""
        return self.agreement.get("top1_agreement")

    def save(self, folder: str | Path) -> Path:
        """Copy the model and its manifest into `folder`, made where it is missing; return the model's path.

        Raises: ArtifactError if a file is not what its manifest says, or if the candidate was not delivered.
        """
        if not self.delivered:
            raise ArtifactError(f"candidate {self.number} broke a limit and was not delivered.")
        source, place = Path(self.delivered), Path(folder)
        check_files(source)
        place.mkdir(parents=True, exist_ok=True)
        for file in source.iterdir():
            shutil.copy2(file, place / file.name)
        return place / Path(self.path).name

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as the command line prints them in JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class DeliveredFront:
    """The non-dominated files within the limits; `nearest` is the closest candidate when none of them is within.

    The uncompressed network in its fastest setting, the bar, is a candidate like any other, so there always is a file.
    `met` says that one within the limits is measurably faster than it, or smaller where that was wanted. What an
    interrupted delivery did not come to measure is None.
    """

    folder: Path
    members: tuple[Member, ...]
    nearest: Member | None
    bar: str
    bar_artifact: Artifact
    metric: str
    reference: float
    reference_test: float | None
    conclusion: str
    report: Path
    met: bool
    drop_unit: tuple[float, str] = (1.0, "")
    objectives: tuple[str, ...] = ("speed",)
    device: dict[str, Any] = field(default_factory=dict)

    def fastest(self) -> Member | None:
        """Return the fastest file within the limits: the uncompressed network where nothing beats it."""
        return max(self.members, key=lambda m: m.speedup, default=None)

    def smallest(self) -> Member | None:
        """Return the file within the limits that takes the fewest bytes."""
        return min(self.members, key=lambda m: m.size_bytes, default=None)

    def best(self) -> Member | None:
        """Return the file within the limits that gains most of what was wanted."""
        return max(self.members, key=lambda m: m.gain, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: the members, what they are compared with, and the units of their figures."""
        return {
            "folder": str(self.folder),
            "front": [m.to_dict() for m in self.members],
            "nearest": self.nearest and self.nearest.to_dict(),
            "bar": self.bar,
            "metric": self.metric,
            "reference": {"val": self.reference, "test": self.reference_test},
            "conclusion": self.conclusion,
            "report": str(self.report),
            "met": self.met,
            "drop_unit": self.drop_unit,
            "objectives": list(self.objectives),
            "units": UNITS | dict.fromkeys(("val", "test"), self.metric),
            "device": self.device,
        }
