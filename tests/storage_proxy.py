"""A gRPC proxy of Optuna before an SQLite file, for tests of shared records."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CODE = """
import sys, optuna
from optuna.storages import RDBStorage, run_grpc_proxy_server
run_grpc_proxy_server(RDBStorage(f"sqlite:///{sys.argv[1]}"), host="127.0.0.1", port=int(sys.argv[2]))
"""


@contextmanager
def proxied(database: Path) -> Iterator[str]:
    """Serve a database until the context ends; give the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-W", "ignore", "-c", CODE, str(database), str(port)])
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()
