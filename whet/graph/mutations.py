"""Writes in place: a graph that copies tensors instead of changing them, and buffers that a network would keep.

torch.export leaves `y[..., -2:] = 0` as a view and a write into it, of which nobody reads the result: to a plain graph
that is dead code. Torch's own functionalization makes `slice_scatter` and the like of such writes; it is run only where
a write is seen elsewhere than in its own result, and what are layers to whet pass through it untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind

from whet.core.errors import LiftError
from whet.graph.layers import GETITEM, LAYERS

aten = torch.ops.aten
FULL = (0, 9223372036854775807)
KEPT = "whet_kept"
STATE = (OutputKind.BUFFER_MUTATION, OutputKind.PARAMETER_MUTATION)
MAYBE_VIEWS = (aten.dropout.default, aten.feature_dropout.default, aten.alpha_dropout.default)
"""Operations that give back their input itself in eval mode, though their schemas do not say so."""


def functional(program: ExportedProgram) -> tuple[ExportedProgram, tuple[str, ...]]:
    """Return a program without writes that others see, and notes on the state that a file cannot keep.

    Raises: LiftError for a buffer that forward updates and reads, and so carries from call to call.
    """
    graphs = [m.graph for m in program.graph_module.modules() if isinstance(m, fx.GraphModule)]
    if any(_is_seen(node) for graph in graphs for node in graph.nodes):
        _retarget(graphs, lambda target: _kept(target) if target in LAYERS else target)
        program = program.run_decompositions({})
        _retarget([program.graph_module.graph], lambda target: _originals.get(target, target))
        _tidy(program.graph_module.graph)
    return program, tuple(_state(program))


def _is_seen(node: fx.Node) -> bool:
    """Say whether a node writes into a tensor that something else reads, or may read."""
    return any(a.op != "call_function" or len(a.users) > 1 or _is_view(a) for a in _written(node))


def _written(node: fx.Node) -> Iterator[fx.Node]:
    """Yield the arguments that a node changes in place."""
    schema = getattr(node.target, "_schema", None)
    if node.op != "call_function" or schema is None or not schema.is_mutable:
        return
    for position, argument in enumerate(schema.arguments):
        given = node.args[position] if position < len(node.args) else node.kwargs.get(argument.name)
        if argument.alias_info is not None and argument.alias_info.is_write:
            values = given if isinstance(given, list | tuple) else [given]
            yield from (value for value in values if isinstance(value, fx.Node))


def _is_view(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    if schema is None or node.target in MAYBE_VIEWS:
        return node.target in (GETITEM, *MAYBE_VIEWS)
    return any(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns)


def _state(program: ExportedProgram) -> Iterator[str]:
    """Yield a note for each buffer that forward updates in vain; refuse those that reach an output."""
    signature, graph = program.graph_signature, program.graph_module.graph
    results = next(n for n in graph.nodes if n.op == "output").args[0]
    kinds = list(zip(signature.output_specs, results, strict=True))
    read = before([r for s, r in kinds if s.kind == OutputKind.USER_OUTPUT and isinstance(r, fx.Node)])
    names = {str(s.target): str(s.arg.name) for s in signature.input_specs if s.target is not None}
    for spec, _ in kinds:
        target = str(spec.target).removeprefix("net.")
        if spec.kind in STATE and names.get(str(spec.target)) in read:
            raise carried(target)
        if spec.kind in STATE:
            yield f"the buffer '{target}', which forward updates and no output reads, is left out"
        if spec.kind == OutputKind.USER_INPUT_MUTATION:
            yield f"forward changes its input '{target}' in place; the net leaves it as it is"


def carried(target: str) -> LiftError:
    """Return the error for a buffer whose value goes from call to call."""
    return LiftError(
        f"forward updates the buffer '{target}' and its outputs depend on it, so that a call depends on those "
        f"before it; a file keeps nothing from call to call. Give '{target}' as an input and return its new "
        "value as an output."
    )


def before(nodes: Sequence[fx.Node]) -> set[str]:
    """Return the names of all nodes that these depend on, and their own."""
    found: set[str] = set()
    left = list(nodes)
    while left:
        node = left.pop()
        if node.name not in found:
            found.add(node.name)
            left.extend(node.all_input_nodes)
    return found


# -- what passes through untouched ---------------------------------------------------------------------------------

_library = torch.library.Library(KEPT, "DEF")  # type: ignore[no-untyped-call]
_copies: dict[Any, Any] = {}
_originals: dict[Any, Any] = {}


def _kept(target: Any) -> Any:
    """Return an operator of the same schema that functionalization takes for one it cannot decompose."""
    if target not in _copies:
        schema = str(target._schema).removeprefix("aten::")
        name = schema.partition("(")[0].replace(".", "_")
        _library.define(name + "(" + schema.partition("(")[2])  # type: ignore[no-untyped-call]
        _library.impl(name, target, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
        _copies[target] = getattr(getattr(torch.ops, KEPT), name).default
        _originals[_copies[target]] = target
    return _copies[target]


def _retarget(graphs: list[fx.Graph], change: Callable[[Any], Any]) -> None:
    for graph in graphs:
        for node in graph.nodes:
            if node.op == "call_function":
                node.target = change(node.target)


# -- tidying -------------------------------------------------------------------------------------------------------


def _tidy(graph: fx.Graph) -> None:
    """Take out what functionalization adds where a slice takes everything or a copy fits."""
    for node in list(graph.nodes):
        if node.op == "call_function":
            kept = _same_as(node) or _joined(graph, node)
            if kept is not None:
                node.replace_all_uses_with(kept)
    graph.eliminate_dead_code(is_impure_node=lambda n: n.op in ("placeholder", "output"))


def _joined(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    """Write `x[..., start:end] = y` as x before, y and x after, joined: every runtime has that, few have scatters."""
    if node.target not in (aten.slice_scatter.default, aten.select_scatter.default):
        return None
    base, part, *rest = cast("tuple[Any, ...]", node.args)
    single = node.target is aten.select_scatter.default
    axis, start, end, step = [*rest, rest[1] + 1, 1] if single else [*rest, *(0, 0, FULL[1], 1)[len(rest) :]]
    start, end = start or 0, FULL[1] if end is None or (single and end == 0) else end
    if step != 1 or not isinstance(start, int) or not isinstance(end, int) or not isinstance(base, fx.Node):
        return None
    with graph.inserting_before(node):
        if single:
            part = graph.call_function(aten.unsqueeze.default, (part, axis))
        first = graph.call_function(aten.slice.Tensor, (base, axis, 0, start)) if start else None
        last = graph.call_function(aten.slice.Tensor, (base, axis, end, FULL[1])) if end != FULL[1] else None
        joined = graph.call_function(aten.cat.default, ([t for t in (first, part, last) if t is not None], axis))
    for new in (part, first, last, joined):
        if isinstance(new, fx.Node) and new is not node.args[1]:
            new.meta.update(stack_trace=node.meta.get("stack_trace"))
    joined.meta.update(node.meta)
    return joined


def _same_as(node: fx.Node) -> fx.Node | None:
    """Return the node whose value this one only repeats."""
    args = node.args
    if node.target is aten.slice.Tensor and args[2:] in (FULL, ()):
        return args[0] if isinstance(args[0], fx.Node) else None
    if node.target is aten.slice_scatter.default and args[3:] in (FULL, ()):
        return args[1] if isinstance(args[1], fx.Node) else None
    if node.target is aten.copy.default and isinstance(args[0], fx.Node) and isinstance(args[1], fx.Node):
        a, b = args[0].meta.get("val"), args[1].meta.get("val")
        fits = isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and a.shape == b.shape and a.dtype == b.dtype
        return args[1] if fits else None
    if node.target in (aten.select_scatter.default, aten.slice_scatter.default):
        read, base = args[1], args[0]
        opposite = aten.select.int if node.target is aten.select_scatter.default else aten.slice.Tensor
        if isinstance(read, fx.Node) and isinstance(base, fx.Node):
            back = read.target is opposite and read.args[0] is base and read.args[1:] == args[2:]
            return base if back else None
    return None
