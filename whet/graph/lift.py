"""`lift`: any exportable network becomes a `Net`."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from whet.core.errors import LiftError
from whet.core.net import Net
from whet.graph.calls import flat_module, inputs_of
from whet.graph.checks import buffers_of, compare, refuse_state, results_are_tensors, unread
from whet.graph.float32 import LOW, Float32, as_float32, foreign
from whet.graph.mutations import functional
from whet.graph.ports import FreeAxes, free_of, input_ports, known_axes, output_ports, program_free
from whet.graph.probe import Axes, Probe, RowsError, Source, asked, probe, suggestion
from whet.graph.rebuild import Rebuild
from whet.graph.sources import FILES, Given, copied, evaluating, inner, resolve
from whet.support.structure import Tree


def lift(
    source: Given,
    example: Tree = None,
    *,
    batch_axis: Any = None,
    free_axes: FreeAxes | None = None,
    name: str | None = None,
    check: bool = True,
) -> Net:
    """Return `source` as a `Net`, numerically identical to it in eval mode.

    `source` is a module, the path of a `.pt2`, `.onnx`, `.tflite` or `.xml` file, a folder in Hugging Face's layout, or
    `FILE.py:FUNCTION`, whose function returns a module or `(module, example)`. `example` holds example inputs: a
    tensor, a tuple or list of positional arguments, or a dictionary of keyword arguments; each may be a tree, None or a
    number, which is then a constant of the net. An ONNX file whose shapes leave only the batch free needs none.

    `batch_axis` says where the batch lies: a number, one for each input (a sequence, or a dictionary by names), None
    for an input without batch, or a pair of those of the inputs and those of the outputs. By default it is dimension 0,
    none of a scalar, and where an ONNX file has it; that of the outputs is found by running. `free_axes` names lengths
    that are left open: `{"input_ids": {1: "sequence"}}`. The net gives all outputs of its source, in the same
    structure; `net.inputs` and `net.outputs` name them and say how they lie outside, `net.notes` what had to be done:
    wrappers taken off, half and double precision turned into float32, parameters that no output depends on.

    `check` compares every output with the source's at batches of 1, 2 and 3, and makes sure that rows are independent.

    Raises: LiftError, naming the operation and the line of the source where the network does not export, the output
    that differs, the buffer that carries a state, or the axis where the batch seems to lie.
    """
    module, example = resolve(source, example)
    if example is None:
        raise LiftError(f"'{source}' needs example inputs: one tensor per input, the batch in dimension 0.")
    if isinstance(module, ExportedProgram):
        program: ExportedProgram | None = module
        module = module.module()
        program = None if foreign(module) else program
    else:
        program = None
    file = not isinstance(source, nn.Module) and (Path(source).suffix in FILES or Path(source).is_dir())
    label = name or (Path(str(source)).stem if file else type(inner(module)).__name__.lower())
    with evaluating(module) if not isinstance(module, torch.fx.GraphModule) else nullcontext():
        return _Lift(module, program, example, batch_axis, free_axes, check).net(label)


class _Lift:
    """One lift: the source as it is exported, its example, and the notes that come up."""

    def __init__(
        self,
        module: nn.Module,
        program: ExportedProgram | None,
        example: Tree,
        batch_axis: Any,
        free_axes: FreeAxes | None,
        check: bool,
    ) -> None:
        self.program, self.check, self.free_axes, self.batch_axis = program, check, free_axes, batch_axis
        others = foreign(module)
        self.mode = Float32(LOW | others)
        self.notes: tuple[str, ...] = tuple(getattr(module, "notes", ()))
        if inner(module) is not module:
            self.notes += (f"taken out of its {type(module).__name__}",)
        self.module = copied(module, share=not others)
        if others:
            self.module = self.module.float()
            told = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in others))
            self.notes += (f"converted from {told} to float32",)
        inputs = inputs_of(self.module, example)
        self.inputs = inputs.with_tensors([as_float32(t.detach()) for t in inputs.tensors])

    def net(self, name: str) -> Net:
        found, fixed = self._probed()
        axes = found.inputs
        self.inputs = self.inputs.with_tensors(
            [
                torch.cat([v, v], a) if a is not None and v.shape[a] == 1 else v
                for v, a in zip(self.inputs.tensors, axes)
            ]
        )
        free, shapes = free_of(self.module, self.free_axes, self.inputs, axes)
        program, notes = functional(self.program or self._exported(shapes))
        rebuild = Rebuild(program, *((None, "") if self.program else (self.module, "net.")))
        if self.program:
            free, shapes = program_free(free, self.inputs.names, axes, rebuild.given)
        result = found.whole
        refuse_state(rebuild, self.buffers, self.runs)
        results_are_tensors(rebuild.results, len(result.names))
        given = input_ports(self.module, self.inputs, axes, free, shapes, rebuild.given)
        gives = output_ports(self.module, result, found.outputs, given, rebuild.given, rebuild.results)
        graph = rebuild.run(given, gives, result)
        rows = next(v.shape[a] for v, a in zip(self.inputs.tensors, axes) if a is not None)
        example = tuple(p.inside(v, rows).contiguous() for p, v in zip(given, self.inputs.tensors, strict=True))
        net = Net(graph, example, name, given, gives).settle().eval()
        if self.check:
            compare(net, found, fixed)
        net.notes = (*self.notes, *self.mode.notes(), *notes, *unread(rebuild, net))
        return net

    def _probed(self) -> tuple[Probe, int | None]:
        """Return runs of the source on a few rows, in a copy of their own: a run may leave something in a module."""
        runs = copied(self.module)
        source, self.runs, self.buffers = Source(runs, self.inputs, self.mode), runs, buffers_of(runs)
        try:
            source(self.inputs.tensors)
        except LiftError:
            raise
        except Exception as error:
            raise LiftError(_why(self.module, error, "does not run on its example")) from error
        known = known_axes(self.module, self.inputs)
        tried = known
        try:
            tried, outputs = asked(self.batch_axis, self.inputs, known)
            fixed = self._fixed(tried)
            return probe(source, tried, outputs, fixed, self.check), fixed
        except RowsError as error:
            self._refuse_branches(tried)
            where = ", ".join(f"'{n}': {a}" for n, a in zip(self.inputs.names, tried, strict=True))
            raise LiftError(
                f"{type(self.module).__name__}: no batch along the dimensions given ({where}): "
                f"{str(error).rstrip('.')}. {suggestion(source, tried)}"
            ) from error

    def _refuse_branches(self, axes: Axes) -> None:
        """Raise the error of a network that takes another way for other data: no batch axis mends that."""
        try:
            self._exported(free_of(self.module, None, self.inputs, axes)[1])
        except LiftError as error:
            if "DataDependent" in type(error.__cause__).__name__:
                raise

    def _fixed(self, axes: Axes) -> int | None:
        """Return the only batch that a .pt2 file takes, where it was exported for one."""
        if self.program is None:
            return None
        nodes = Rebuild(self.program, None).given
        sizes = [n.meta["val"].shape[a] for n, a in zip(nodes, axes, strict=True) if a is not None]
        return next((size for size in sizes if isinstance(size, int)), None)

    def _exported(self, shapes: Any) -> ExportedProgram:
        flat = flat_module(self.module, self.inputs, self.mode)

        def export() -> ExportedProgram:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return torch.export.export(flat, self.inputs.tensors, dynamic_shapes=shapes, strict=False)

        try:
            try:
                return export()
            except RuntimeError as error:
                if "modified inplace" not in str(error):
                    raise
            with torch.no_grad(), _written_out_attention():  # autograd refuses writes into the parts of a split
                return export()
        except LiftError:
            raise
        except Exception as error:
            raise LiftError(_why(self.module, error, "cannot be exported")) from error


@contextmanager
def _written_out_attention() -> Iterator[None]:
    """Keep torch's transformer layers from becoming one operator, as they do where no gradient is wanted."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _why(module: nn.Module, error: Exception, what: str) -> str:
    """Say where in the user's code a call stopped, at which operation, and why."""
    frames = traceback.extract_tb(error.__traceback__)
    packages = str(Path(torch.__file__).parent), str(Path(__file__).parent)
    own = [f for f in frames if not f.filename.startswith(packages) and "/contextlib" not in f.filename]
    inside = own[-1] if own else frames[-1]
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip()]
    fixed = next((line for line in lines if "specialized it to be a constant" in line), "")
    if fixed:
        return (
            f"{type(module).__name__} {what}: it fixes a length that is to stay open. {fixed.partition('. If')[0]}.\n"
            "  Look for len(x), int(x.shape[0]), loops over rows and tensors of a fixed size; reshape by x.shape[0]."
        )
    reason = lines[0] if lines else type(error).__name__
    return (
        f"{type(module).__name__} {what}: {type(error).__name__}: {reason}\n"
        f"  at {inside.filename}:{inside.lineno} in {inside.name}: {inside.line}"
    )
