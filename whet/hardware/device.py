"""`Device`: the processor and the software that a number was measured on."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
"""The processor flags that change which precision or channel count is fast."""
EXACT_FLAGS = ("avx512_vnni", "avx_vnni", "amx_int8")
"""Those with which an x86 processor adds products of eight-bit integers in 32 bits."""
RUNTIMES = ("torch", "openvino", "onnxruntime", "onnx")


@dataclass(frozen=True)
class Device:
    """A processor as this process may use it, with the versions of the runtimes.

    `cores` counts physical cores that the process may run on, within its container's quota; `flags` is the
    part of `FLAGS` that the processor has (known on Linux; elsewhere empty, so only f32 is offered).
    """

    cpu: str
    flags: tuple[str, ...]
    cores: int
    memory_gib: int
    system: str
    versions: tuple[tuple[str, str], ...]

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits; two measurements with equal ids may be compared."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]

    def describe(self) -> str:
        """Return one line for reports, e.g. `AMD EPYC, 2 cores, avx2, 23 GiB, Linux x86_64, torch 2.13.0`."""
        cores = f"{self.cores} core{'s' if self.cores != 1 else ''}"
        flags = " ".join(self.flags) or "no known vector flags"
        versions = ", ".join(f"{name} {number}" for name, number in self.versions)
        return f"{self.cpu}, {cores}, {flags}, {self.memory_gib} GiB, {self.system}, {versions}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {**asdict(self), "flags": list(self.flags), "versions": dict(self.versions)}

    @property
    def weight_bits(self) -> int:
        """Bits of the integer weights, times inputs of eight bits, that sums are exact with: 8, or 7.

        x86 without VNNI adds two products in sixteen bits, which 2 x 255 x 127 does not fit: larger sums are cut off
        there without a word. With weights of seven bits 2 x 255 x 63 fits.
        """
        is_x86 = any(name in self.system for name in ("x86", "AMD64"))
        return 7 if is_x86 and not self.has_any(EXACT_FLAGS) else 8

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Device:
        """Return the device that `to_dict` gave; KeyError, TypeError or ValueError for what is none.

        >>> Device.of(fingerprint().to_dict()) == fingerprint()
        True
        """
        words = {name: str(data[name]) for name in ("cpu", "system")}
        counts = {name: int(data[name]) for name in ("cores", "memory_gib")}
        versions = tuple((str(name), str(number)) for name, number in dict(data["versions"]).items())
        return cls(flags=tuple(map(str, data["flags"])), versions=versions, **words, **counts)  # type: ignore[arg-type]

    def has_any(self, flags: tuple[str, ...]) -> bool:
        """Say whether the processor has one of `flags`; asking for none is always met."""
        return not flags or any(flag in self.flags for flag in flags)


@cache
def fingerprint() -> Device:
    """Return the device that this process runs on."""
    records = list(_records(_read("/proc/cpuinfo")))
    first = records[0] if records else {}
    present = set((first.get("flags") or first.get("features") or "").split())
    return Device(
        cpu=first.get("model name") or platform.processor() or platform.machine(),
        flags=tuple(flag for flag in FLAGS if flag in present),
        cores=_cores(records),
        memory_gib=_memory_gib(),
        system=f"{platform.system()} {platform.machine()}",
        versions=tuple((name, number) for name in RUNTIMES if (number := _version(name))),
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _records(cpuinfo: str) -> Iterator[dict[str, str]]:
    """Yield one dictionary a logical processor from the text of /proc/cpuinfo, keys in lower case."""
    for block in cpuinfo.split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines() if ":" in line)
        record = {key.strip().lower(): value.strip() for key, _, value in pairs}
        if "processor" in record:
            yield record


def _cores(records: list[dict[str, str]], read: Callable[[str], str] = _read) -> int:
    """Count the physical cores that the process may use, capped by the cgroup's quota."""
    limited = hasattr(os, "sched_getaffinity")
    usable = os.sched_getaffinity(0) if limited else set(range(os.cpu_count() or 1))
    by_number = {int(record["processor"]): record for record in records}
    physical = set()
    for number in usable:
        record = by_number.get(number, {})
        # Virtual machines and ARM may not name core ids: then every processor counts as a core.
        physical.add((record.get("physical id", ""), record.get("core id", f"processor {number}")))
    quota, _, period = read("/sys/fs/cgroup/cpu.max").strip().partition(" ")
    limit = math.ceil(int(quota) / int(period)) if quota.isdigit() and period.isdigit() else len(physical)
    return max(1, min(len(physical), limit))


def _memory_gib() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30
    except (AttributeError, OSError, ValueError):
        return 0


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
