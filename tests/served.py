"""A device in a thread of the test's own process, and small ONNX files for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from spoiled import SETTINGS as SETTINGS
from spoiled import TOKEN as TOKEN

from whet.device.address import TOKEN_FILE, Address
from whet.device.client import Client
from whet.device.remote import Remote
from whet.device.server import DeviceServer
from whet.device.serving import made_server
from whet.hardware.guard import Guarded


@contextmanager
def serving(folder: Path, port: int = 0, **options: Any) -> Iterator[DeviceServer]:
    """Serve in a thread, at any free port of the loopback; no child process tries files before they are opened."""
    with pytest.MonkeyPatch.context() as patch, made_server("127.0.0.1", port, TOKEN, folder, **options) as server:
        patch.setattr(Guarded, "_crash", lambda self, order: None)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def remote_of(server: DeviceServer, wait_seconds: float = 5.0) -> Remote:
    return Remote(Client(Address("127.0.0.1", server.server_port), TOKEN, wait_seconds))


def token_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the token where the environment then says it is."""
    path = folder / "token"
    path.touch(0o600)
    path.write_text(TOKEN)
    monkeypatch.setenv(TOKEN_FILE, str(path))
    return path


def model(path: Path, width: int = 4, seed: int = 0, beside: str = "") -> Path:
    """Write a layer of 8 inputs `(batch, 8)` and a ReLU; its weights lie in the file `beside` it, where that is named.

    The batch is free.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = np.random.default_rng(seed).standard_normal((8, width)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["input", "w"], ["h"]), helper.make_node("Relu", ["h"], ["output"])]
    takes = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 8])
    gives = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", width])
    graph = helper.make_graph(nodes, "layer", [takes], [gives], [numpy_helper.from_array(weights, "w")])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    if beside:
        onnx.save_model(made, str(path), save_as_external_data=True, location=beside, size_threshold=0)
    else:
        onnx.save_model(made, str(path))
    return path


def inputs(rows: int = 2, seed: int = 1) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal((rows, 8)).astype(np.float32)
