"""`Net`: a flat graph of named layers and ATen operations."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.graph import _PyTreeCodeGen, _PyTreeInfo
from torch.utils import _pytree

from whet.support.structure import Tree, items, mapped, tensors


@dataclass(frozen=True)
class Port:
    """An input or output as the network's users and its file know it, where the batch may lie anywhere.

    `name` is the file's. `batch_axis` says where the batch lies outside of the net, None where there is none: a scalar,
    a constant, a mask for all rows. `free` names the other axes, by their place outside, whose length is left open.
    Within a net dimension 0 is always the batch: `lift` puts the moves into the graph, the exporter takes them off.

    A `folded` output has several entries a row in dimension 0, those of a row together: (rows * steps, classes). Within
    a net it is (rows, steps, classes).

    >>> Port("state", batch_axis=1).inside(torch.zeros(2, 5, 128), rows=5).shape
    torch.Size([5, 2, 128])
    """

    name: str
    batch_axis: int | None = 0
    free: tuple[tuple[int, str], ...] = ()
    folded: bool = False

    def inside(self, value: Tensor, rows: int) -> Tensor:
        """Return a tensor with its batch in dimension 0; one without a batch is repeated for each of the `rows`."""
        if self.batch_axis is None:
            return value.unsqueeze(0).expand(rows, *value.shape)
        if self.folded:
            return value.reshape(rows, -1, *value.shape[1:])
        return value.movedim(self.batch_axis, 0)

    def outside(self, value: Tensor) -> Tensor:
        """Return a tensor of the net as the file has it: the reverse of `inside`."""
        if self.folded:
            return value.flatten(0, 1)
        return value[0] if self.batch_axis is None else value.movedim(0, self.batch_axis)

    @property
    def moved(self) -> bool:
        """Say whether a tensor lies otherwise outside than within the net."""
        return self.batch_axis != 0 or self.folded


@dataclass
class Net:
    """A network as a flat graph.

    `module` is an `fx.GraphModule` in which convolutions, linear layers, norms, embeddings and dropouts are `nn`
    modules under their original dotted names (`call_module` nodes) and everything else is an ATen operation
    (`call_function` nodes; their parameters and constants are `get_attr` nodes). `example` holds example inputs, one
    tensor an input, with a batch of at least two in dimension 0 of each; dimension 0 of inputs and outputs is the
    batch, and dynamic. A single output comes back as a tensor, several in the structure that the source gives them
    (tuple, dictionary, dataclass). `inputs` and `outputs` say what each is called and how it lies in the file.
    Passes copy a net and never mutate their input.
    """

    module: fx.GraphModule
    example: tuple[Tensor, ...]
    name: str = "net"
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What `lift` had to do to the source (converted to f32, unwrapped), for the report."""

    def __post_init__(self) -> None:
        placeholders = [n.name for n in self.module.graph.nodes if n.op == "placeholder"]
        self.inputs = self.inputs or tuple(map(Port, placeholders))
        count = len(self.output_nodes)
        self.outputs = self.outputs or tuple(Port(f"output_{i}" if count > 1 else "output") for i in range(count))

    @property
    def output_nodes(self) -> tuple[fx.Node, ...]:
        """The nodes whose tensors the net returns, in the order of `outputs`."""
        return tuple(leaf for _, leaf in items(self._result()) if isinstance(leaf, fx.Node))

    def _result(self) -> Any:
        return next(n for n in self.module.graph.nodes if n.op == "output").args[0]

    def __call__(self, *inputs: Tensor) -> Any:
        return self.module(*inputs)

    def copy(self) -> Net:
        """Return a deep copy; tied parameters stay tied."""
        return replace(self, module=copy.deepcopy(self.module))

    def results(self, outputs: Tree) -> tuple[Tensor, ...]:
        """Return the tensors of what the net gave, in the order of `self.outputs`."""
        return tuple(tensors(outputs))

    def structured(self, values: Sequence[Any]) -> Tree:
        """Return what the net would have given of which `results` are `values`, those of a file for instance.

        Literals among the source's outputs (None, numbers) come back where they were.
        """
        result, left = self._result(), iter(values)
        if isinstance(result, fx.Node):
            return next(left)
        info = getattr(self.graph._codegen, "pytree_info", None)
        if info is None:
            return mapped(lambda leaf: next(left) if isinstance(leaf, fx.Node) else leaf, result)
        leaves = [next(left) if isinstance(leaf, fx.Node) else leaf for leaf in result]
        return _pytree.tree_unflatten(leaves, info.out_spec)

    def train(self, mode: bool = True) -> Net:
        """Set dropouts and norms to train, or with `mode` false to evaluate, and return the net itself."""
        self.module.train(mode)
        return self

    def eval(self) -> Net:
        return self.train(False)

    @property
    def graph(self) -> fx.Graph:
        return self.module.graph

    def layer(self, name: str) -> nn.Module:
        return self.module.get_submodule(name)

    def layers(self) -> dict[str, nn.Module]:
        """Return the layers that the graph calls, by dotted name, in the order of execution."""
        return {str(n.target): self.layer(str(n.target)) for n in self.graph.nodes if n.op == "call_module"}

    @property
    def parameter_count(self) -> int:
        return sum(p.numel() for p in self.module.parameters())

    def forward_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each node's tensor output on the example inputs, by node name.

        It runs in eval mode, whatever the net's: in training a pass would move the statistics of its norms.
        """
        shapes: dict[str, tuple[int, ...]] = {}

        class Recorder(fx.Interpreter):
            def run_node(self, n: fx.Node) -> Any:
                out = super().run_node(n)
                if isinstance(out, Tensor):
                    shapes[n.name] = tuple(out.shape)
                return out

        with self.evaluating(), torch.no_grad():
            Recorder(self.module).run(*self.example)
        return shapes

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Be in eval mode as long as the context lasts; each layer's own mode comes back, after an error too."""
        training = [module for module in self.module.modules() if module.training]
        self.module.eval()
        try:
            yield
        finally:
            for module in training:
                module.training = True

    def settle(self) -> Net:
        """Remove dead nodes and unused layers, recompile; call it after editing the graph."""
        # torch takes attention and other operators with a seed for impure and would keep them for ever.
        self.graph.eliminate_dead_code(is_impure_node=lambda n: n.op in ("placeholder", "output"))
        self.module.delete_all_unused_submodules()
        self.graph.lint()
        self.module.recompile()
        return self


def give(graph: fx.Graph, leaves: Sequence[Any], spec: Any) -> None:
    """End a graph with a tree as its output: `leaves` are nodes and literals, `spec` is what `spec_of` says of it."""
    inputs = [n.name for n in graph.nodes if n.op == "placeholder"]
    given = _pytree.tree_flatten((tuple(inputs), {}))[1]
    graph.output(tuple(leaves))
    graph.set_codegen(_PyTreeCodeGen(_PyTreeInfo(inputs, _copyable(given), _copyable(spec))))


def _copyable(spec: Any) -> Any:
    """Return a tree's description without `LeafSpec`, which warns when it is copied."""
    return _pytree.TreeSpec(spec.type, spec.context, [_copyable(child) for child in spec.children()])
