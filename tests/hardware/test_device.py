"""What a device says of itself, against other sources and against made-up machines."""

from __future__ import annotations

import dataclasses
import json
import os

import onnxruntime
import pytest
import torch

from whet.graph.grids import Grid
from whet.hardware import device as module
from whet.hardware.device import FLAGS, Device, fingerprint

HYPERTHREADED = "\n\n".join(
    f"processor\t: {n}\nmodel name\t: Some CPU\nphysical id\t: {n // 4}\ncore id\t\t: {n // 2 % 2}\nflags\t\t: sse avx2"
    for n in range(8)
)


def made_up(**changes: object) -> Device:
    plain = Device("Some CPU", ("avx2",), 4, 16, "Linux x86_64", (("torch", "2.0"),))
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def test_this_device_agrees_with_other_sources() -> None:
    here = fingerprint()
    assert dict(here.versions)["torch"] == torch.__version__
    assert dict(here.versions)["onnxruntime"] == onnxruntime.__version__
    assert 1 <= here.cores <= (os.cpu_count() or 1)
    assert here.cpu
    capability = torch.backends.cpu.get_cpu_capability()
    if capability in ("AVX2", "AVX512"):
        assert ("avx512f" in here.flags) == (capability == "AVX512")
        assert "avx2" in here.flags
    assert set(here.flags) <= set(FLAGS)


def test_the_id_is_stable_and_every_field_counts() -> None:
    assert made_up().id == made_up().id
    changes = {
        "cpu": "Other CPU",
        "flags": ("avx2", "avx512f"),
        "cores": 2,
        "memory_gib": 8,
        "system": "Linux aarch64",
        "versions": (("torch", "2.1"),),
    }
    assert set(changes) == {field.name for field in dataclasses.fields(Device)}
    ids = {made_up().id} | {made_up(**{name: value}).id for name, value in changes.items()}
    assert len(ids) == 1 + len(changes)


def test_plain_data_and_one_line() -> None:
    plain = json.loads(json.dumps(made_up().to_dict()))
    assert plain["versions"] == {"torch": "2.0"} and plain["flags"] == ["avx2"]
    line = made_up(cores=1).describe()
    assert line == "Some CPU, 1 core, avx2, 16 GiB, Linux x86_64, torch 2.0"
    assert "no known vector flags" in made_up(flags=()).describe()


@pytest.mark.parametrize(
    ("usable", "quota", "cores"),
    [
        (range(8), "max 100000\n", 4),
        (range(8), "", 4),
        (range(8), "150000 100000\n", 2),
        (range(8), "50000 100000\n", 1),
        ((0, 1), "max 100000\n", 1),
        ((0, 2, 6), "max 100000\n", 3),
    ],
)
def test_cores_are_physical_usable_and_within_the_quota(
    monkeypatch: pytest.MonkeyPatch, usable: range | tuple[int, ...], quota: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(usable), raising=False)
    records = list(module._records(HYPERTHREADED))
    assert len(records) == 8
    assert module._cores(records, lambda path: quota) == cores


def test_processors_without_core_ids_count_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2}, raising=False)
    records = list(module._records("processor : 0\n\nprocessor : 1\n\nprocessor : 2\n\nHardware : board"))
    assert module._cores(records, lambda path: "") == 3
    assert module._cores([], lambda path: "") == 3


def test_flags_are_asked_for_as_alternatives() -> None:
    device = made_up(flags=("avx2", "amx_bf16"))
    assert device.has_any(("avx512_bf16", "amx_bf16"))
    assert device.has_any(())
    assert not device.has_any(("avx512f",))


@pytest.mark.parametrize(
    ("system", "flags", "bits"),
    [
        ("Linux x86_64", ("avx2",), 7),
        ("Linux x86_64", ("avx2", "avx512f"), 7),
        ("Linux x86_64", ("avx2", "avx512f", "avx512_vnni"), 8),
        ("Linux x86_64", ("avx2", "avx_vnni"), 8),
        ("Linux aarch64", (), 8),
        ("Windows AMD64", (), 7),
    ],
)
def test_weights_have_the_bits_that_sums_are_exact_with(system: str, flags: tuple[str, ...], bits: int) -> None:
    assert made_up(system=system, flags=flags).weight_bits == bits
    most = Grid(bits).most
    assert bits == 8 or 2 * 255 * most < 2**15 <= 2 * 255 * (most + 1 + most), "one bit more does not fit"
