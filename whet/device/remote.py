"""`Remote`: a device as a target's machine. Files go there once, by their content; what is timed is timed there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from whet.core.target import Array, Artifact
from whet.device.address import address, read_token, token_file, wait_seconds
from whet.device.client import Client, Content
from whet.device.parts import hash_of, parts_of
from whet.device.protocol import Missing, Order, packed, unpacked
from whet.hardware.device import Device

ATTEMPTS = 3
"""How often files are sent for an order: what others send meanwhile may push them out again."""
Contents = dict[str, Content]


class RemoteSession:
    """A file that a device has open: `session(*inputs)`, arrays `(batch, ...)`, runs it there."""

    def __init__(self, elsewhere: Remote, order: Order, contents: Contents) -> None:
        self.elsewhere, self.order, self.contents = elsewhere, order, contents

    def __call__(self, *inputs: Array) -> Any:
        asked, contents = self.called(inputs)
        found = unpacked(self.elsewhere.ask("run", asked, contents))
        copies = tuple(np.array(value) for value in found)
        return copies[0] if len(copies) == 1 else copies

    def called(self, inputs: Sequence[Array]) -> tuple[dict[str, Any], Contents]:
        """Return what asks for a call on inputs `(batch, ...)`, and the files that it needs."""
        data = packed([np.asarray(x) for x in inputs])
        digest = hashlib.sha256(data).hexdigest()
        return {"order": self.order.to_dict(), "inputs": digest}, {**self.contents, digest: data}


class Remote:
    """A device at an address: opens, runs and times files there, by whet's own measuring."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.address = str(client.where)

    @property
    def device(self) -> Device:
        """The processor and the runtimes there."""
        return self.client.device

    def listen(self, told: Callable[[str], None]) -> None:
        """Give a sentence to `told` whenever the device keeps one waiting."""
        self.client.told = told

    def open(self, artifact: Artifact, batch: int, shapes: Mapping[str, Sequence[int]] | None = None) -> RemoteSession:
        """Send a file, where the device does not have it, and have it opened.

        Raises: ArtifactError for a file that is missing or damaged; TargetError where a runtime there does not run it.
        """
        order, contents = _ordered(artifact.path, artifact.settings, batch, shapes)
        self.ask("open", {"order": order.to_dict()}, contents)
        return RemoteSession(self, order, contents)

    def timed(self, calls: Mapping[str, Any], baseline: str, **options: Any) -> dict[str, list[float]]:
        """Return what `measure.timed` finds there."""
        asked, contents = dict[str, Any](), Contents()
        for name, call in calls.items():
            asked[name], needed = _called(call)
            contents |= needed
        found: dict[str, list[float]] = self.ask("time", {"calls": asked, "baseline": baseline, **options}, contents)[
            "times"
        ]
        return {name: found[name] for name in calls}

    def single_calls(self, call: Any, seconds: float, least: int, most: int) -> list[float]:
        """Return the seconds of single calls, timed there one after the other."""
        asked, contents = _called(call)
        limits = {"seconds": seconds, "least": least, "most": most}
        found: list[float] = self.ask("single", {**asked, **limits}, contents)["seconds"]
        return found

    def served_fresh(
        self, artifact: Artifact, inputs: Mapping[str, tuple[Sequence[int], str]], calls: int
    ) -> tuple[int, float]:
        """Return the peak of memory in bytes, and the seconds of the cold start, of a new process there."""
        order, contents = _ordered(artifact.path, artifact.settings, 1, {n: sizes for n, (sizes, _) in inputs.items()})
        kinds = {name: {"sizes": [int(n) for n in sizes], "dtype": kind} for name, (sizes, kind) in inputs.items()}
        found = self.ask("fresh", {"order": order.to_dict(), "inputs": kinds, "calls": calls}, contents)
        return int(found["peak_bytes"]), float(found["cold_start_seconds"])

    def layer_times(
        self, files: Mapping[str, Path], settings: Mapping[str, Any], layers: Sequence[str], inputs: Sequence[Array],
        rounds: int, batch: int,
    ) -> dict[str, dict[str, float]] | None:  # fmt: skip
        """Return the milliseconds of each layer in each file there, on inputs `(batch, ...)`."""
        orders, contents = dict[str, Any](), Contents()
        for name, path in files.items():
            order, needed = _ordered(path, settings, batch, None)
            orders[name] = order.to_dict()
            contents |= needed
        data = packed(list(inputs))
        digest = hashlib.sha256(data).hexdigest()
        asked = {"files": orders, "layers": list(layers), "inputs": digest, "rounds": rounds}
        found: dict[str, dict[str, float]] | None = self.ask("layers", asked, {**contents, digest: data})["layers"]
        return found

    def executed(
        self, path: Path, settings: Mapping[str, Any], layers: Sequence[str], batch: int
    ) -> dict[str, tuple[str, str]]:
        """Return the kernel and the precision that each layer of a file is computed in there."""
        order, contents = _ordered(path, settings, batch, None)
        found = self.ask("executed", {"order": order.to_dict(), "layers": list(layers)}, contents)["layers"]
        return {site: (kernel, precision) for site, (kernel, precision) in found.items()}

    def ask(self, what: str, data: Mapping[str, Any], contents: Contents) -> Any:
        """Return the answer to an order; files that the device lacks for it are sent."""
        for _ in range(ATTEMPTS):
            try:
                return self.client.post(f"/v1/{what}", data)
            except Missing as missing:
                for digest in missing.hashes:
                    self.client.put(digest, contents[digest])
        return self.client.post(f"/v1/{what}", data)


def remote(words: str) -> Remote:
    """Return the device at `device://HOST:PORT`, asked with the token and waited for as the environment says.

    Raises: DeviceError for what is no address, where no token is named, and where nothing answers.
    """
    where, file = address(words), token_file()
    return Remote(Client(where, read_token(file), wait_seconds(), str(file)))


def _called(call: partial[Any]) -> tuple[dict[str, Any], Contents]:
    """Return what asks for a call: a partial of a session, with its inputs."""
    session: RemoteSession = call.func  # type: ignore[assignment]
    return session.called(call.args)


def _ordered(
    path: Path, settings: Mapping[str, Any], batch: int, shapes: Mapping[str, Sequence[int]] | None
) -> tuple[Order, Contents]:
    parts = parts_of(path) if path.suffix != ".onnx" or not path.is_file() else _parts(path, *_state(path))
    hashes = {name: _hash(part, *_state(part)) for name, part in parts.items()}
    order = Order(hashes, dict(settings), batch, shapes)
    return order, {digest: parts[name] for name, digest in hashes.items()}


def _state(path: Path) -> tuple[int, ...]:
    """Return what changes with a file."""
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size


@lru_cache(256)
def _parts(path: Path, *state: int) -> dict[str, Path]:
    return parts_of(path)


@lru_cache(4096)
def _hash(path: Path, *state: int) -> str:
    return hash_of(path)
