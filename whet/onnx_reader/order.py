"""The order of nodes: the standard asks for what is defined before it is read, and some tools write another one."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence

import onnx

from whet.core.errors import LiftError


def in_order(nodes: Sequence[onnx.NodeProto], where: str) -> Sequence[onnx.NodeProto]:
    """Return the nodes of a graph so that each comes after those whose outputs it reads; else as they stand.

    ONNX Runtime's converter to f16 appends its casts, for instance, and runtimes sort.
    Raises: LiftError where nodes wait for each other, naming the first.
    """
    made = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    needs = [{made[name] for name in read_by([node]) if name in made} for node in nodes]
    if all(before < i for i, own in enumerate(needs) for before in own):
        return nodes
    waiting = [len(own) for own in needs]
    readers: list[list[int]] = [[] for _ in nodes]
    for i, own in enumerate(needs):
        for before in own:
            readers[before].append(i)
    ready = [i for i, count in enumerate(waiting) if not count]
    found: list[onnx.NodeProto] = []
    while ready:
        done = heapq.heappop(ready)
        found.append(nodes[done])
        for i in readers[done]:
            waiting[i] -= 1
            if not waiting[i]:
                heapq.heappush(ready, i)
    if len(found) != len(nodes):
        first = nodes[next(i for i, count in enumerate(waiting) if count)]
        raise LiftError(f"{where}: node '{first.name}' ({first.op_type}) needs its own result: the graph has a circle.")
    return found


def read_by(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    """Yield the names that nodes read, those inside of their graphs too."""
    for node in nodes:
        yield from node.input
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from (output.name for output in attribute.g.output)
                yield from read_by(attribute.g.node)
