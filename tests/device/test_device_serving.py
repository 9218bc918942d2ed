"""What a server is put together from, and why one does not begin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from served import TOKEN, serving

from whet.device import serving as module
from whet.device.address import DeviceError
from whet.device.serving import made_server
from whet.device.store import Room
from whet.hardware.device import fingerprint


def test_it_listens_where_it_was_told_to_and_ends_with_what_it_began(tmp_path: Path) -> None:
    with serving(tmp_path, most_seconds=7.0, queue=3) as server:
        assert server.server_address[0] == "127.0.0.1" and server.server_port > 0
        found = server.desk.info()
        assert (found["limits"]["seconds"], found["queue"]["most"]) == (7.0, 3)
        assert server.desk.work.most_seconds == 7.0 and server.desk.work.store is server.desk.store
        target = server.desk.work.target
    assert getattr(target, "_child", None) is None
    with serving(tmp_path):
        pass


def test_a_folder_and_an_address_are_one_servers(tmp_path: Path) -> None:
    with serving(tmp_path / "a") as server:
        with pytest.raises(DeviceError, match=r"another server keeps its files in .*give another --folder"):
            made_server("127.0.0.1", 0, TOKEN, tmp_path / "a").__enter__()
        with pytest.raises(DeviceError, match=f"nothing can listen at '127.0.0.1', port {server.server_port}"):
            made_server("127.0.0.1", server.server_port, TOKEN, tmp_path / "b").__enter__()


def test_room_that_does_not_fit_and_a_machine_without_runtimes_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeviceError, match="a file may take 200 bytes, and all together only 100"):
        made_server("127.0.0.1", 0, TOKEN, tmp_path, Room(bytes=100, each=200)).__enter__()
    monkeypatch.setattr(module, "fingerprint", lambda: replace(fingerprint(), versions=(("torch", "2"),)))
    with pytest.raises(DeviceError, match=r"none of the runtimes .*openvino, onnxruntime"):
        made_server("127.0.0.1", 0, TOKEN, tmp_path).__enter__()
