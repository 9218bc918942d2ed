"""`Elsewhere`: another machine that opens, runs and times files, so that latency is the target's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from whet.core.errors import TargetError
from whet.core.target import Array, Artifact, Session
from whet.hardware.device import Device, fingerprint

Call = Callable[[], object]
DEVICE = "device "
"""How the names begin of what a study knows about another machine."""


class Elsewhere(Protocol):
    """A machine at an `address`. What it opens is called like any session, and timed where it lies.

    A call is a `partial` of a session that it opened, with the inputs that the session is called with.
    """

    address: str

    @property
    def device(self) -> Device:
        """The processor and the runtimes there."""

    def listen(self, told: Callable[[str], None]) -> None:
        """Give a sentence to `told` whenever the machine keeps one waiting."""

    def open(self, artifact: Artifact, batch: int, shapes: Mapping[str, Sequence[int]] | None = None) -> Session:
        """Open a file there for a static batch; the session has this machine as its `elsewhere`."""

    def timed(self, calls: Mapping[str, Call], baseline: str, **options: Any) -> dict[str, list[float]]:
        """Return what `measure.timed` returns there."""

    def single_calls(self, call: Call, seconds: float, least: int, most: int) -> list[float]:
        """Return the seconds of single calls, as `single_calls` times them there."""

    def served_fresh(
        self, artifact: Artifact, inputs: Mapping[str, tuple[Sequence[int], str]], calls: int
    ) -> tuple[int, float]:
        """Return the peak of memory in bytes and the seconds of the cold start of a new process there."""

    def layer_times(
        self, files: Mapping[str, Path], settings: Mapping[str, Any], layers: Sequence[str], inputs: Sequence[Array],
        rounds: int, batch: int,
    ) -> dict[str, dict[str, float]] | None:  # fmt: skip
        """Return what `profile.layer_times` returns there; `inputs` are arrays `(batch, ...)`."""

    def executed(
        self, path: Path, settings: Mapping[str, Any], layers: Sequence[str], batch: int
    ) -> dict[str, tuple[str, str]]:
        """Return the kernel and the precision of each layer, as `executed.executed` finds them there."""


def machine_of(thing: object) -> Elsewhere | None:
    """Return the machine that a target measures on, or that a call or session runs on; None for this one."""
    found: Elsewhere | None = getattr(getattr(thing, "func", thing), "elsewhere", None)
    return found


def shared_machine(calls: Iterable[object]) -> Elsewhere | None:
    """Return the machine that all calls run on; None for this one.

    Raises: TargetError for calls on several machines, which nothing compares.
    """
    found = {id(machine): machine for machine in map(machine_of, calls)}
    if len(found) > 1:
        names = ", ".join(sorted("this machine" if each is None else each.address for each in found.values()))
        raise TargetError(f"files on several machines are not timed against each other: {names}.")
    return next(iter(found.values()), None)


def device_of(thing: object) -> Device:
    """Return the device that a target measures on, or that a call runs on."""
    machine = machine_of(thing)
    return fingerprint() if machine is None else machine.device


def machine_facts(target: object) -> dict[str, str]:
    """Return what a study on another machine must find again there; nothing for this one.

    The address may change, and so may the memory that is there.
    """
    if machine_of(target) is None:
        return {}
    device = device_of(target)
    versions = {name: number for name, number in device.versions if name in ("openvino", "onnxruntime")}
    facts = {"cpu": device.cpu, "flags": " ".join(device.flags), "cores": device.cores, "system": device.system}
    return {f"{DEVICE}{name}": str(value) for name, value in {**facts, **versions}.items()}


def differences(before: Device, now: Device) -> list[str]:
    """Return in words in what a device differs from what it was before; its memory does not count."""
    old, new = ({**each.to_dict(), **dict(each.versions)} for each in (before, now))
    names = [n for n in (*old, *(new.keys() - old.keys())) if n not in ("versions", "memory_gib")]
    return [f"{n} was {old.get(n)!r}, now {new.get(n)!r}" for n in names if old.get(n) != new.get(n)]
