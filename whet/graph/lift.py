"""`lift`: any exportable network becomes a `Net`."""

from __future__ import annotations

import importlib.util
import traceback
import warnings
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from whet.core.errors import LiftError
from whet.core.net import Net, owner_at
from whet.graph.layers import ASSERTIONS, GETITEM, LAYERS, bind

Source = nn.Module | str | Path
TOLERANCE = 1e-5


def lift(
    source: Source, example: Tensor | Iterable[Tensor] | None = None, *, name: str | None = None, check: bool = True
) -> Net:
    """Return `source` as a `Net`, numerically identical to it in eval mode.

    `source` is a module, the path of a `.pt2` or an `.onnx` file, or `FILE.py:FUNCTION`, whose function returns a
    module or `(module, example)`. `example` holds one tensor per input, the batch in dimension 0; a batch of one is
    doubled, because torch.export would take it for a constant; an ONNX file whose shapes leave only the batch free
    needs none. Of a network with several outputs the first tensor is kept (a transformer's logits or last hidden
    state). `check` compares with the source at batches of 1, 2 and 3.

    Raises: LiftError, naming the operation and the line of the source where the network does not export.
    """
    module, example = _resolve(source, example)
    if isinstance(module, nn.Module) and module.training:
        module.eval()
        try:
            return lift(module, example, name=name, check=check)
        finally:
            module.train()
    inputs = _inputs(example, source)
    file = not isinstance(source, nn.Module) and Path(source).suffix in {".pt2", ".onnx"}
    label = name or (Path(str(source)).stem if file else type(module).__name__.lower())
    if isinstance(module, ExportedProgram):
        program, original = module, None
    else:
        program, original = _export(module.eval(), inputs), module
    net = Net(_Rebuild(program, original).run(), inputs, label).settle().eval()
    if check:
        _compare(net, original if original is not None else program.module(), inputs)
    return net


# -- sources -------------------------------------------------------------------------------------------------------


