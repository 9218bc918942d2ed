"""What an optimization hands back: the front's files with what was measured from them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whet.core.errors import ArtifactError
from whet.core.target import Artifact
from whet.report import notebook
from whet.verify.manifest import check_files

if TYPE_CHECKING:
    from whet.verdict.session import FileSession

UNITS = {
    "speedup": "ratio to the bar's latency", "speedup_low": "quartile", "speedup_high": "quartile", "latency_ms": "ms",
    "size_bytes": "bytes on disk", "memory_bytes": "bytes, peak of a process that serves it; 0 where not measured",
    "serving": "ms; p50, p95 and p99 of single calls, the cold start of a process",
    "drop": "validation data, unit of the limit", "samples": "training samples",
    "drop_low": "of the interval that holds the drop with 95 %, by the validation samples alone",
    "drop_high": "of the interval that holds the drop with 95 %, by the validation samples alone",
    "computed": "layers by precision", "floats": "layers",
    "test_drop": "test data, unit of the limit",
}  # fmt: skip
"""Of the figures of a member, beside its `protocol`."""


@dataclass(frozen=True)
class Member:
    """One delivered file with what was measured from it; the uncompressed network has the number -1.

    `path` is relative to the study's folder; `delivered` is the folder of the copy with its manifest, empty for a
    candidate that broke a limit. `gain` is what the search made large. `agreement` holds how its outputs agree with the
    original's, by what suits their kind: `top1_agreement`, `cosine_similarity`, `relative_error`; with several outputs
    as `name.figure`. `serving` holds what serving it takes: `p50_ms`, `p95_ms` and `p99_ms` of so many single `calls`,
    `cold_start_ms`, `memory_bytes`. `drop_low` and `drop_high` are what the validation samples leave open of the drop,
    None where they are too few to tell. `computed` counts layers by the precision that the runtime computes them in, as
    it says itself; `floats` are those of them that are integers in the file and are computed in floats all the same.
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
    drop_low: float | None = None
    drop_high: float | None = None
    test_drop: float | None = None
    computed: dict[str, int] = field(default_factory=dict)
    floats: list[str] = field(default_factory=list)
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

    def session(self) -> FileSession:
        """Open the file in its runtime and setting; the session is called with arrays or tensors, `(batch, ...)` each.

        Raises: ArtifactError if the candidate was not delivered, or its file is gone.
        """
        from whet.hardware import targets
        from whet.verdict.session import FileSession

        if not self.delivered:
            raise ArtifactError(f"candidate {self.number} broke a limit and was not delivered.")
        return FileSession(Artifact(Path(self.delivered) / Path(self.path).name, self.settings), targets.get("cpu"))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as the command line prints them in JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class DeliveredFront:
    """The non-dominated files within the limits; `nearest` is the closest candidate when none of them is within.

    The uncompressed network in its fastest setting, the bar, is a candidate like any other, so there always is a file.
    `met` says that one within the limits is measurably faster than it, or smaller where that was wanted. What an
    interrupted delivery did not come to measure is None. `front[0]`, `len(front)` and `for member in front` go over the
    members, those that gain most first.
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

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    def __getitem__(self, index: int) -> Member:
        return self.members[index]

    def to_dataframe(self) -> Any:
        """Return a `pandas.DataFrame` with a row a file. Raises: NotInstalledError without pandas."""
        return notebook.frame(self.to_dict())

    def plot(self) -> Any:
        """Return the plotly figure of all candidates, drop against speed-up, with the front and the limit."""
        from whet.flow.folder import recorded

        return notebook.figure(recorded(self.folder, "report"))

    def _repr_html_(self) -> str:
        return notebook.html(self.to_dict())

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
