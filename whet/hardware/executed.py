"""What a runtime makes of a file: in which kernel and precision each layer is computed, by its own account."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet.hardware.cpu import read_onnx
from whet.hardware.elsewhere import Elsewhere
from whet.hardware.profile import layers_of, nodes_of_layers

Settings = Mapping[str, Any]
INT8 = "int8"
PRECISION = re.compile(r"_(I8|bf16|f16|f32)$")
"""How OpenVINO ends the name of a kernel: what it computes in."""
COMPUTING = ("Convolution", "Deconvolution", "FullyConnected", "MatMul", "RNNSeq", "RNNCell", "Gather", "Subgraph")
"""OpenVINO's kinds of operations that do a layer's work, those that tell most of it first."""
FLOAT = (
    "Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "MatMulNBits", "Gather",
    "GatherBlockQuantized", "LSTM", "GRU", "RNN", "Attention", "MultiHeadAttention",
)  # fmt: skip
INTEGER = (
    "QLinearConv", "ConvInteger", "QLinearMatMul", "QGemm", "MatMulInteger", "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention",
)  # fmt: skip
"""ONNX Runtime's operators for a layer: those that compute in floats, whatever the weights are stored as, and those
that multiply integers."""


@dataclass(frozen=True)
class Executed:
    """The kernel that computes a layer, as the runtime names it, and what it multiplies: `int8`, `bf16`, `f32`."""

    kernel: str
    precision: str


def executed(
    path: Path, settings: Settings, layers: Collection[str], batch: int = 1, machine: Elsewhere | None = None
) -> dict[str, Executed]:
    """Return what computes each layer of an ONNX file under settings; layers that the runtime folded away are left out.

    OpenVINO tells it of the compiled network, ONNX Runtime by the operators of its optimized graph. Of other runtimes
    nothing is known. The runtime is one of `machine`, where that is given.

    Raises: TargetError where the runtime cannot run the file.
    """
    if machine is not None:
        found = machine.executed(path, settings, list(layers), batch)
        return {site: Executed(kernel, precision) for site, (kernel, precision) in found.items()}
    ways = {"openvino": _by_openvino, "onnxruntime": _by_onnxruntime}
    way = ways.get(settings["runtime"])
    return {} if way is None else way(path, settings, layers, batch)


def meant_as_integers(path: Path, layers: Collection[str]) -> set[str]:
    """Return the layers whose inputs and weights are integers in an ONNX file: a runtime may compute them as such."""
    graph = read_onnx(path).graph
    sites = nodes_of_layers(path, layers)
    constants = {tensor.name for tensor in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    found = set()
    for node in graph.node:
        site = _site(node, sites)
        if site is None:
            continue
        given = [made[name] for name in node.input[:2] if name in made]
        read = [each for each in given if each.op_type == "DequantizeLinear"]
        stored = [each for each in read if each.input[0] in constants]
        if node.op_type in INTEGER or (len(stored) == 1 and len(read) == 2):
            found.add(site)
    return found


def _site(node: Any, sites: Mapping[str, str]) -> str | None:
    return next((sites[name] for name in (node.name, *node.output) if name in sites), None)


def account(
    path: Path, settings: Settings, layers: Collection[str], batch: int = 1, machine: Elsewhere | None = None
) -> tuple[dict[str, int], list[str]]:
    """Return how many layers are computed in each precision, and those that are integers in the file but not there."""
    found = executed(path, settings, layers, batch, machine)
    counts = Counter(one.precision for one in found.values())
    meant = meant_as_integers(path, layers) if found else set()
    return dict(counts), sorted(site for site in meant if site in found and found[site].precision != INT8)


def _by_openvino(path: Path, settings: Settings, layers: Collection[str], batch: int) -> dict[str, Executed]:
    from whet.hardware.openvino import OpenVINO
    from whet.hardware.openvino_profile import note_of, sources_of

    request, _ = OpenVINO().request(path, settings, batch)
    nodes, found, ranks = nodes_of_layers(path, layers), dict[str, Executed](), dict[str, int]()
    for operation in request.get_compiled_model().get_runtime_model().get_ordered_ops():
        kind, kernel = (note_of(operation, key) for key in ("layerType", "primitiveType"))
        precision = PRECISION.search(kernel)
        if kind not in COMPUTING or precision is None:
            continue
        for site in layers_of(sources_of(operation), nodes):
            if COMPUTING.index(kind) < ranks.get(site, len(COMPUTING)):
                ranks[site] = COMPUTING.index(kind)
                found[site] = Executed(kernel, precision[1].replace("I8", INT8))
    return found


def _by_onnxruntime(path: Path, settings: Settings, layers: Collection[str], batch: int) -> dict[str, Executed]:
    from whet.hardware.onnxruntime import OnnxRuntime

    with tempfile.TemporaryDirectory(prefix="whet-") as folder:
        optimized = Path(folder) / path.name
        OnnxRuntime().open(path, settings, batch, optimized=optimized)
        graph, sites = read_onnx(optimized).graph, nodes_of_layers(optimized, layers)
    found: dict[str, Executed] = {}
    for node in graph.node:
        site = _site(node, sites)
        if site is not None and node.op_type in (*FLOAT, *INTEGER):
            found.setdefault(site, Executed(node.op_type, INT8 if node.op_type in INTEGER else "f32"))
    return found