def _resolve(source: Source, example: Any) -> tuple[nn.Module | ExportedProgram, Any]:
    if isinstance(source, nn.Module):
        return source, example
    if not isinstance(source, str | Path):
        raise LiftError(f"a network is a module, FILE.pt2, FILE.onnx or FILE.py:FUNCTION; got {type(source).__name__}.")
    path, _, function = str(source).partition(".py:")
    if function:
        return _call(Path(path + ".py"), function, example)
    suffix = Path(source).suffix
    readers: dict[str, Callable[[Path, Any], Any]] = {".pt2": _load_program, ".onnx": _read_onnx}
    if suffix in readers:
        if not Path(source).exists():
            raise LiftError(f"network file '{source}' does not exist.")
        loaded: tuple[nn.Module | ExportedProgram, Any] = readers[suffix](Path(source), example)
        return loaded
    if suffix in {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin"}:
        raise LiftError(
            f"'{source}' is a pickle, and nothing is unpickled: it could run any code. Save the network with "
            "torch.export.save to a .pt2 file, or give FILE.py:FUNCTION and load weights from safetensors there."
        )
    raise LiftError(f"'{source}' is no network: give a module, FILE.pt2, FILE.onnx or FILE.py:FUNCTION.")


def _call(path: Path, function: str, example: Any) -> tuple[nn.Module, Any]:
    if not path.exists():
        raise LiftError(f"'{path}' does not exist.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, function, None)):
        defined = ", ".join(n for n in vars(module) if callable(getattr(module, n)) and not n.startswith("_"))
        raise LiftError(f"'{path}' has no function '{function}'; it defines: {defined}.")
    made = getattr(module, function)()
    built, own = made if isinstance(made, tuple) else (made, None)
    if not isinstance(built, nn.Module):
        raise LiftError(f"'{path}:{function}' must return a module or (module, example); got {type(built).__name__}.")
    return built, own if own is not None else example


def _load_program(path: Path, example: Any) -> tuple[ExportedProgram, Any]:
    try:
        program = torch.export.load(str(path))
    except Exception as error:
        raise LiftError(f"'{path}' is truncated or no torch.export file: {str(error).splitlines()[0]}") from error
    if example is None and program.example_inputs is not None:
        example = program.example_inputs[0]
    return program, example


def _read_onnx(path: Path, example: Any) -> tuple[nn.Module, Any]:
    # Imported only here: whoever lifts modules does not wait for onnx.
    found: tuple[nn.Module, Any] = import_module("whet.onnx_reader").read(path, example)
    return found


def _inputs(example: Any, source: Source) -> tuple[Tensor, ...]:
    if example is None:
        raise LiftError(f"'{source}' needs example inputs: one tensor per input, the batch in dimension 0.")
    values = (example,) if isinstance(example, Tensor) else tuple(example)
    for position, value in enumerate(values):
        if not isinstance(value, Tensor):
            raise LiftError(f"input {position} must be a tensor; got {type(value).__name__}.")
        if value.dim() == 0:
            raise LiftError(f"input {position} is a scalar; dimension 0 of each input must be the batch.")
    sizes = {v.shape[0] for v in values}
    if len(sizes) != 1:
        raise LiftError(f"all inputs must have the same batch in dimension 0; got {sorted(sizes)}.")
    return tuple(torch.cat([v, v]) if v.shape[0] == 1 else v.detach() for v in values)


def _export(module: nn.Module, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    # An ONNX file may leave more free than the batch; what its operators do not leave free is fixed to the example's.
    free = getattr(module, "free_axes", [()] * len(inputs))
    shapes = tuple({0: Dim.DYNAMIC, **dict.fromkeys(axes, Dim.AUTO)} for axes in free)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(module, inputs, dynamic_shapes=shapes, strict=False)
    except LiftError:
        raise
    except Exception as error:
        raise LiftError(_why(module, error)) from error


def _why(module: nn.Module, error: Exception) -> str:
    """Say where in the user's code the export stopped, at which operation, and why."""
    frames = traceback.extract_tb(error.__traceback__)
    packages = str(Path(torch.__file__).parent), str(Path(__file__).parent)
    own = [f for f in frames if not f.filename.startswith(packages) and "/contextlib" not in f.filename]
    inside = own[-1] if own else frames[-1]
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return (
        f"{type(module).__name__} cannot be exported: {type(error).__name__}: {reason.strip()}\n"
        f"  at {inside.filename}:{inside.lineno} in {inside.name}: {inside.line}"
    )


# -- rebuilding ----------------------------------------------------------------------------------------------------


class _Rebuild:
    """Copies an exported graph node by node into a plain one, making layers of the operations in `LAYERS`."""

    def __init__(self, program: ExportedProgram, original: nn.Module | None) -> None:
        self.program, self.original = program, original
        self.root = nn.Module()
        self.graph = fx.Graph()
        self.state: dict[str, Any] = {**program.state_dict, **program.constants}
        self.tensors: dict[str, Tensor] = {}
        self.paths: dict[str, str] = {}
        self.copies: dict[int, Tensor] = {}
        self.buffers: dict[str, bool] = {}
        self.calls: dict[str, tuple[Any, ...]] = {}

    def run(self) -> fx.GraphModule:
        source = self.program.graph_module
        mapped: dict[fx.Node, Any] = {}
        self._bind_inputs()
        self._copy(source, source.graph, mapped)
        kinds = [s.kind for s in self.program.graph_signature.output_specs]
        results = next(n for n in source.graph.nodes if n.op == "output").args[0]
        users = [r for r, k in zip(results, kinds, strict=True) if k == OutputKind.USER_OUTPUT]
        tensors = [r for r in users if isinstance(r, fx.Node) and isinstance(r.meta.get("val"), Tensor)]
        if not tensors:
            raise LiftError("the network returns no tensor.")
        self.graph.output(mapped[tensors[0]])
        return fx.GraphModule(self.root, self.graph)

    def _bind_inputs(self) -> None:
        """Give each placeholder of a parameter, buffer or constant its tensor and dotted name."""
        for spec in self.program.graph_signature.input_specs:
            if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
                name, path = str(spec.arg.name), str(spec.target)
                self.tensors[name], self.paths[name] = self.state[path], path
                self.buffers[path] = spec.persistent is not False and spec.kind == InputKind.BUFFER

    def _copy(self, owner: fx.GraphModule, graph: fx.Graph, mapped: dict[fx.Node, Any]) -> None:
        for node in graph.nodes:
            if node.op == "placeholder":
                if node not in mapped and node.name not in self.tensors:
                    mapped[node] = self._keep_meta(self.graph.placeholder(node.name), node)
            elif node.op == "call_function" and node.target not in ASSERTIONS:
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
        inner = next(reversed(stack.values()), ("", None))[0] if stack else ""
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
        node.meta = {k: old.meta[k] for k in ("val", "stack_trace", "nn_module_stack") if k in old.meta}
        return node


def _submodule(root: nn.Module | None, path: str) -> nn.Module | None:
    try:
        return None if root is None else root.get_submodule(path)
    except AttributeError:
        return None


def _where(node: fx.Node) -> str:
    return str(node.meta.get("stack_trace", "")).strip()


# -- checking ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def _compare(net: Net, original: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Raise `LiftError` unless net and source agree at batches of 1, 2 and 3."""
    for batch in (1, 2, 3):
        given = tuple(torch.cat([x, x])[:batch] if x.shape[0] < batch else x[:batch] for x in inputs)
        try:
            expected = first_tensor(original(*given))
        except RuntimeError:
            if batch == 2:
                raise
            continue  # a .pt2 file may have been exported for certain batches only
        found = net(*given)
        error = float((found - expected).abs().max()) if found.shape == expected.shape else float("inf")
        scale = max(float(expected.abs().max()), 1e-12)
        if not error <= TOLERANCE * scale:
            raise LiftError(f"the lifted network differs from its source by {error / scale:.1e} at a batch of {batch}.")


def first_tensor(output: Any) -> Tensor:
    """Return the first tensor in a network's output: itself, or of a tuple or dictionary.

    >>> first_tensor({"logits": torch.ones(1)})
    tensor([1.])
    """
    if isinstance(output, Tensor):
        return output
    values = output.values() if hasattr(output, "values") else output
    for value in values if isinstance(values, Iterable) else ():
        if isinstance(value, Tensor):
            return value
    raise LiftError(f"the network returns no tensor but {type(output).__name__}.")
