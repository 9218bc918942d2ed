"""From a protobuf to plain steps: attributes as Python values, local functions inlined, every name unique."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from itertools import zip_longest
from typing import Any

import numpy as np
import onnx
from onnx import defs

from whet.core.errors import LiftError
from whet.onnx_reader.load import array_of, sparse_array_of
from whet.onnx_reader.order import in_order
from whet.onnx_reader.values import Array, NotRead, Value

OLDEST, NEWEST = 7, 28
"""The operator sets that are read."""

DOMAINS = {"": "", "ai.onnx": "", "com.microsoft": "com.microsoft."}
"""Domains that are read, and what stands before their operators' names here."""

SAME_IN_ALL = ("QuantizeLinear", "DequantizeLinear")
"""Operators that both domains have, and that do the same in both."""

MOST_NODES = 200_000
MOST_DEPTH = 40
MOST_COMPARED = 2000
SCOPES = "pkg.torch.onnx.name_scopes"
KIND = "pkg.torch.export.graph_signature.InputSpec.kind"
"""Notes that torch's exporter leaves: the module that a node came from, and whether a tensor was a buffer."""

Attribute = onnx.AttributeProto


@dataclass
class Step:
    """One operator: names of values in and out (empty where absent), attributes, and graphs that it runs itself."""

    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = NEWEST
    bodies: dict[str, Body] = field(default_factory=dict)
    scope: str = ""
    layer: str = ""

    @property
    def where(self) -> str:
        """What errors call the step: its name and its operator."""
        return f"node '{self.name}' ({self.op})"

    def read_names(self) -> set[str]:
        """Return the names that the step reads, those that its inner graphs take from outside among them."""
        names = {name for name in self.inputs if name}
        for body in self.bodies.values():
            names |= body.outer_names()
        return names


@dataclass
class Body:
    """A graph: names of its inputs and outputs, and its steps in order."""

    inputs: list[str]
    outputs: list[str]
    steps: list[Step]

    def outer_names(self) -> set[str]:
        """Return the names that it reads and does not define."""
        known, found = set(self.inputs), set[str]()
        for step in self.steps:
            found |= step.read_names() - known
            known |= set(step.outputs)
        return found | (set(self.outputs) - known)


@dataclass(frozen=True)
class Port:
    """An input of the network: its dimensions are sizes, names or None; `code` is 0 where it is no plain tensor."""

    name: str
    code: int
    dims: tuple[int | str | None, ...] | None


@dataclass
class Graph:
    """A network as steps and constants.

    `ranks` are the numbers of dimensions that the file states, `initializers` the constants that are no nodes, and
    `buffers` those of which it says that nobody trains them.
    """

    body: Body
    constants: dict[str, Value]
    ports: list[Port]
    ranks: dict[str, int] = field(default_factory=dict)
    buffers: set[str] = field(default_factory=set)
    initializers: set[str] = field(default_factory=set)


def read_graph(model: onnx.ModelProto, weights: Mapping[str, Array], where: str) -> Graph:
    """Return the model's graph; `weights` are its initializers, of any shapes.

    Raises: LiftError for graphs that no standard allows; NotRead for operator sets and domains that are not read.
    """
    versions = _versions(model.opset_import)
    if "" not in versions:
        raise LiftError(f"{where} is damaged: it states no version of the standard's operators.")
    if not 1 <= versions[""] <= NEWEST:
        raise NotRead(f"{where} uses operator set {versions['']}; {OLDEST} to {NEWEST} are read.")
    reader = _Reader(model.functions, where)
    body = reader.graph(model.graph, {}, versions, {}, weights)
    known = {*weights, *(s.values.name for s in model.graph.sparse_initializer)}
    ports = ports_of(model, known)
    infos = [*model.graph.input, *model.graph.value_info, *model.graph.output]
    ranks = {i.name: len(i.type.tensor_type.shape.dim) for i in infos if i.type.tensor_type.HasField("shape")}
    buffers = {i.name for i in infos if "BUFFER" in _note(i.metadata_props, KIND)}
    return Graph(body, reader.constants, ports, ranks, buffers, known)


def ports_of(model: onnx.ModelProto, known: Container[str]) -> list[Port]:
    """Return the inputs of a model that are not `known`: files of old list their weights among them."""
    return [_port(info) for info in model.graph.input if info.name not in known]


def _versions(imports: Iterable[Any]) -> dict[str, int]:
    return {"" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in imports}


def _note(entries: Iterable[Any], key: str) -> str:
    return next((str(entry.value) for entry in entries if entry.key == key), "")


