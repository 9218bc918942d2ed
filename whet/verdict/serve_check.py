"""`serve_check`: a delivered folder's own `serve.py`, in a fresh process, gives what its manifest holds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from whet.core.errors import ArtifactError
from whet.core.net import Net
from whet.core.target import Array, Target
from whet.core.task import Task
from whet.hardware.device import fingerprint
from whet.verdict import serve_loop
from whet.verdict.limits import Row, Verdict
from whet.verdict.located import located, name_of, read_settings
from whet.verdict.quality import Part, Quality, score
from whet.verdict.serve_files import read_sample
from whet.verify.manifest import check_files

TOLERANCE = {"f32": 1e-3, "bf16": 3e-2}
"""How far outputs may be from those of the sample, relative: a processor of another kind sums in another order, and one
without bf16 computes in f32."""
QUALITY_TOLERANCE = 5e-3
"""How far the metric may be from the manifest's, relative."""


class Served(AbstractContextManager["Served"]):
    """A fresh process that runs a folder's `serve.py`; called like a session, with arrays `(batch, ...)`.

    `foreign` names what was imported that serving does not need.
    Raises: ArtifactError with the last line of what the process said where it ends.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Isolated: neither PYTHONPATH nor the working folder lends it a module.
        command = [sys.executable, "-I", str(serve_loop.__file__), str(folder.resolve())]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.foreign = str(self._answer()[0])

    def __call__(self, *inputs: Array) -> Any:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it ended: what it said is told below
            serve_loop.send(self.process.stdin, inputs)
        found = self._answer()
        return found[0] if len(found) == 1 else tuple(found)

    def _answer(self) -> list[Any]:
        assert self.process.stdout is not None and self.process.stderr is not None
        found = serve_loop.receive(self.process.stdout)
        if found is None:
            said = self.process.stderr.read().decode("utf-8", "replace").strip().splitlines()
            raise ArtifactError(f"'{self.folder / 'serve.py'}' ended with: {said[-1] if said else 'nothing said'}")
        return found

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(BrokenPipeError):
            self.process.communicate(timeout=None)


def serve_check(
    folder: Path, target: Target, task: Task | None = None, parts: Sequence[Part] = ("val",),
    tolerance: float | None = None, original: Net | None = None,
) -> Verdict:  # fmt: skip
    """Compare what a folder's `serve.py` gives in a fresh process with its sample and, given the task, its quality.

    Files must be those of the manifest. `tolerance` is the largest relative error of an output that is allowed, by
    default that of the precision. Quality is computed through `serve.py` as well, in calls of the batch that was
    measured; `original` is what it agrees with where the task has no labels.

    Raises: ArtifactError for files that are missing or others, and for a `serve.py` that ends; TaskError for a task
    without labels and no original.
    """
    manifest = check_files(folder)
    settings = read_settings(folder)
    file = located(folder, target)
    allowed = TOLERANCE.get(settings["precision"], TOLERANCE["f32"]) if tolerance is None else tolerance
    with Served(folder) as served:

        def quality(part: Part, task: Task) -> Row:
            found = score(
                file.artifact, target, task, part, original, session=lambda rows, shapes: served,
                batch=settings["batch"],
            )  # fmt: skip
            return _quality_row(found, task, part, manifest)

        foreign = len(served.foreign.split())
        alone = Row("imports", 0, foreign, foreign, foreign, "", f"of torch, whet and onnx: {served.foreign or 'none'}")
        rows = [alone, _sample_row(folder, served, allowed)]
        if task is not None:
            rows += [quality(part, task) for part in parts]
    return Verdict(str(folder), name_of(file), tuple(rows), fingerprint().to_dict())


def _sample_row(folder: Path, served: Served, allowed: float) -> Row:
    calls, errors = read_sample(folder), list[float]()
    for inputs, outputs in calls:
        found = served(*inputs.values())
        given = found if isinstance(found, tuple) else (found,)
        errors += [relative_error(a, b) for a, b in zip(given, outputs, strict=True)]
    worst = max(errors)
    same = "equal to the bit" if worst == 0 else f"the largest of {len(errors)}"
    how = f"{len(calls)} calls of serve.py against sample.npz, {same}"
    return Row("relative error", allowed, worst, worst, worst, "", how)


def _quality_row(found: Quality, task: Task, part: Part, manifest: dict[str, Any]) -> Row:
    name = f"{found.metric}_{part}"
    figures = manifest["figures"]
    if name not in figures or figures[name]["value"] is None:
        raise ArtifactError(f"the manifest holds no {name}: is '{task.name}' the task that the file was made for?")
    wanted = figures[name]["value"]
    apart = abs(found.value - wanted) / max(abs(wanted), 1e-12)
    how = f"{found.value:.4f} by serve.py on {found.samples:,} samples, {wanted:.4f} in the manifest"
    return Row(f"{name}, relative difference", QUALITY_TOLERANCE, apart, apart, apart, "", how)


def relative_error(found: Array, wanted: Array) -> float:
    """Return `|found - wanted| / |wanted|` in the Euclidean norm, infinite for another shape or what is no number.

    >>> relative_error(np.array([3.0, 4.0]), np.array([3.0, 4.5])) < 0.1, relative_error(np.ones(2), np.ones(3))
    (True, inf)
    """
    a, b = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    if a.shape != b.shape:
        return float("inf")
    if np.array_equal(a, b, equal_nan=True):
        return 0.0
    error = float(np.linalg.norm(a - b)) / max(float(np.linalg.norm(b)), 1e-12)
    return error if np.isfinite(error) else float("inf")
