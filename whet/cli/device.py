"""`whet device serve` on the machine that files will run on, and `whet device info` for what it says of itself."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from whet.cli.shared import Json

if TYPE_CHECKING:
    from whet.device.server import DeviceServer

device = typer.Typer(no_args_is_help=True, help="Measure on another machine.")
FOLDER = Path("~/.cache/whet/device")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
TokenFile = Annotated[
    Path | None,
    typer.Option(help="Holds the token of a device, as `whet device serve` has it; default: $WHET_DEVICE_TOKEN_FILE."),
]
DeviceWait = Annotated[
    str | None, typer.Option(help="How long a device that is gone is waited for, e.g. 10min (the default).")
]


def use_device(token_file: Path | None, device_wait: str | None) -> None:
    """Keep what the options say about devices, for targets that are made later."""
    if token_file is not None or device_wait is not None:
        from whet.device.address import use
        from whet.flow.quantities import seconds

        use(token_file, None if device_wait is None else seconds(device_wait, "device_wait", "90s, 10min"))


@device.command()
def serve(
    token_file: Annotated[
        Path, typer.Option(help="Holds the token that every request must have; made where there is none.")
    ],
    host: Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0: all of the machine's.")] = LOOPBACK[0],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8100,
    folder: Annotated[Path, typer.Option(help="Where files are kept.")] = FOLDER,
    max_file: Annotated[str, typer.Option(help="What a file may take.")] = "500MB",
    max_kept: Annotated[str, typer.Option(help="What all files that are kept may take.")] = "2GB",
    max_files: Annotated[int, typer.Option(min=8, help="How many files are kept.")] = 1000,
    max_seconds: Annotated[float, typer.Option(min=1.0, help="How long one measurement may take.")] = 300.0,
    queue: Annotated[int, typer.Option(min=0, help="How many requests may wait for their turn.")] = 8,
    connections: Annotated[int, typer.Option(min=1, help="How many connections there may be.")] = 32,
) -> None:
    """Measure files here for those who know the token, one measurement at a time.

    Files and orders come in, figures and outputs go out; no code is taken, and nothing is unpickled. What is sent is
    not encrypted: beyond the machine itself, use a network that you trust, or `ssh -L 8100:localhost:8100 BOARD`.
    """
    from whet.device.address import made_token, read_token
    from whet.device.serving import made_server
    from whet.device.store import Room
    from whet.flow.quantities import size_bytes

    room = Room(max_files, int(size_bytes(max_kept, "max_kept")), int(size_bytes(max_file, "max_file")))
    made = made_token(token_file)
    token = read_token(token_file)
    with made_server(host, port, token, folder.expanduser(), room, max_seconds, queue, connections) as server:
        if made:
            print(f"a new token is in '{token_file}': copy that file to where you search", file=sys.stderr)
        if host not in LOOPBACK:
            print("what goes over the line is not encrypted: use a network that you trust", file=sys.stderr)
        print(f"device://{_shown(host)}:{server.server_port} measures; Ctrl-C ends it", flush=True)
        _until_ended(server)
    if server.desk.turns.working:  # a runtime that is in the middle of a call does not let Python end in order
        os._exit(0)


def _until_ended(server: DeviceServer) -> None:
    """Serve until Ctrl-C, or until the process is told to end."""
    signal.signal(signal.SIGTERM, lambda *given: threading.Thread(target=server.shutdown, daemon=True).start())
    try:
        server.serve_forever(poll_interval=0.5)
    except KeyboardInterrupt:
        print("ended", file=sys.stderr)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@device.command()
def info(
    where: Annotated[str, typer.Argument(metavar="ADDRESS", help="device://HOST:PORT")],
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Tell what a device is, which runtimes it has, who waits, and which files it keeps."""
    use_device(token_file, None)
    from whet.device.remote import remote

    found = remote(where).client.information
    if as_json:
        print(json.dumps({"address": where, **found}))
        return
    table = Table(show_header=False, box=None, title=where, title_justify="left")
    for name, value in told(found).items():
        table.add_row(name, value)
    Console().print(table)


def told(found: dict[str, Any]) -> dict[str, str]:
    """Return what a device says of itself, in words."""
    own, queue, kept, limits = (found[name] for name in ("device", "queue", "kept", "limits"))
    runtimes = [f"{name} {number}" for name, number in own["versions"].items() if name in ("openvino", "onnxruntime")]
    return {
        "processor": f"{own['cpu']}, {own['cores']} cores, {own['memory_gib']} GiB, {own['system']}",
        "flags": " ".join(own["flags"]) or "no known vector flags",
        "runtimes": ", ".join(runtimes) or "none",
        "whet": f"{found['whet']}, protocol {found['protocol']}",
        "queue": f"{'measuring' if queue['measuring'] else 'idle'}, {queue['waiting']} of at most {queue['most']} wait",
        "kept": f"{kept['files']:,} of {limits['files']:,} files, {kept['bytes']:,} of {limits['bytes']:,} bytes",
        "limits": f"{limits['each']:,} bytes a file, {limits['seconds']:g} s a measurement",
    }