def _port(info: Any) -> Port:
    kind = info.type.tensor_type
    if info.type.WhichOneof("value") != "tensor_type":
        return Port(info.name, 0, None)
    if not kind.HasField("shape"):
        return Port(info.name, kind.elem_type, None)
    dims: list[int | str | None] = []
    for dim in kind.shape.dim:
        known = dim.WhichOneof("value") == "dim_value"
        size = int(dim.dim_value) if known else str(dim.dim_param).strip("?")
        # A question mark or -1, which some converters write, names nothing: two of them may be different sizes.
        dims.append(None if size in ("", -1) else size)
    return Port(info.name, kind.elem_type, tuple(dims))


class _Reader:
    """Reads graphs one inside the other; `scope` maps the names of the file to unique ones."""

    def __init__(self, functions: Iterable[Any], where: str) -> None:
        self.functions = {(f.domain, f.name, f.overload): f for f in functions}
        self.where = where
        self.constants: dict[str, Value] = {}
        self.taken: set[str] = set()
        self.copies: dict[str, int] = {}
        self.count = 0

    def graph(
        self,
        graph: onnx.GraphProto,
        outer: dict[str, str],
        versions: dict[str, int],
        given: dict[str, Any],
        weights: Mapping[str, Array] | None = None,
        depth: int = 0,
    ) -> Body:
        scope, own = dict(outer), set[str]()
        if weights is None:
            weights = {t.name: array_of(t, self.where) for t in graph.initializer}
        sparse = {s.values.name: sparse_array_of(s, self.where) for s in graph.sparse_initializer}
        for name, value in {**weights, **sparse}.items():
            self.constants[self._define(name, scope, own)] = value
        inputs = [self._define(i.name, scope, own) for i in graph.input if i.name not in own]
        steps: list[Step] = []
        for node in in_order(graph.node, self.where):
            steps.extend(self._node(node, scope, own, versions, given, depth))
        outputs = [self._use(o.name, scope, "the graph's outputs") for o in graph.output]
        return Body(inputs, outputs, steps)

    def _define(self, name: str, scope: dict[str, str], own: set[str]) -> str:
        if not name:
            return ""
        if name in own:
            raise LiftError(f"{self.where}: '{name}' is defined twice.")
        unique, count = name, self.copies.get(name, 1)
        while unique in self.taken:
            count += 1
            unique = f"{name}~{count}"
        self.copies[name] = count
        own.add(name)
        self.taken.add(unique)
        scope[name] = unique
        return unique

    def _use(self, name: str, scope: Mapping[str, str], reader: str) -> str:
        if not name:
            return ""
        if name not in scope:
            near = get_close_matches(name, list(scope)[-MOST_COMPARED:], n=1, cutoff=0.6)
            hint = f"; did it mean '{near[0]}'?" if near else ""
            raise LiftError(f"{self.where}: {reader} read '{name}', which nothing before defines{hint}")
        return scope[name]

    def _node(
        self,
        node: onnx.NodeProto,
        scope: dict[str, str],
        own: set[str],
        versions: dict[str, int],
        given: dict[str, Any],
        depth: int,
    ) -> list[Step]:
        self.count += 1
        name = node.name or f"{node.op_type}_{self.count}"
        if self.count > MOST_NODES:
            raise LiftError(f"{self.where} has more than {MOST_NODES} nodes.")
        if depth > MOST_DEPTH:
            raise LiftError(f"{self.where}: node '{name}' lies in more than {MOST_DEPTH} graphs and functions.")
        attributes = [a for a in (_resolved(a, given) for a in node.attribute) if a is not None]
        function = self.functions.get((node.domain, node.op_type, node.overload))
        if function is not None:
            return self._inline(node, function, name, scope, own, attributes, depth)
        version = versions.get("", OLDEST)
        self._check(node, name, version)
        inputs = [self._use(n, scope, f"inputs of node '{name}'") for n in node.input]
        values = {a.name: self._value(a, name) for a in attributes if a.type != Attribute.GRAPH}
        graphs = [a for a in attributes if a.type == Attribute.GRAPH]
        bodies = {a.name: self.graph(a.g, scope, versions, given, None, depth + 1) for a in graphs}
        outputs = [self._define(n, scope, own) for n in node.output]
        if node.op_type == "Constant" and not DOMAINS[node.domain]:
            self.constants[outputs[0]] = _constant(values, f"{self.where}: node '{name}'")
            return []
        op = node.op_type if node.op_type in SAME_IN_ALL else DOMAINS[node.domain] + node.op_type
        scopes = re.findall(r"'([^']*)'", _note(node.metadata_props, SCOPES))
        return [Step(op, name, inputs, outputs, values, version, bodies, scopes[-2] if len(scopes) > 1 else "")]

    def _check(self, node: onnx.NodeProto, name: str, version: int) -> None:
        """Raise `NotRead` for a domain that is not read, or an operator that was another one in an old set."""
        if node.domain not in DOMAINS:
            raise NotRead(
                f"{self.where}: node '{name}' needs operator '{node.op_type}' of domain '{node.domain}'; only "
                "'ai.onnx' and 'com.microsoft' are read, and no library of custom operators is ever loaded."
            )
        if version < OLDEST and not DOMAINS[node.domain] and not _unchanged(node.op_type, version):
            raise NotRead(
                f"{self.where}: node '{name}' ({node.op_type}) changed after operator set {version}; "
                f"{OLDEST} to {NEWEST} are read."
            )
        found = None if DOMAINS[node.domain] else _schema(node.op_type, version)
        odd = [a.name for a in node.attribute if found is not None and a.name not in found[0]]
        if found is not None and odd:
            near = get_close_matches(odd[0], found[0], n=1)
            hint = f"; did it mean '{near[0]}'?" if near else f"; allowed are {', '.join(sorted(found[0])) or 'none'}"
            raise LiftError(f"{self.where}: node '{name}' ({node.op_type}) has an attribute '{odd[0]}'{hint}")
        if found is not None and len(node.input) > found[1]:
            raise LiftError(
                f"{self.where}: node '{name}' ({node.op_type}) has {len(node.input)} inputs; {found[1]} are allowed."
            )

    def _inline(
        self,
        node: onnx.NodeProto,
        function: Any,
        name: str,
        scope: dict[str, str],
        own: set[str],
        attributes: list[Any],
        depth: int,
    ) -> list[Step]:
        """Return the steps of a local function in place of its call."""
        inner: dict[str, str] = {}
        for formal, actual in zip_longest(function.input, node.input, fillvalue=""):
            inner[formal] = self._use(actual, scope, f"inputs of node '{name}'")
        given = {a.name: a for a in [*function.attribute_proto, *attributes]}
        versions, inner_own = _versions(function.opset_import), set(inner)
        steps: list[Step] = []
        for part in in_order(function.node, self.where):
            steps.extend(self._node(part, inner, inner_own, versions, given, depth + 1))
        for formal, actual in zip(function.output, node.output):
            if actual:
                if actual in own:
                    raise LiftError(f"{self.where}: '{actual}' is defined twice.")
                own.add(actual)
                scope[actual] = self._use(formal, inner, f"outputs of function '{function.name}'")
        return steps

    def _value(self, a: Any, name: str) -> Any:
        where = f"{self.where}: node '{name}'"
        if a.type == Attribute.TENSOR:
            return array_of(a.t, where)
        if a.type == Attribute.SPARSE_TENSOR:
            return sparse_array_of(a.sparse_tensor, where)
        if a.type in PLAIN:
            return PLAIN[a.type](a)
        if a.type == Attribute.TYPE_PROTO:
            return None
        raise NotRead(f"{where} has an attribute '{a.name}' of type {a.type}, which is not read.")


