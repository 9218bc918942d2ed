"""`lift`: any exportable network becomes a `Net`."""

from __future__ import annotations

import copy
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from whet.core.errors import LiftError
from whet.core.net import Net, Port
from whet.core.structure import Tree
from whet.graph.calls import Flat, flat_module, inputs_of, outputs_of
from whet.graph.rebuild import Rebuild
from whet.graph.sources import Source, resolve

TOLERANCE = 1e-5


def lift(source: Source, example: Tree = None, *, name: str | None = None, check: bool = True) -> Net:
    """Return `source` as a `Net`, numerically identical to it in eval mode.

    `source` is a module, the path of a `.pt2` or an `.onnx` file, or `FILE.py:FUNCTION`, whose function returns a
    module or `(module, example)`. `example` holds example inputs with the batch in dimension 0 of each: a tensor, a
    tuple or list of positional arguments, or a dictionary of keyword arguments; each may be a tree, None or a number,
    which is then a constant of the net. A batch of one is doubled, because torch.export would take it for a constant;
    an ONNX file whose shapes leave only the batch free needs no example. The net gives all outputs of its source, in
    the same structure; `net.inputs` and `net.outputs` name them. `check` compares with the source at batches of 1, 2
    and 3.

    Raises: LiftError, naming the operation and the line of the source where the network does not export.
    """
    module, example = resolve(source, example)
    if isinstance(module, nn.Module) and module.training:
        module.eval()
        try:
            return lift(module, example, name=name, check=check)
        finally:
            module.train()
    original = module.module() if isinstance(module, ExportedProgram) else _private(module.eval())
    inputs = _inputs(original, example, source)
    file = not isinstance(source, nn.Module) and Path(source).suffix in {".pt2", ".onnx"}
    label = name or (Path(str(source)).stem if file else type(module).__name__.lower())
    result = _run(original, inputs)
    ports = _input_ports(module, inputs), _output_ports(module, result)
    if isinstance(module, ExportedProgram):
        rebuild = Rebuild(module, None)
    else:
        rebuild = Rebuild(_export(module, inputs), module, "net.")
    net = Net(rebuild.run(*ports, result), inputs.tensors, label, *ports).settle().eval()
    if check:
        _compare(net, original, inputs)
    return net


def _inputs(module: nn.Module, example: Tree, source: Source) -> Flat:
    if example is None:
        raise LiftError(f"'{source}' needs example inputs: one tensor per input, the batch in dimension 0.")
    inputs = inputs_of(module, example)
    for name, value in zip(inputs.names, inputs.tensors, strict=True):
        if value.dim() == 0:
            raise LiftError(f"input '{name}' is a scalar; dimension 0 of each input must be the batch.")
    sizes = {v.shape[0] for v in inputs.tensors}
    if len(sizes) != 1:
        raise LiftError(f"all inputs must have the same batch in dimension 0; got {sorted(sizes)}.")
    return inputs.with_tensors([torch.cat([v, v]) if v.shape[0] == 1 else v.detach() for v in inputs.tensors])


def _private(module: nn.Module) -> nn.Module:
    """Return a copy that shares its parameters: what a run keeps (counters, caches) does not reach the source."""
    try:
        return copy.deepcopy(module, {id(p): p for p in module.parameters()})
    except Exception:  # a module may hold what nobody can copy: locks, tensors in the middle of a graph
        return module


@torch.no_grad()
def _run(module: nn.Module, inputs: Flat) -> Flat:
    try:
        return outputs_of(inputs.call(module, inputs.tensors))
    except LiftError:
        raise
    except Exception as error:
        raise LiftError(_why(module, error, "does not run on its example")) from error


def _input_ports(module: Any, inputs: Flat) -> tuple[Port, ...]:
    known = getattr(module, "ports", None)
    return tuple(map(Port, [port.name for port in known] if known else inputs.names))


def _output_ports(module: Any, result: Flat) -> tuple[Port, ...]:
    program = getattr(module, "program", None)
    known = program.body.outputs if program is not None else ()
    return tuple(map(Port, known if len(known) == len(result.names) else result.names))


def _export(module: nn.Module, inputs: Flat) -> ExportedProgram:
    # An ONNX file may leave more free than the batch; what its operators do not leave free is fixed to the example's.
    free: Sequence[Sequence[int]] = getattr(module, "free_axes", [()] * len(inputs.names))
    shapes = tuple({0: Dim.DYNAMIC, **dict.fromkeys(axes, Dim.AUTO)} for axes in free)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(flat_module(module, inputs), inputs.tensors, dynamic_shapes=shapes, strict=False)
    except LiftError:
        raise
    except Exception as error:
        raise LiftError(_why(module, error, "cannot be exported")) from error


def _why(module: nn.Module, error: Exception, what: str) -> str:
    """Say where in the user's code a call stopped, at which operation, and why."""
    frames = traceback.extract_tb(error.__traceback__)
    packages = str(Path(torch.__file__).parent), str(Path(__file__).parent)
    own = [f for f in frames if not f.filename.startswith(packages) and "/contextlib" not in f.filename]
    inside = own[-1] if own else frames[-1]
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return (
        f"{type(module).__name__} {what}: {type(error).__name__}: {reason.strip()}\n"
        f"  at {inside.filename}:{inside.lineno} in {inside.name}: {inside.line}"
    )


# -- checking ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def _compare(net: Net, original: nn.Module, inputs: Flat) -> None:
    """Raise `LiftError` unless each output of net and source agree at batches of 1, 2 and 3."""
    for batch in (1, 2, 3):
        given = tuple(torch.cat([x, x])[:batch] if x.shape[0] < batch else x[:batch] for x in inputs.tensors)
        try:
            expected = outputs_of(inputs.call(original, given))
        except RuntimeError:
            if batch == 2:
                raise
            continue  # a .pt2 file may have been exported for certain batches only
        for port, found, wanted in zip(net.outputs, net.results(net(*given)), expected.tensors, strict=True):
            apart = float((found - wanted).abs().max()) if found.shape == wanted.shape else float("inf")
            scale = max(float(wanted.abs().max()), 1e-12)
            if not apart <= TOLERANCE * scale:
                raise LiftError(
                    f"output '{port.name}' of the lifted network differs from its source's by {apart / scale:.1e} "
                    f"at a batch of {batch}."
                )
