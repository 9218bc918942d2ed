"""How delivered files are served: what each takes in a process of its own, and what lies beside it for that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import whet
from whet.core.target import Array, Artifact
from whet.core.task import split
from whet.flow.delivered import Member
from whet.flow.evaluator import Evaluator
from whet.flow.failures import ends_the_run, reason
from whet.hardware import targets
from whet.hardware.device import fingerprint
from whet.hardware.elsewhere import machine_of
from whet.hardware.fresh import CALLS, served_fresh
from whet.hardware.single_calls import single_calls
from whet.hardware.targets import inputs_of
from whet.verdict.also import write_also
from whet.verdict.serve_files import Call, write_sample, write_serving
from whet.verify.manifest import number

T = TypeVar("T")
CALLS_SECONDS, LEAST_CALLS = 0.3, 20
"""How long single calls of a delivered file are timed, and how many at least."""
SAMPLE_CALLS, SAMPLE_BYTES = 4, 2**18
"""How many calls are kept beside a file, and what their inputs may take together; one is kept in any case."""
COLD = "a new process with the runtime and NumPy alone, from opening the file to its first answer, once"


def placed(evaluator: Evaluator, members: list[Member], brief: bool) -> list[Member]:
    """Return the members with the folder that each goes to and, unless `brief`, what serving it takes."""
    found = [replace(m, delivered=str(evaluator.request.out / "front" / str(i))) for i, m in enumerate(members)]
    return found if brief else [measured(evaluator, member) for member in found]


def measured(evaluator: Evaluator, member: Member) -> Member:
    """Return a member with the percentiles of its single calls, its cold start and the memory of a process."""
    artifact, inputs = Artifact(evaluator.request.out / member.path, member.settings), _inputs(evaluator)
    with evaluator.stopwatch("serving"):
        figures = _attempt(evaluator, member, lambda: _figures(evaluator, artifact, inputs))
    if figures is None:
        return member
    return replace(member, serving=figures, memory_bytes=member.memory_bytes or int(figures["memory_bytes"]))


def _figures(evaluator: Evaluator, artifact: Artifact, inputs: dict[str, Array]) -> dict[str, float]:
    session = evaluator.request.target.open(artifact, evaluator.request.batch)
    calls = single_calls(partial(session, *inputs.values()), CALLS_SECONDS, LEAST_CALLS)
    kinds = {name: (array.shape, array.dtype.name) for name, array in inputs.items()}
    fresh = served_fresh(artifact, kinds, CALLS, machine_of(evaluator.request.target))
    return {
        **calls.figures, "cold_start_ms": 1e3 * fresh.cold_start_seconds, "memory_bytes": float(fresh.peak_bytes),
    }  # fmt: skip


def _inputs(evaluator: Evaluator) -> dict[str, Array]:
    """Return the arrays that files are timed with, by the input's name."""
    request = evaluator.request
    arrays = inputs_of(request.net, request.batch)
    return {port.name: array for port, array in zip(request.net.inputs, arrays, strict=True)}


def beside(evaluator: Evaluator, member: Member, folder: Path) -> dict[str, Any]:
    """Write into a member's folder what serves its file, with a few calls of it on validation data.

    Return what its manifest says of the file in other formats, which are written where they were asked for.
    """
    artifact = Artifact(folder / Path(member.path).name, member.settings)
    inputs = _inputs(evaluator)
    _attempt(evaluator, member, lambda: write_serving(folder, artifact, inputs, evaluator.request.batch))
    _attempt(evaluator, member, lambda: write_sample(folder, _sample(evaluator, artifact, inputs)))
    if not evaluator.request.also:
        return {}
    target = targets.get("cpu")  # here, where the files are written, whatever they are for
    also = _attempt(evaluator, member, lambda: write_also(folder, artifact, evaluator.request.also, target))
    return {"also": also or {}}


