"""A device as a target: files go there once, and what is measured there has its fingerprint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import SETTINGS, TOKEN, inputs, model, remote_of, serving, token_file

from whet.core.errors import ArtifactError, TargetError, UnknownNameError
from whet.core.space import Decision
from whet.core.target import Artifact
from whet.device import server as server_module
from whet.device.address import DeviceError
from whet.device.client import Client
from whet.device.remote import Remote
from whet.device.server import DeviceServer
from whet.device.store import Room
from whet.hardware import targets
from whet.hardware.device import fingerprint
from whet.hardware.elsewhere import machine_of
from whet.hardware.executed import executed
from whet.hardware.fresh import served_fresh
from whet.hardware.guard import Guarded
from whet.hardware.measure import measure
from whet.hardware.profile import layer_times
from whet.hardware.race import race
from whet.hardware.single_calls import single_calls
from whet.hardware.targets import CpuTarget, measure_file, setting_name

OTHER = replace(fingerprint(), cpu="a board", flags=("avx2",))
"""What the device says that it is, so that its numbers are told from those of this machine."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeviceServer]:
    monkeypatch.setattr(server_module, "fingerprint", lambda: OTHER)
    token_file(tmp_path, monkeypatch)
    with serving(tmp_path / "store") as found:
        yield found


def target(server: DeviceServer, rest: str = "", threads: int | None = None) -> CpuTarget:
    return targets.get(f"device://127.0.0.1:{server.server_port}{rest}", threads)


def test_its_choices_are_those_of_the_device(server: DeviceServer, monkeypatch: pytest.MonkeyPatch) -> None:
    found = target(server)
    assert found.device == OTHER and found.name == "device/cpu"
    assert found.settings(Decision()) == {"runtime": "openvino", "precision": "f32", "threads": OTHER.cores}
    only = target(server, "/onnxruntime-cpu", threads=1)
    assert only.all_settings() == [SETTINGS] and only.name == "device/onnxruntime-cpu"
    monkeypatch.setattr(server_module, "fingerprint", lambda: replace(OTHER, versions=(("onnxruntime", "1"),)))
    assert target(server).runtimes == ("onnxruntime",) and target(server).kernels()[-1] == "dynamic int8"
    with pytest.raises(TargetError, match="has none of openvino; it has onnxruntime"):
        target(server, "/openvino-cpu")
    with pytest.raises(UnknownNameError, match="did you mean 'onnxruntime-cpu'"):
        target(server, "/onnxruntime")
    with pytest.raises(TargetError, match="threads must be from 1 to"):
        target(server, threads=99)
    with pytest.raises(TargetError, match="has none of inductor"):
        target(server, "/inductor-cpu")


