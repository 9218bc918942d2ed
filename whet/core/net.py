"""`Net`: a flat graph of named layers and ATen operations."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn


@dataclass
class Net:
    """A network as a flat graph.

    `module` is an `fx.GraphModule` in which convolutions, linear layers, norms, embeddings and dropouts are `nn`
    modules under their original dotted names (`call_module` nodes) and everything else is an ATen operation
    (`call_function` nodes; their parameters and constants are `get_attr` nodes). `example` holds example inputs
    with a batch of at least two in dimension 0 of each; dimension 0 of inputs and outputs is the batch, and
    dynamic. Passes copy a net and never mutate their input.
    """

    module: fx.GraphModule
    example: tuple[Tensor, ...]
    name: str = "net"

    def __call__(self, *inputs: Tensor) -> Any:
        return self.module(*inputs)

    def copy(self) -> Net:
        """Return a deep copy; tied parameters stay tied."""
        return Net(copy.deepcopy(self.module), self.example, self.name)

    def train(self, mode: bool = True) -> Net:
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


def owner_at(root: nn.Module, path: str) -> tuple[nn.Module, str]:
    """Return the module that holds what lies at a dotted path, made where it is missing, and the path's last part.

    >>> root = nn.Module()
    >>> owner, last = owner_at(root, "layer1.conv.weight")
    >>> owner is root.get_submodule("layer1.conv"), last
    (True, 'weight')
    """
    *parents, last = path.split(".")
    owner = root
    for part in parents:
        if part not in owner._modules:
            owner.add_module(part, nn.Module())
        inner = owner._modules[part]
        assert inner is not None
        owner = inner
    return owner, last
