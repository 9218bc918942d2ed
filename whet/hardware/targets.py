"""The targets by name: which runtimes, precisions and thread counts a device offers, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch

from whet import catalogue
from whet.core.errors import ArtifactError, TargetError, unknown
from whet.core.net import Net
from whet.core.space import Choice, Decision, Space
from whet.core.target import Array, Artifact, Session, Target
from whet.graph.file_inputs import example_arrays, static_shapes
from whet.hardware.device import Device, fingerprint
from whet.hardware.elsewhere import Elsewhere, device_of
from whet.hardware.measure import Latency, measure, measure_artifacts

Settings = dict[str, Any]
BF16_FLAGS = ("avx512_bf16", "amx_bf16")


class Runtime(Protocol):
    """One runtime's way of writing a model file and of opening it."""

    def save(self, net: Net, folder: Path, settings: Mapping[str, Any]) -> Path:
        """Write the model file into `folder` and return its path."""

    def open(
        self, path: Path, settings: Mapping[str, Any], batch: int, shapes: Mapping[str, Sequence[int]] | None = None
    ) -> Session:
        """Load the file for a static batch and sizes, and return what runs it."""


@dataclass(frozen=True)
class RuntimeRow:
    """A runtime by its name in the catalogue; its precisions with the processor flags of which one is needed.

    The first precision that the processor has is the runtime's own default, the identity of the choice. `integers` are
    those that it loads weights of; `dynamic int8` is among them where it multiplies those by integers that inputs are
    rounded to in the call. OpenVINO 2026.4 computes `DynamicQuantizeLinear` and `MatMulInteger` in floats.
    """

    name: str
    precisions: tuple[tuple[str, tuple[str, ...]], ...]
    integers: tuple[str, ...] = ()

    def legal(self, device: Device) -> tuple[str, ...]:
        """Return the precisions that a device has, the runtime's own default first."""
        return tuple(name for name, flags in self.precisions if device.has_any(flags))

    def load(self) -> Runtime:
        """Import the runtime and return an instance of its class."""
        runtime: Runtime = catalogue.make(self.name, "runtime")
        return runtime


ROWS = (
    RuntimeRow("openvino", (("bf16", BF16_FLAGS), ("f32", ())), ("int8", "int4")),
    RuntimeRow("onnxruntime", (("f32", ()),), ("int8", "int4", "dynamic int8")),
    RuntimeRow("inductor", (("f32", ()), ("bf16", BF16_FLAGS))),
)
RUNTIMES = {row.name: row for row in ROWS}
TARGETS = {
    "cpu": ("openvino", "onnxruntime"),
    "openvino-cpu": ("openvino",),
    "onnxruntime-cpu": ("onnxruntime",),
    "inductor-cpu": ("inductor",),
}
SCHEME = "device://"
ELSEWHERE = "whet.device.remote:remote"
"""What a target's name begins with that is on another machine, and what finds that machine."""


