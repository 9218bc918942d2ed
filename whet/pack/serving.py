"""A packed file in a runtime: unpacked to a temporary file that goes with the process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whet.core.errors import ArtifactError
from whet.pack.files import SUFFIX, unpack

if TYPE_CHECKING:
    from whet.verdict.session import FileSession

SETTINGS = "settings.json"


@dataclass(frozen=True)
class PackedModel:
    """A packed file and the settings that it is served in: those of the `settings.json` beside it, where there is one.

    Otherwise it is ONNX Runtime in f32.
    """

    path: Path

    @property
    def size_bytes(self) -> int:
        """Bytes of the packed file."""
        return self.path.stat().st_size

    def save(self, folder: str | Path) -> Path:
        """Write the ONNX file into `folder`; return where."""
        return unpack(self.path, folder)

    def session(self) -> FileSession:
        """Open the file in its runtime; the session is called with arrays or tensors, `(batch, ...)` each.

        Raises: ArtifactError where it is damaged, TargetError where no runtime loads it.
        """
        from whet.core.target import Artifact
        from whet.hardware import targets
        from whet.verdict.located import KEYS, read_settings
        from whet.verdict.session import FileSession

        target, file = targets.get("cpu"), temporary(self.path)
        if is_settled(self.path):
            beside = read_settings(self.path.parent)
            return FileSession(Artifact(file, {key: beside[key] for key in KEYS}), target)
        settings = [s for s in target.all_settings() if s["precision"] == "f32"]
        settings.sort(key=lambda s: s["runtime"] != "onnxruntime")
        return FileSession(Artifact(file, dict(settings[0])), target)


def load_packed(path: Path) -> PackedModel:
    """Return a packed file as `whet.load` gives it. Raises: ArtifactError where there is none."""
    if not path.is_file():
        raise ArtifactError(f"packed file '{path}' does not exist.")
    return PackedModel(path)


def temporary(path: Path) -> Path:
    """Return the ONNX file of a packed one, in a folder that is removed when the process ends.

    Raises: ArtifactError where it is damaged.
    """
    folder = tempfile.mkdtemp(prefix="whet-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return unpack(path, folder)


def is_settled(path: Path) -> bool:
    """Say whether the settings that a packed file is served in lie beside it, as beside `model.onnx`."""
    return path.stem == "model" and (path.parent / SETTINGS).is_file()


def is_packed(words: Any) -> bool:
    """Say whether a path names a packed file.

    >>> is_packed("model.whet"), is_packed("model.onnx")
    (True, False)
    """
    return Path(str(words)).suffix == SUFFIX
