"""The same network in another format beside a delivered file, on request: `whet optimize --also openvino-ir`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet.core.errors import ArtifactError, unknown
from whet.core.target import Artifact, Target
from whet.hardware.openvino import write_ir
from whet.support.files import write_text
from whet.verdict.located import SETTINGS, read_settings
from whet.verdict.serve_check import TOLERANCE, relative_error
from whet.verdict.serve_files import read_sample


@dataclass(frozen=True)
class Format:
    """A format: the name of its file, the runtime that reads it, and what writes it from an ONNX file."""

    file: str
    runtime: str
    write: Callable[[Path, Path], None]


FORMATS = {"openvino-ir": Format("openvino.xml", "openvino", write_ir)}
"""By name. A file's stem is another than the model's, whose size is told by its stem."""


def formats_of(words: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of formats, as they are typed or in a sequence.

    >>> formats_of("openvino-ir"), formats_of(None)
    (('openvino-ir',), ())

    Raises: UnknownNameError with the nearest name.
    """
    given = words.split(",") if isinstance(words, str) else words or ()
    names = tuple(dict.fromkeys(name.strip() for name in given))
    for name in names:
        if name not in FORMATS:
            raise unknown("format", name, FORMATS)
    return names


def write_also(folder: Path, artifact: Artifact, names: Sequence[str], target: Target) -> dict[str, Any]:
    """Write a delivered file of `folder` in other formats beside it; return what the manifest says of them, by name.

    Each is opened and called as the sample was, and must give its outputs. Where the file is served by the runtime that
    a format is for, `serve.py` then serves that: `settings.json` names it.

    Raises: ArtifactError for one whose outputs are others; TargetError where it cannot be written or opened.
    """
    settings, found = read_settings(folder), dict[str, Any]()
    for name in names:
        kind = FORMATS[name]
        kind.write(artifact.path, folder / kind.file)
        own = settings["runtime"] == kind.runtime
        served = artifact.settings if own else {**artifact.settings, "runtime": kind.runtime, "precision": "f32"}
        error = _apart(folder, Artifact(folder / kind.file, dict(served)), target, settings["batch"])
        if error > (allowed := TOLERANCE.get(served["precision"], TOLERANCE["f32"])):
            for file in folder.glob(f"{Path(kind.file).stem}.*"):
                file.unlink()
            raise ArtifactError(f"{name} gives other outputs: {error:.2g} apart, {allowed:g} is allowed.")
        found[name] = {"file": kind.file, "relative_error": error, "served": own}
        if own:
            settings["file"] = kind.file
            write_text(folder / SETTINGS, json.dumps(settings, indent=1) + "\n")
    return found


def _apart(folder: Path, artifact: Artifact, target: Target, batch: int) -> float:
    """Return the largest relative difference to the outputs of the sample that lies in the folder."""
    errors: list[float] = []
    for inputs, outputs in read_sample(folder):
        session = target.open(artifact, batch, {name: array.shape for name, array in inputs.items()})
        given = session(*inputs.values())
        given = given if isinstance(given, tuple) else (given,)
        errors += [relative_error(a, b) for a, b in zip(given, outputs, strict=True)]
    return max(errors)
