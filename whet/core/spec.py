"""What a `Net` is, rule by rule; `check` runs between passes in tests and under `WHET_CHECK=1`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from whet.core.errors import SpecError
from whet.core.net import Net

OPERATIONS = ("placeholder", "get_attr", "call_module", "call_function", "output")


def _operations(net: Net) -> Iterator[str]:
    for node in net.graph.nodes:
        if node.op not in OPERATIONS:
            yield f"node '{node.name}' is a {node.op}"


def _inputs(net: Net) -> Iterator[str]:
    count = sum(node.op == "placeholder" for node in net.graph.nodes)
    if count != len(net.example):
        yield f"there are {count} inputs but {len(net.example)} examples"
    for position, value in enumerate(net.example):
        if value.dim() == 0 or value.shape[0] < 2:
            yield f"example {position} has shape {tuple(value.shape)}"


def _outputs(net: Net) -> Iterator[str]:
    ends = sum(node.op == "output" for node in net.graph.nodes)
    if ends != 1 or not net.output_nodes:
        yield f"the graph ends {ends} times, in {len(net.output_nodes)} tensors"


def _ports(net: Net) -> Iterator[str]:
    for kind, ports, count in (("in", net.inputs, len(net.example)), ("out", net.outputs, len(net.output_nodes))):
        if len(ports) != count:
            yield f"there are {count} {kind}puts but {len(ports)} names"
        names = [port.name for port in ports]
        if len(set(names)) != len(names):
            yield f"two of the {kind}puts have one name: {', '.join(names)}"


def _layers(net: Net) -> Iterator[str]:
    for node in net.graph.nodes:
        if node.op == "call_module" and not isinstance(_at(net, str(node.target)), nn.Module):
            yield f"node '{node.name}' calls '{node.target}', which is no layer"


def _tensors(net: Net) -> Iterator[str]:
    for node in net.graph.nodes:
        if node.op == "get_attr" and not isinstance(_at(net, str(node.target)), Tensor):
            yield f"node '{node.name}' reads '{node.target}', which is no tensor"


def _no_dead_layers(net: Net) -> Iterator[str]:
    called = {str(node.target) for node in net.graph.nodes if node.op in ("call_module", "get_attr")}
    for name, _ in net.module.named_parameters(remove_duplicate=False):
        owner = name.rpartition(".")[0]
        if name not in called and owner not in called:
            yield f"parameter '{name}' is read by no node"


def _batch(net: Net) -> Iterator[str]:
    with net.evaluating(), torch.no_grad():
        for batch in (1, 3):
            found = net.results(net(*(torch.cat([x, x])[:batch] for x in net.example)))
            for port, out in zip(net.outputs, found, strict=True):
                if out.dim() == 0 or out.shape[0] != batch:
                    yield f"a batch of {batch} gives {tuple(out.shape)} for '{port.name}'"


def _at(net: Net, path: str) -> object:
    value: object = net.module
    for part in path.split("."):
        value = getattr(value, part, None)
    return value


RULES: tuple[tuple[str, Callable[[Net], Iterator[str]]], ...] = (
    ("nodes are inputs, tensors, layers, ATen operations or the output", _operations),
    ("each input has an example whose dimension 0, the batch, is at least two", _inputs),
    ("there is one output, a tensor or a tree of tensors", _outputs),
    ("each input and output has a name of its own", _ports),
    ("every layer that is called is there", _layers),
    ("every tensor that is read is there", _tensors),
    ("every parameter is read", _no_dead_layers),
    ("any batch goes through, and comes out in dimension 0", _batch),
)


def check(net: Net) -> Net:
    """Return `net`, or raise `SpecError` with the rule that it breaks and where."""
    for rule, find in RULES:
        for problem in find(net):
            raise SpecError(f"net '{net.name}' breaks the rule that {rule}: {problem}.")
    return net


def check_if_asked(net: Net) -> Net:
    """Check `net` where the environment says `WHET_CHECK=1`."""
    return check(net) if os.environ.get("WHET_CHECK") == "1" else net