@dataclass(frozen=True)
class CpuTarget:
    """One or several runtimes on a CPU.

    The identity decision is what a user gets who sets nothing: the first runtime, its default precision
    (OpenVINO takes bf16 where the processor has it), a thread for each core. A runtime with one precision
    offers no choice. There is no choice of layout: OpenVINO lays tensors out itself, and handing it
    channels last gained nothing (x0.99-1.03 on stacks of 3x3 convolutions); ONNX Runtime has its blocked
    layout on at its top graph level.
    """

    name: str
    runtimes: tuple[str, ...]
    device: Device
    threads: int | None = None
    """How many threads serve a file, where that is not to be chosen."""
    elsewhere: Elsewhere | None = None
    """The machine that opens and times files, where it is not this one."""

    @property
    def alignment(self) -> int:
        """Channels of one vector register of f32: 16 with AVX-512, else 8.

        Measured on an AVX-512 server, 9 convolutions 3x3: 60 channels take 1.10 times as long as 64 in
        OpenVINO bf16, 36 take 1.66 times as long as 32; in ONNX Runtime 20, 24 and 28 take as long as 32.
        """
        return 16 if self.device.has_any(("avx512f",)) else 8

    @property
    def weight_bits(self) -> int:
        """Bits of the integer weights that the processor's sums are exact with, 8 or 7 (`Device.weight_bits`)."""
        return self.device.weight_bits

    def kernels(self) -> tuple[str, ...]:
        """Return the integers that all of its runtimes load weights of, `dynamic int8` where all multiply them."""
        first, *others = (RUNTIMES[name].integers for name in self.runtimes)
        return tuple(name for name in first if all(name in other for other in others))

    def space(self) -> Space:
        """Return `runtime:name`, `runtime:precision` and `runtime:threads`, each where there is a choice."""
        choices = []
        legal = {name: RUNTIMES[name].legal(self.device) for name in self.runtimes}
        if len(self.runtimes) > 1:
            choices.append(Choice("runtime:name", self.runtimes, self.runtimes[0]))
        several = tuple(name for name in self.runtimes if len(legal[name]) > 1)
        if several:
            precisions = legal[several[0]]
            when = ("runtime:name", several) if len(self.runtimes) > 1 else None
            choices.append(Choice("runtime:precision", precisions, precisions[0], when))
        threads = self.thread_counts()
        if len(threads) > 1:
            choices.append(Choice("runtime:threads", threads, threads[-1]))
        return Space(choices)

    def settings(self, decision: Decision) -> Settings:
        """Return `runtime`, `precision` and `threads`; choices of other sites are passed over.

        Raises: UnknownNameError or DecisionError for a `runtime:` choice that this target does not have.
        """
        space = self.space()
        own = Decision({name: value for name, value in decision.items() if name.startswith("runtime:")})
        space.check(own)
        runtime = str(own.get("runtime:name", self.runtimes[0]))
        precision = space.choices.get("runtime:precision")
        threads = space.choices.get("runtime:threads")
        free = precision is not None and space.active(precision, own)
        return {
            "runtime": runtime,
            "precision": own.of(precision) if precision and free else RUNTIMES[runtime].legal(self.device)[0],
            "threads": own.of(threads) if threads else self.thread_counts()[-1],
        }

    def thread_counts(self) -> tuple[int, ...]:
        """Return the counts of threads that files are tried with."""
        return thread_counts(self.device.cores) if self.threads is None else (self.threads,)

    def all_settings(self) -> list[Settings]:
        """Return every legal setting of this target, its default first."""
        return _settings(self.runtimes, self.device, self.thread_counts())

    def save(self, net: Net, folder: Path, settings: Settings | None = None) -> Path:
        """Write the model file, by default for the identity's settings; only inductor's depends on them."""
        chosen = settings or self.settings(Decision())
        return _runtime(chosen["runtime"]).save(net, folder, chosen)

    def open(self, artifact: Artifact, batch: int, shapes: Mapping[str, Sequence[int]] | None = None) -> Session:
        """Load an artifact of any runtime for a static batch; see `BoundSession` for what a session does.

        `shapes` gives sizes by the input's name, in the file's layout, where they are not those that the file was
        written with; then a batch that the file fixes is whatever they say.

        Raises: ArtifactError if its file or settings are not whole, TargetError if the runtime cannot run it.
        """
        settings = artifact.settings
        missing = [key for key in ("runtime", "precision", "threads") if key not in settings]
        if missing:
            raise ArtifactError(f"the settings of '{artifact.path}' lack {', '.join(missing)}.")
        if not isinstance(settings["threads"], int) or settings["threads"] < 1:
            raise ArtifactError(f"'{artifact.path}': threads must be 1 or more; got {settings['threads']!r}.")
        if self.elsewhere is not None:
            return self.elsewhere.open(artifact, batch, shapes)
        return _runtime(settings["runtime"]).open(artifact.path, settings, batch, shapes)