def test_a_file_gives_there_what_it_gives_here_and_goes_there_once(
    server: DeviceServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    own = Client.put
    monkeypatch.setattr(Client, "put", lambda self, digest, content: sent.append(digest) or own(self, digest, content))
    path, there = model(tmp_path / "m.onnx", beside="w.bin"), target(server)
    wanted = targets.get("cpu").open(Artifact(path, SETTINGS), 2)(inputs())
    for settings in (SETTINGS, {**SETTINGS, "runtime": "openvino"}):
        found = there.open(Artifact(path, settings), 2, {"input": (2, 8)})(inputs())
        assert isinstance(found, np.ndarray) and np.allclose(found, wanted, atol=1e-5) and wanted.any()
        found += 1  # it may be written to
    assert len(sent) == len(set(sent)) == 3  # the model, its weights, the inputs
    model(path, seed=5)
    assert not np.allclose(there.open(Artifact(path, SETTINGS), 2)(inputs()), wanted) and len(sent) == 4
    assert len(server.desk.store) == 4


def test_what_is_measured_there_has_the_devices_fingerprint(server: DeviceServer, tmp_path: Path) -> None:
    small, large = model(tmp_path / "a.onnx"), model(tmp_path / "b.onnx", width=4096)
    there = Guarded(target(server))
    x = inputs()
    calls = {p.stem: targets.partial(there.open(Artifact(p, SETTINGS), 2), x) for p in (small, large)}
    found = measure(calls, "a", seconds=0.1, rounds=5)
    assert found["b"].ratio < 1 == found["a"].ratio and {each.device for each in found.values()} == {OTHER.id}
    files = {"a": (small, [SETTINGS]), "b": (large, [SETTINGS])}
    raced = race(there, [x], files, {"a"}, seconds_each=0.05, batch=2)
    assert raced.bar == "a" and raced.latencies["b"].device == OTHER.id != fingerprint().id
    bar = measure_file(small, target(server), seconds=0.1, rounds=5)
    assert bar.latencies.keys() == {setting_name(s) for s in there.all_settings()}
    taken = single_calls(calls["a"], seconds=0.01, least=20)
    assert len(taken.seconds) >= 20 and list(taken.seconds) == sorted(taken.seconds)
    with pytest.raises(TargetError, match=r"on several machines are not timed.*127\.0\.0\.1.*this machine"):
        measure({"a": calls["a"], "here": lambda: None}, "a")


def test_processes_and_layers_are_the_devices(server: DeviceServer, tmp_path: Path) -> None:
    path, there = model(tmp_path / "a.onnx"), machine_of(target(server))
    fresh = served_fresh(Artifact(path, SETTINGS), {"input": ((2, 8), "float32")}, 1, there)
    assert fresh.peak_bytes > 10**7 and fresh.cold_start_seconds > 0
    settings = {**SETTINGS, "runtime": "openvino"}
    times = layer_times({"0": path}, settings, ["w"], [inputs()], rounds=1, batch=2, machine=there)
    assert times is not None and times["0"]["w"] > 0
    assert layer_times({"0": path}, SETTINGS, ["w"], [inputs()], machine=there) is None
    for each in (SETTINGS, settings):
        found = executed(path, each, ["w"], 2, there)
        assert found == executed(path, each, ["w"], 2) and found["w"].precision == "f32"


def test_errors_of_files_are_those_of_a_target_here_and_name_the_device(server: DeviceServer, tmp_path: Path) -> None:
    there, path = target(server), model(tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match="does not exist"):
        there.open(Artifact(tmp_path / "missing.onnx", SETTINGS), 2)
    with pytest.raises(TargetError, match=r"opened for shape \(2, 8\); got \(3, 8\).*on device://127"):
        there.open(Artifact(path, SETTINGS), 2)(inputs(3))
    with pytest.raises(TargetError, match=r"unknown input of 'model\.onnx' 'no'.*on device://127"):
        there.open(Artifact(path, SETTINGS), 2, {"no": (2, 8)})  # its folders are nobody else's business
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ArtifactError, match=r"m\.onnx' is truncated or no ONNX model"):
        there.open(Artifact(path, SETTINGS), 2)


def test_files_that_others_pushed_out_are_sent_again(tmp_path: Path) -> None:
    with serving(tmp_path / "store", room=Room(files=2)) as server:
        there, path = remote_of(server), model(tmp_path / "m.onnx")
        session = there.open(Artifact(path, SETTINGS), 2)
        server.desk.work._open.clear()
        first = session(inputs(seed=1))
        for seed in (2, 3):
            session(inputs(seed=seed))
        server.desk.work._open.clear()
        assert np.array_equal(session(inputs(seed=1)), first) and len(server.desk.store) == 2


def test_a_device_is_found_by_its_address_and_the_token_of_the_environment(
    server: DeviceServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WHET_DEVICE_TOKEN_FILE")
    with pytest.raises(DeviceError, match="give --token-file FILE"):
        target(server)


def test_progress_is_told_where_it_is_listened_to(server: DeviceServer) -> None:
    there = remote_of(server)
    told: list[str] = []
    there.listen(told.append)
    there.client.told("waiting")
    assert told == ["waiting"] and isinstance(there, Remote) and TOKEN not in json.dumps(vars(there), default=str)


def test_sessions_of_outputs_that_are_several_give_a_tuple(
    server: DeviceServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = target(server).open(Artifact(model(tmp_path / "m.onnx"), SETTINGS), 2)
    own: Any = server.desk.work._open
    key = next(iter(own))
    inner = own[key]
    own[key] = lambda *given: (inner(*given), np.arange(3))
    first, second = session(inputs())
    assert first.shape == (2, 4) and second.tolist() == [0, 1, 2]