PLAIN: dict[int, Any] = {
    Attribute.FLOAT: lambda a: float(a.f),
    Attribute.INT: lambda a: int(a.i),
    Attribute.STRING: lambda a: a.s.decode("utf-8", "replace"),
    Attribute.FLOATS: lambda a: [float(v) for v in a.floats],
    Attribute.INTS: lambda a: [int(v) for v in a.ints],
    Attribute.STRINGS: lambda a: [v.decode("utf-8", "replace") for v in a.strings],
}

CONSTANTS: dict[str, Any] = {
    "value": None,
    "sparse_value": None,
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
    "value_string": np.str_,
    "value_strings": np.str_,
}
"""Attributes that a Constant can have its value in, and its type."""


@cache
def _schema(op: str, version: int) -> tuple[frozenset[str], int, int] | None:
    """Return an operator's attributes, how many inputs it may have, and the set that it came with; None if unknown."""
    if not defs.has(op, version):
        return None
    found = defs.get_schema(op, version)
    return frozenset(found.attributes), int(found.max_input), int(found.since_version)


def _unchanged(op: str, version: int) -> bool:
    """Say whether an operator of an old set is what it is in the oldest that is read."""
    found = _schema(op, OLDEST)
    return found is not None and found[2] <= version


def _resolved(a: Any, given: dict[str, Any]) -> Any:
    """Return an attribute, that of the function's call where it refers to one; None where the call gives none."""
    if not a.ref_attr_name:
        return a
    if a.ref_attr_name not in given:
        return None
    found = onnx.AttributeProto()
    found.CopyFrom(given[a.ref_attr_name])
    found.name = a.name
    return found


def _constant(values: dict[str, Any], where: str) -> Value:
    for name, kind in CONSTANTS.items():
        if name in values:
            return values[name] if kind is None else np.array(values[name], dtype=kind)
    raise LiftError(f"{where} is a Constant without a value; allowed are {', '.join(CONSTANTS)}.")