def get(name: str, threads: int | None = None) -> CpuTarget:
    """Return the target of that name on this device, with so many threads, by default those that are fastest.

    `device://HOST:PORT/NAME` is the target of that name, by default `cpu`, on the machine at that address.

    Raises: UnknownNameError for the name; TargetError for more threads than there are processors, and for a machine
    that does not answer.

    >>> get("onnxruntime-cpu").settings(Decision())["precision"]
    'f32'
    """
    machine, name = _machine(name)
    if name not in TARGETS:
        raise unknown("target", name, TARGETS)
    device, runtimes = fingerprint(), TARGETS[name]
    if machine is not None:
        device, runtimes = machine.device, _there(machine, name)
    if threads is not None and not 1 <= threads <= device.cores:
        raise TargetError(f"threads must be from 1 to {device.cores}, the processors of this device; got {threads}.")
    return CpuTarget(name if machine is None else f"device/{name}", runtimes, device, threads, machine)


def _machine(name: str) -> tuple[Elsewhere | None, str]:
    """Return the machine that a target's name begins with, and the name of the target there."""
    if not name.startswith(SCHEME):
        return None, name
    module, _, function = ELSEWHERE.partition(":")
    machine, _, rest = name.removeprefix(SCHEME).partition("/")
    return getattr(import_module(module), function)(SCHEME + machine), rest or "cpu"


def _there(machine: Elsewhere, name: str) -> tuple[str, ...]:
    """Return the runtimes of a target that a machine has."""
    versions = dict(machine.device.versions)
    found = tuple(runtime for runtime in TARGETS[name] if runtime in versions)
    if not found:
        raise TargetError(f"'{machine.address}' has none of {', '.join(TARGETS[name])}; it has {', '.join(versions)}.")
    return found


def thread_counts(cores: int) -> tuple[int, ...]:
    """Return the powers of two below `cores`, and `cores`.

    >>> thread_counts(6)
    (1, 2, 4, 6)
    """
    powers = (2**n for n in range(cores.bit_length()))
    return (*(count for count in powers if count < cores), cores)


def every_setting(device: Device | None = None) -> list[Settings]:
    """Return every legal setting of every runtime that reads ONNX: what the bar is measured over."""
    device = device or fingerprint()
    return _settings(TARGETS["cpu"], device, thread_counts(device.cores))


def setting_name(settings: Mapping[str, Any]) -> str:
    """Return the short name of settings.

    >>> setting_name({"runtime": "openvino", "precision": "bf16", "threads": 1})
    'openvino/bf16/1'
    """
    return f"{settings['runtime']}/{settings['precision']}/{settings['threads']}"


def measure_settings(
    target: CpuTarget, path: Path, settings: Sequence[Settings], example: Sequence[Array], **options: Any
) -> dict[str, Latency]:
    """Measure one file under several settings, interleaved; return by `setting_name`, ratios to the first.

    `example` holds the network's inputs, `(batch, ...)` each; `options` go to `measure`.
    """
    artifacts = {setting_name(each): Artifact(path, dict(each)) for each in settings}
    return measure_artifacts(target.open, artifacts, example, setting_name(settings[0]), **options)


@dataclass(frozen=True)
class Bar:
    """The uncompressed network in every setting; `artifact` is the fastest: what candidates must beat.

    `latencies` go by `setting_name`, with ratios to the first that runs; `unfit` says why a setting does not.
    """

    best: str
    artifact: Artifact
    latencies: dict[str, Latency]
    unfit: dict[str, str]


def inputs_of(net: Net, batch: int = 1) -> tuple[Array, ...]:
    """Return the first samples of the net's example as a runtime takes them, in the file's order and layout.

    Shapes `(batch, ...)`, or with the batch where the port says; where it is more than the example has, rows repeat.
    """
    found = []
    for port, x in zip(net.inputs, net.example, strict=True):
        rows = x[:1] if port.batch_axis is None else x[torch.arange(batch) % len(x)]
        found.append(port.outside(rows).contiguous().numpy())
    return tuple(found)


