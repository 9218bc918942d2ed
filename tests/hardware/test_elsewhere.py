"""Which machine a call runs on, and what a study must find again there."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from whet.core.errors import TargetError
from whet.hardware.device import Device, fingerprint
from whet.hardware.elsewhere import device_of, differences, machine_facts, machine_of, shared_machine
from whet.hardware.guard import Guarded

BOARD = Device("a board", ("neon",), 4, 8, "Linux aarch64", (("torch", "2"), ("openvino", "1"), ("onnx", "3")))


def session(machine: Any) -> Any:
    return SimpleNamespace(elsewhere=machine)


def test_a_call_runs_where_its_session_was_opened_and_everything_else_here() -> None:
    there = SimpleNamespace(device=BOARD, address="device://a:1")
    for thing in (session(there), partial(session(there).__eq__, 1), Guarded(session(there))):
        found = thing if not isinstance(thing, partial) else SimpleNamespace(func=session(there))
        assert machine_of(found) is there and device_of(found) is BOARD
    for thing in (None, print, partial(print, 1), Guarded(session(None))):
        assert machine_of(thing) is None and device_of(thing) == fingerprint()


def test_calls_on_several_machines_are_not_compared() -> None:
    a, b = SimpleNamespace(address="device://a:1"), SimpleNamespace(address="device://b:1")
    assert (
        shared_machine([session(a), session(a)]) is a and shared_machine([print]) is None and shared_machine([]) is None
    )
    with pytest.raises(TargetError, match=r"device://a:1, device://b:1"):
        shared_machine([session(a), session(b)])
    with pytest.raises(TargetError, match=r"device://a:1, this machine"):
        shared_machine([session(a), print])


def test_a_study_finds_processor_and_runtimes_again_and_nothing_of_this_machine() -> None:
    assert machine_facts(session(None)) == {}
    assert machine_facts(session(SimpleNamespace(device=BOARD))) == {
        "device cpu": "a board", "device flags": "neon", "device cores": "4", "device system": "Linux aarch64",
        "device openvino": "1",
    }  # fmt: skip


def test_differences_are_told_by_name_and_memory_is_none() -> None:
    assert differences(BOARD, replace(BOARD, memory_gib=4)) == []
    other = replace(BOARD, cores=2, versions=(("torch", "2"), ("onnx", "3"), ("onnxruntime", "5")))
    assert differences(BOARD, other) == [
        "cores was 4, now 2", "openvino was '1', now None", "onnxruntime was None, now '5'",
    ]  # fmt: skip
    assert Device.of(BOARD.to_dict()) == BOARD
