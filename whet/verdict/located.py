"""A file as it will be served: where it is, and in which settings, by the `settings.json` beside it or by a race."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whet.core.errors import ArtifactError, TargetError
from whet.core.target import Array, Artifact, Session, Target
from whet.graph.file_inputs import example_arrays, static_shapes
from whet.hardware.openvino import inputs_of_file
from whet.hardware.race import Raced, race
from whet.hardware.targets import TARGETS, Settings, setting_name
from whet.pack.serving import SETTINGS as SETTINGS
from whet.pack.serving import is_packed, is_settled, temporary
from whet.verify.manifest import read_delivered

MODEL = "model.onnx"
FIRST = Path("front") / "0"
KEYS = ("runtime", "precision", "threads")


@dataclass(frozen=True)
class Located:
    """A model file and the settings that it may be served in: one where `settings.json` lies beside it.

    `batch` is how many samples a call it was measured with, None where nothing says so.
    """

    path: Path
    settings: tuple[Settings, ...]
    batch: int | None = None
    packed: Path | None = None
    """The packed file that it was unpacked from."""

    @property
    def size_bytes(self) -> int:
        """Bytes on disk, of the packed file where it is one."""
        return self.artifact.size_bytes if self.packed is None else self.packed.stat().st_size

    @property
    def artifact(self) -> Artifact:
        """The file in the first of its settings."""
        return Artifact(self.path, dict(self.settings[0]))

    @property
    def exact(self) -> Artifact:
        """The file in the first of its settings that computes in f32, the first of all where none does."""
        return Artifact(self.path, dict(next((s for s in self.settings if s["precision"] == "f32"), self.settings[0])))

    def inputs(
        self, batch: int, shapes: Mapping[str, Sequence[int]] | None = None, fixed: Mapping[str, float] | None = None
    ) -> dict[str, Array]:
        """Return made-up input arrays by name, in the file's shapes.

        Raises: TargetError where a free size is not given.
        """
        ports, recorded = inputs_of_file(self.path)
        sizes = static_shapes(ports, batch, shapes, recorded, f"'{self.path}'")
        return example_arrays(ports, sizes, fixed, f"'{self.path}'")


def located(words: str | Path, target: Target, threads: int | None = None, own: bool = True) -> Located:
    """Return the file that a path names; a folder stands for the `model.onnx` in it.

    Without `settings.json` beside it, or with `own` off or a number of `threads`, its settings are all of the target's
    that read such files.

    Raises: ArtifactError for what is not there or is no model file.
    """
    path = Path(words)
    if (path / FIRST / MODEL).is_file():
        raise ArtifactError(f"'{words}' is a study: give one file of its front, e.g. '{path / FIRST}'.")
    if is_packed(path):
        beside = read_settings(path.parent) if own and is_settled(path) else None
        every = tuple(s for s in target.all_settings() if s["runtime"] in TARGETS["cpu"])
        return _served(Located(temporary(path), every, packed=path), beside, threads)
    path = path / MODEL if path.is_dir() else path
    if path.suffix not in (".onnx", ".xml") and not path.suffix:
        raise ArtifactError(f"'{words}' does not exist: give FILE.onnx, FILE.xml or a folder with {MODEL}.")
    if path.suffix not in (".onnx", ".xml"):
        raise ArtifactError(f"'{words}' is no model file: give FILE.onnx, .xml or .whet, or a folder with {MODEL}.")
    if not path.is_file():
        raise ArtifactError(f"model file '{path}' does not exist.")
    reads = ("openvino",) if path.suffix == ".xml" else TARGETS["cpu"]
    every = tuple(s for s in target.all_settings() if s["runtime"] in reads)
    beside = read_settings(path.parent) if path.name == MODEL and (path.parent / SETTINGS).is_file() else None
    return _served(Located(path, every), beside if own else None, threads)


def _served(file: Located, beside: Mapping[str, Any] | None, threads: int | None) -> Located:
    """Return a file in the one setting that lies beside it, or as it is where there is none."""
    if beside is None:
        return file
    measured = {key: beside[key] for key in KEYS}
    if threads is not None:
        measured["threads"] = threads
    return replace(file, settings=(measured,), batch=int(beside.get("batch", 1)))


def model_file(words: str | Path) -> Path:
    """Return the path of a model file: itself, or the temporary one of a packed file."""
    return temporary(Path(words)) if is_packed(words) else Path(words)


def read_settings(folder: Path) -> dict[str, Any]:
    """Return what `settings.json` in a folder says.

    Raises: ArtifactError where it is missing, damaged or not whole.
    """
    path = folder / SETTINGS
    found = read_delivered(path)
    lacks = [key for key in KEYS if not isinstance(found, dict) or key not in found]
    if lacks:
        raise ArtifactError(f"'{path}' lacks {', '.join(lacks)}.")
    return dict(found)


@dataclass(frozen=True)
class _Sized:
    """A target whose `open` takes each file at the sizes of its inputs."""

    inner: Target
    sizes: Mapping[Path, Mapping[str, Sequence[int]]]

    def open(self, artifact: Artifact, batch: int) -> Session:
        return self.inner.open(artifact, batch, self.sizes[artifact.path])


def raced(
    files: Mapping[str, Located], target: Target, inputs: Mapping[str, Mapping[str, Array]], bar: str, seconds: float
) -> Raced:
    """Time files, each in all its settings, in one interleaved run of about `seconds`; ratios are to the file `bar`.

    `inputs` are arrays `(batch, ...)` by the file's and the input's name.

    Raises: TargetError where the files take inputs of other numbers or shapes, or where the file `bar` does not run.
    """
    shapes = {name: [array.shape for array in given.values()] for name, given in inputs.items()}
    for name, found in shapes.items():
        if found != shapes[bar]:
            takes = f"'{files[name].path}' takes inputs of {found}, '{files[bar].path}' of {shapes[bar]}"
            raise TargetError(f"{takes}: they are not raced against each other.")
    sizes = {f.path: {name: array.shape for name, array in inputs[key].items()} for key, f in files.items()}
    tried = {name: (f.path, list(f.settings)) for name, f in files.items()}
    each = seconds / sum(len(f.settings) for f in files.values())
    sized: Any = _Sized(target, sizes)
    return race(sized, list(inputs[bar].values()), tried, {bar}, each)


def settled(file: Located, settings: Settings) -> Located:
    """Return the file in the one setting that it is served in."""
    return replace(file, settings=(settings,))


def name_of(file: Located) -> str:
    """Return the short name of the setting that a file is served in."""
    return setting_name(file.settings[0])
