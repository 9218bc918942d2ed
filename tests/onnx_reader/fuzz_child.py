"""Reads mutated ONNX files: `python fuzz_child.py FOLDER SEED COUNT SECONDS`, in a process of its own.

Every file in FOLDER is a seed. A mutation must end in `LiftError`, or in a network that runs; where the standard's
reference evaluates the same mutation, both must agree. Prints one line of JSON: what happened how often, and the first
cases that should not have happened.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator

from whet.bench.peers.harness import peak_memory_mb
from whet.core.errors import LiftError
from whet.onnx_reader import read
from whet.onnx_reader.values import array

MEMORY = 12 << 30
SECONDS = 10
"""What a mutation may take: address space in all, and time each."""


class TooLong(BaseException):
    """A mutation took more than its time."""


def flip(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 1, 2, 5))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def overwrite(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    for i in range(start, min(len(data), start + draw.choice((1, 4, 16)))):
        data[i] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))


def cut(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    del data[start : start + draw.choice((1, 2, 8, 64))]


def repeat(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    piece = data[start : start + draw.choice((1, 4, 32))]
    data[start:start] = piece


def truncate(data: bytearray, draw: random.Random) -> None:
    del data[draw.randrange(len(data)) :]


def number(data: bytearray, draw: random.Random) -> None:
    """Turn a small number into another, as sizes, axes and types are written."""
    small = [i for i, byte in enumerate(data) if byte < 16]
    data[draw.choice(small)] = draw.randrange(40)


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip, flip, overwrite, cut, repeat, truncate, number, number,
)  # fmt: skip


def mutated(data: bytes, draw: random.Random) -> bytes:
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        if found:
            draw.choice(MUTATIONS)(found, draw)
    return bytes(found)


def outcome(path: Path, data: bytes) -> str:
    try:
        module, inputs = read(path)
        with torch.no_grad():
            found = module(*inputs)
    except LiftError as error:
        return "error" if str(path) in str(error) or "node '" in str(error) else f"bad: no place in '{error}'"
    except TooLong:
        return "bad: too long"
    except BaseException as error:
        return f"bad: {type(error).__name__}: {error}"
    first = found[0] if isinstance(found, tuple | list) else found
    return against_reference(data, module, inputs, first)


def against_reference(data: bytes, module: Any, inputs: tuple[torch.Tensor, ...], found: Any) -> str:
    """Say whether the reference agrees, where it runs: quantised networks are read as float ones, and do not."""
    names = [port.name for port in module.ports]
    if not isinstance(found, torch.Tensor):
        return "alone"
    try:
        model = onnx.ModelProto()
        model.ParseFromString(data)
        onnx.checker.check_model(model)
        wanted = ReferenceEvaluator(model).run(None, {n: x.numpy() for n, x in zip(names, inputs)})[0]
        wanted = np.asarray(wanted, dtype=np.float64)
    except BaseException:
        return "alone"
    known = array(found).astype(np.float64)
    if known.shape != np.shape(wanted):
        return f"bad: shape {known.shape} instead of {np.shape(wanted)}"
    # Where numbers overflow, what comes out (infinite or none) depends on the order of sums.
    finite = np.isfinite(wanted)
    scale = np.abs(wanted[finite]).max(initial=1.0)
    close = np.isclose(known[finite], wanted[finite], rtol=1e-3, atol=1e-3 * scale)
    return "same" if close.all() else f"bad: {(~close).sum()} of {close.size} numbers differ"


def alarm(*_: Any) -> None:
    raise TooLong


def main() -> None:
    folder, seed, count, seconds = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, alarm)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    seeds = [path.read_bytes() for path in sorted(folder.glob("*.onnx"))]
    draw, counts, bad = random.Random(seed), Counter[str](), []
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "mutated.onnx"
        for i in range(count):
            data = mutated(draw.choice(seeds), draw)
            path.write_bytes(data)
            signal.alarm(SECONDS)
            result = outcome(path, data)
            signal.alarm(0)
            counts[result.split(":")[0]] += 1
            if result.startswith("bad") and len(bad) < 10:
                bad.append((i, result))
                (folder / f"bad{seed}_{i}.bin").write_bytes(data)
            if time.monotonic() > end:
                break
    print(json.dumps({"counts": counts, "bad": bad, "peak_bytes": peak_memory_mb(os.getpid()) * 2**20}))


if __name__ == "__main__":
    main()
