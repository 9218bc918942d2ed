"""`made_server`: the server of this machine, put together from its parts and ended with all that it began."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from whet.device.address import DeviceError
from whet.device.protocol import RUNTIMES
from whet.device.server import Desk, DeviceServer
from whet.device.store import Room, Store
from whet.device.turns import Turns
from whet.device.work import Work
from whet.hardware import targets
from whet.hardware.device import fingerprint
from whet.hardware.guard import Guarded


@contextmanager
def made_server(
    host: str, port: int, token: str, folder: Path, room: Room | None = None, most_seconds: float = 300.0,
    queue: int = 8, connections: int = 32,
) -> Iterator[DeviceServer]:  # fmt: skip
    """Yield a server that listens at an address and keeps its files in `folder`; it serves once it is told to.

    Raises: DeviceError where the folder is another server's, the address cannot be listened at, or no runtime is there.
    """
    if not any(name in dict(fingerprint().versions) for name in RUNTIMES):
        raise DeviceError(f"this machine has none of the runtimes that a device measures in: {', '.join(RUNTIMES)}.")
    room = room or Room()
    if room.each > room.bytes:
        raise DeviceError(f"a file may take {room.each:,} bytes, and all together only {room.bytes:,}.")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        held = FileLock(folder / "lock").acquire(timeout=0)
    except Timeout:
        raise DeviceError(f"another server keeps its files in '{folder}': give another --folder.") from None
    with held, closing(Guarded(targets.get("cpu"))) as guarded:
        work = Work(Store(folder, room), guarded, most_seconds)
        desk = Desk(token, work.store, work, Turns(queue), most_seconds)
        try:
            server = DeviceServer(host, port, desk, connections)
        except OSError as error:
            raise DeviceError(f"nothing can listen at '{host}', port {port}: {error.strerror or error}.") from None
        with server:
            yield server