def _sample(evaluator: Evaluator, artifact: Artifact, like: dict[str, Array]) -> list[Call]:
    """Return calls of a file on the first validation samples; on the example where those have other shapes."""
    net, batch = evaluator.request.net, evaluator.request.batch
    given = split(next(iter(evaluator.request.task.val)))[0]
    session, calls, taken = evaluator.request.target.open(artifact, batch), list[Call](), 0
    for start in range(0, batch * SAMPLE_CALLS, batch):
        rows = [x[start : start + batch] for x in given]
        some = zip(net.inputs, rows, strict=True) if len(rows[0]) else ()
        arrays: list[Array] = [port.outside(x).contiguous().numpy() for port, x in some]
        fits = [a.shape for a in arrays] == [a.shape for a in like.values()]
        inputs = dict(zip(like, arrays, strict=True)) if fits else like
        taken += sum(array.nbytes for array in inputs.values())
        if calls and (taken > SAMPLE_BYTES or not fits):
            break
        found = session(*inputs.values())
        calls.append((inputs, found if isinstance(found, tuple) else (found,)))
    return calls


def _attempt(evaluator: Evaluator, member: Member, do: Callable[[], T]) -> T | None:
    """Return what is done for a member, or None with a note where it fails: its file is delivered all the same."""
    try:
        return do()
    except Exception as error:
        if ends_the_run(error):
            raise
        evaluator.recorder.note(f"{member.delivered} lacks what serves it: {reason(error)}")
        return None


def figures(evaluator: Evaluator, member: Member) -> dict[str, Any]:
    """Return what a manifest says of serving a file: each figure with unit, protocol and device."""
    if not member.serving:
        return {}
    device, batch = evaluator.recorder.device.id, evaluator.request.batch
    how = f"{member.serving['calls']:.0f} single calls, one after the other"
    found = {
        name: number(member.serving[name], f"ms, batch {batch}", how, device) for name in ("p50_ms", "p95_ms", "p99_ms")
    }
    return found | {"cold_start_ms": number(member.serving["cold_start_ms"], "ms", COLD, device)}


def made(evaluator: Evaluator) -> dict[str, Any]:
    """Return by what, when and within which limits files were made."""
    request = evaluator.request
    return {
        "whet": whet.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": request.seed,
        "max_drop": None if request.limit is None else str(request.limit),
        "command": request.command,
        **machines(evaluator),
    }


def machines(evaluator: Evaluator) -> dict[str, Any]:
    """Return which machine timed and scored the files, and which one trained them, where that was another."""
    machine = machine_of(evaluator.request.target)
    if machine is None:
        return {}
    there = f"{machine.device.describe()}, at {machine.address}"
    return {"machines": {"timed": there, "scored": there, "trained": fingerprint().describe()}}


def shared(evaluator: Evaluator, original: Member, reference_test: float | None) -> dict[str, Any]:
    """Return what the manifests of all files say: how they were made, the uncompressed network, inputs and outputs.

    The uncompressed network's latency is of the last race, as the files' are, its quality what theirs is held against.
    """
    metric = evaluator.request.task.metric_name
    whole = {
        f"{metric}_val": evaluator.baseline.reference,
        f"{metric}_test": reference_test,
        "latency_ms": original.latency_ms,
        "setting": original.setting,
        "size_bytes": original.size_bytes,
    }
    return {"made": made(evaluator), "original": whole, **ports(evaluator)}


def ports(evaluator: Evaluator) -> dict[str, Any]:
    """Return names, shapes and types of inputs, and names of outputs, with the axis along which samples lie."""
    net, arrays = evaluator.request.net, _inputs(evaluator)
    return {
        "inputs": [
            {"name": p.name, "shape": list(a.shape), "dtype": a.dtype.name, "batch_axis": p.batch_axis}
            for p, a in zip(net.inputs, arrays.values(), strict=True)
        ],
        "outputs": [{"name": p.name, "batch_axis": p.batch_axis, "folded": p.folded} for p in net.outputs],
    }
