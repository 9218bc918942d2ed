"""Copying an exported graph into a plain one of named layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind, TensorArgument

from whet.core.errors import LiftError
from whet.core.net import Port, give
from whet.graph.calls import Flat
from whet.graph.layers import ASSERTIONS, GETITEM, LAYERS, bind
from whet.graph.outside import inward, outward, rows_of
from whet.graph.paths import owner_at


class Rebuild:
    """Copies an exported graph node by node into a plain one, making layers of the operations in `LAYERS`."""

    def __init__(self, program: ExportedProgram, original: nn.Module | None, prefix: str = "") -> None:
        self.program, self.original, self.prefix = program, original, prefix
        self.root = nn.Module()
        self.graph = fx.Graph()
        self.state = {self.own_name(k): v for k, v in {**program.state_dict, **program.constants}.items()}
        self.tensors: dict[str, Tensor] = {}
        self.paths: dict[str, str] = {}
        self.copies: dict[int, Tensor] = {}
        self.buffers: dict[str, bool] = {}
        self.calls: dict[str, tuple[Any, ...]] = {}
        self.mapped: dict[fx.Node, Any] = {}
        self._bind_inputs()

    def run(self, inputs: Sequence[Port], outputs: Sequence[Port], result: Flat) -> fx.GraphModule:
        """Return the plain graph of tensors whose ports these are; `result` is an example of what it gives."""
        source = self.program.graph_module
        placeholders = self._place_inputs(inputs)
        self._copy(source, source.graph, self.mapped)
        found = [self._map(node, self.mapped) for node in self.results]
        axes = [port.batch_axis for port in inputs]
        rows = [0 if axis is not None else None for axis in axes]
        for i, port in enumerate(outputs):
            rank = result.tensors[i].dim()
            found[i] = inward(self.graph, found[i], port, rank, lambda: rows_of(self.graph, placeholders, rows))
        if result.spec.is_leaf():
            self.graph.output(found[0])
        else:
            give(self.graph, result.filled(found), result.spec)
        return fx.GraphModule(self.root, self.graph)

    def own_name(self, name: str) -> str:
        """Return a name without the prefix that exporting put before it."""
        return name.removeprefix(self.prefix)

    @property
    def given(self) -> list[fx.Node]:
        """The source's placeholders of tensors that its users give."""
        specs = self.program.graph_signature.input_specs
        names = {str(s.arg.name) for s in specs if s.kind == InputKind.USER_INPUT and _is_tensor(s.arg)}
        return [n for n in self.program.graph_module.graph.nodes if n.op == "placeholder" and n.name in names]

    @property
    def results(self) -> list[fx.Node]:
        """The source's nodes of the tensors that it gives."""
        kinds = [s.kind for s in self.program.graph_signature.output_specs]
        found = next(n for n in self.program.graph_module.graph.nodes if n.op == "output").args[0]
        users = [r for r, k in zip(found, kinds, strict=True) if k == OutputKind.USER_OUTPUT]
        return [r for r in users if isinstance(r, fx.Node) and isinstance(r.meta.get("val"), Tensor)]

    def _place_inputs(self, ports: Sequence[Port]) -> list[fx.Node]:
        """Insert the inputs, batch first, and what the source's graph reads of them: moved tensors, constants."""
        given = self.given
        constants = {s.arg.name: s.arg.value for s in self.program.graph_signature.input_specs if _is_constant(s.arg)}
        nodes = self.program.graph_module.graph.nodes
        self.mapped.update({n: constants[n.name] for n in nodes if n.op == "placeholder" and n.name in constants})
        placeholders = [self._keep_meta(self.graph.placeholder(n.name), n) for n in given]
        for node, old, port in zip(placeholders, given, ports, strict=True):
            value = old.meta["val"]
            self.mapped[old] = outward(self.graph, node, port, value.dim() + (port.batch_axis is None))
            if port.batch_axis != 0:
                node.meta["val"] = value.movedim(port.batch_axis, 0) if port.batch_axis else value.unsqueeze(0)
        return placeholders

    def _bind_inputs(self) -> None:
        """Give each placeholder of a parameter, buffer or constant its tensor and dotted name."""
        for spec in self.program.graph_signature.input_specs:
            if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
                name, path = str(spec.arg.name), self.own_name(str(spec.target))
                self.tensors[name], self.paths[name] = self.state[path], path
                self.buffers[path] = spec.persistent is not False and spec.kind == InputKind.BUFFER

    def _copy(self, owner: fx.GraphModule, graph: fx.Graph, mapped: dict[fx.Node, Any]) -> None:
        for node in graph.nodes:
            if node.op == "call_function" and node.target not in ASSERTIONS:
                mapped[node] = self._call(owner, node, mapped)
            elif node.op == "get_attr":
                value = getattr(owner, str(node.target))
                if isinstance(value, Tensor):
                    self.tensors[node.name], self.paths[node.name] = value, f"constant_{node.target}"

    def _call(self, owner: fx.GraphModule, node: fx.Node, mapped: dict[fx.Node, Any]) -> Any:
        if isinstance(node.target, torch._ops.HigherOrderOperator):
            return self._inline(owner, node, mapped)
        layer = self._layer(node)
        if layer is not None:
            path, row, arguments = layer
            inputs = tuple(self._map(arguments[k], mapped) for k in row.inputs)
            return self._keep_meta(self.graph.call_module(path, inputs), node)
        if node.target is GETITEM and isinstance(node.args[0], fx.Node) and isinstance(mapped.get(node.args[0]), tuple):
            return mapped[node.args[0]][node.args[1]]
        args = fx.map_arg(node.args, lambda n: self._map(n, mapped))
        kwargs = fx.map_arg(node.kwargs, lambda n: self._map(n, mapped))
        assert callable(node.target)
        return self._keep_meta(self.graph.call_function(node.target, args, kwargs), node)

    def _inline(self, owner: fx.GraphModule, node: fx.Node, mapped: dict[fx.Node, Any]) -> Any:
        """Copy the body of a wrapper (no_grad, autocast off) in place of its call."""
        bodies = [a for a in node.args if isinstance(a, fx.Node) and a.op == "get_attr"]
        bodies = [b for b in bodies if isinstance(getattr(owner, str(b.target)), fx.GraphModule)]
        if len(bodies) != 1 or "wrap" not in str(node.target):
            raise LiftError(f"operation '{node.target}' is control flow that depends on data\n{_where(node)}")
        body = getattr(owner, str(bodies[0].target))
        actual = node.args[list(node.args).index(bodies[0]) + 1 :]
        formal = [n for n in body.graph.nodes if n.op == "placeholder"]
        for inside, outside in zip(formal, actual, strict=True):
            mapped[inside] = self._map(outside, mapped)
        self._copy(body, body.graph, mapped)
        results = next(n for n in body.graph.nodes if n.op == "output").args[0]
        return tuple(mapped[r] for r in results) if isinstance(results, tuple | list) else mapped[results]

    def _map(self, value: Any, mapped: dict[fx.Node, Any]) -> Any:
        """Return the new graph's node for an old one; a tensor of the state becomes a `get_attr` node."""
        if not isinstance(value, fx.Node):
            return value
        if value in mapped:
            return mapped[value]
        if value.name not in self.tensors:
            raise LiftError(f"'{value.name}' is neither an input nor a tensor of the network\n{_where(value)}")
        path = self.paths[value.name]
        self._place(path, self._own(self.tensors[value.name]))
        node = self.graph.get_attr(path)
        mapped[value] = self._keep_meta(node, value)
        return node

    # -- layers --

    def _layer(self, node: fx.Node) -> tuple[str, Any, dict[str, Any]] | None:
        """Return the path of the layer that stands for `node`, creating it, or None if it stays an operation."""
        row = LAYERS.get(node.target)
        if row is None:
            return None
        symbolic = bind(node.target, node.args, dict(node.kwargs))
        named = {a: symbolic[a] for a, _ in row.tensors}
        if any(isinstance(v, fx.Node) and v.name not in self.tensors for v in named.values()):
            return None
        known = {v.name: self.tensors[v.name] for v in named.values() if isinstance(v, fx.Node)}
        values = {k: known.get(v.name, v.meta.get("val")) if isinstance(v, fx.Node) else v for k, v in symbolic.items()}
        path = self._path(node, [symbolic[a] for a, _ in row.tensors[:1]])
        if path is not None and any(self._is_another(f"{path}.{at}", values[a]) for a, at in row.tensors):
            return None
        literals = tuple((k, str(v)) for k, v in symbolic.items() if not isinstance(v, fx.Node) and k not in row.inputs)
        call = (node.target, literals, tuple(str(v) for v in named.values()))
        if path is None or self.calls.setdefault(path, call) != call:
            return None
        self._place_layer(path, row, values)
        return path, row, symbolic

    def _is_another(self, path: str, tensor: Tensor | None) -> bool:
        """Say whether the network has another tensor at a path: a layer there would hide it."""
        known = self.state.get(path)
        return known is not None and tensor is not None and known.data_ptr() != tensor.data_ptr()

    def _path(self, node: fx.Node, weight: list[Any]) -> str | None:
        """Return the layer's dotted name: that of the module being called, or of the owner of its weight."""
        stack = node.meta.get("nn_module_stack") or {}
        inner = self.own_name(next(reversed(stack.values()), ("", None))[0] + ".").rstrip(".") if stack else ""
        if not weight or not isinstance(weight[0], fx.Node):
            return inner or None
        owner, _, last = self.paths[weight[0].name].rpartition(".")
        tensor = self.tensors[weight[0].name]
        module = _submodule(self.original, inner)
        if inner and (owner == inner or (module is not None and getattr(module, last, None) is tensor)):
            return inner
        return owner if last == "weight" and owner else None

    def _place_layer(self, path: str, row: Any, values: dict[str, Any]) -> None:
        if _submodule(self.root, path) is not None and type(_submodule(self.root, path)) is not nn.Module:
            return
        layer = row.build(values)
        for argument, attribute in row.tensors:
            tensor = values[argument]
            if tensor is None:
                continue
            own = self._own(tensor)
            if attribute in layer._buffers:
                layer._buffers[attribute] = own
            else:
                setattr(layer, attribute, own if isinstance(own, nn.Parameter) else nn.Parameter(own, False))
        if "num_batches_tracked" in layer._buffers:
            layer._buffers["num_batches_tracked"] = torch.tensor(0)
        self._place(path, layer)

    def _own(self, tensor: Tensor) -> Tensor:
        """Return this net's copy of a tensor of the source, the same one each time: tied tensors stay tied."""
        if id(tensor) not in self.copies:
            copied = tensor.detach().clone()
            trains = isinstance(tensor, nn.Parameter)
            self.copies[id(tensor)] = nn.Parameter(copied, tensor.requires_grad) if trains else copied
        return self.copies[id(tensor)]

    def _place(self, path: str, value: nn.Module | Tensor) -> None:
        owner, last = owner_at(self.root, path)
        if isinstance(value, nn.Module):
            before = owner._modules.get(last)
            for name, child in before._modules.items() if before is not None else ():
                value.add_module(name, child)
            owner.add_module(last, value)
        elif not hasattr(owner, last):
            if isinstance(value, nn.Parameter):
                owner.register_parameter(last, value)
            else:
                owner.register_buffer(last, value, persistent=self.buffers.get(path, True))

    @staticmethod
    def _keep_meta(node: fx.Node, old: fx.Node) -> fx.Node:
        node.meta = {k: old.meta[k] for k in ("val", "stack_trace") if k in old.meta}
        return node


def _submodule(root: nn.Module | None, path: str) -> nn.Module | None:
    try:
        return None if root is None else root.get_submodule(path)
    except AttributeError:
        return None


def _where(node: fx.Node) -> str:
    return str(node.meta.get("stack_trace", "")).strip()


def _is_tensor(argument: Any) -> bool:
    return isinstance(argument, TensorArgument)


def _is_constant(argument: Any) -> bool:
    return isinstance(argument, ConstantArgument)