def baselines(net: Net, target: Target, folder: Path, example: Sequence[Array] | None = None, **options: Any) -> Bar:
    """Save the uncompressed net, measure it in every setting of any runtime, return the fastest: the bar.

    `example` is the batch that will be served, in the file's shapes, by default the first sample of the net's own. The
    bar is over all of `every_setting`, whatever runtime `target` is, because the promise is; inductor's settings
    join where it is the target (it compiles once a precision). A setting that cannot run the network is in `unfit`.
    `options` go to `measure`.

    Raises: TargetError if no setting runs the network.
    """
    inputs = inputs_of(net) if example is None else tuple(example)
    named = {port.name: array for port, array in zip(net.inputs, inputs, strict=True)}
    return _timed(target, *_saved(net, target, folder), named, f"'{net.name}'", options)


def measure_file(
    path: Path, target: Target, shapes: Mapping[str, Sequence[int]] | None = None,
    fixed: Mapping[str, float] | None = None, batch: int = 1, **options: Any,
) -> Bar:  # fmt: skip
    """Measure a file as it is in every setting of the target that reads such files; nothing is lifted.

    `shapes` gives the sizes of inputs that the file leaves free, by name, `fixed` the value of inputs that steer the
    network (a sampling rate); the others get random numbers. `options` go to `measure`.

    Raises: TargetError if no setting runs it, or where a free size is not given: its message says how.
    """
    # Imported here: whoever looks up a target does not wait for a runtime.
    reader = import_module("whet.hardware.openvino")
    inputs, recorded = reader.inputs_of_file(path)
    sizes = static_shapes(inputs, batch, shapes, recorded, f"'{path}'")
    arrays = example_arrays(inputs, sizes, fixed, f"'{path}'")
    reads = ("openvino",) if path.suffix == ".xml" else TARGETS["cpu"]
    settings = [each for each in target.all_settings() if each["runtime"] in reads]
    artifacts = {setting_name(each): Artifact(path, each) for each in settings}
    return _timed(target, artifacts, {}, arrays, f"'{path}'", options)


def _timed(
    target: Target, artifacts: Mapping[str, Artifact], unfit: dict[str, str], inputs: Mapping[str, Array], what: str,
    options: Mapping[str, Any],
) -> Bar:  # fmt: skip
    calls: dict[str, partial[Any]] = {}
    shapes = {name: array.shape for name, array in inputs.items()}
    for name, artifact in artifacts.items():
        try:
            call = partial(target.open(artifact, 1, shapes), *inputs.values())
            call()
            calls[name] = call
        except TargetError as error:
            unfit[name] = str(error)
    if not calls:
        raise TargetError(f"no setting runs {what}: {'; '.join(sorted(set(unfit.values())))}")
    latencies = measure(calls, next(iter(calls)), **options)
    best = max(latencies.values(), key=lambda latency: latency.ratio).name
    return Bar(best, artifacts[best], latencies, unfit)


def _saved(net: Net, target: Target, folder: Path) -> tuple[dict[str, Artifact], dict[str, str]]:
    """Write each file that a setting needs; return the artifacts and what cannot be written, by setting."""
    artifacts: dict[str, Artifact] = {}
    unfit: dict[str, str] = {}
    files: dict[tuple[str, str], Path] = {}
    counts = {s["threads"] for s in target.all_settings()}
    device = device_of(target)
    everything = [*(s for s in every_setting(device) if s["threads"] in counts), *target.all_settings()]
    for name, each in {setting_name(each): each for each in everything}.items():
        kind = ("inductor", each["precision"]) if each["runtime"] == "inductor" else ("onnx", "")
        try:
            if kind not in files:
                files[kind] = _runtime(each["runtime"]).save(net, folder, each)
            artifacts[name] = Artifact(files[kind], each)
        except TargetError as error:
            unfit[name] = str(error)
    return artifacts, unfit


def _settings(runtimes: Sequence[str], device: Device, threads: Sequence[int]) -> list[Settings]:
    return [
        {"runtime": runtime, "precision": precision, "threads": count}
        for runtime in runtimes
        for precision in RUNTIMES[runtime].legal(device)
        for count in reversed(threads)
    ]


def _runtime(name: str) -> Runtime:
    if name not in RUNTIMES:
        raise unknown("runtime", name, RUNTIMES)
    return RUNTIMES[name].load()
