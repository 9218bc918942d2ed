"""Names: what the file calls a layer or a tensor, as a dotted path that Python can spell."""

from __future__ import annotations

import keyword
import re

from torch import Tensor, nn

from whet.graph.paths import owner_at
from whet.onnx_reader.graph import Step

ENDINGS = (
    "weights", "weight", "kernel", "gamma", "scale", "bias", "beta", "W", "R", "B", "w", "b", "weight_ih_l0",
    "embeddings", "embedding_table", "MatMul", "Conv2D", "Gather", "BiasAdd",
)  # fmt: skip
"""Last parts of the names of tensors that say what the tensor is to its layer, not which layer it is."""

STORED = re.compile(
    r"(\.float|\.flat|_quantized|_dequantized|_DequantizeLinear(_Output)?|_QuantizeLinear(_(In|Out)put)?|_Q4|_Q8"
    r"|_merged_\d+|_transposed|_DQ_Q4|:0|/read)+$"
)
"""What quantisers and converters add to a tensor's name."""

GENERATED = re.compile(
    r"onnx::\w+|\d+|_?(val|t|p|const|constant|Constant|tensor|arg|param|_tensor_constant|input)_?\d+(_\d+)?"
    r"|const_fold_opt__\d+|\w+__\d+|_?[0-9a-f]{16,}|initializer_?\d*",
)
"""Names that a converter made up."""


def dotted(name: str) -> str:
    """Return a name of the file as a dotted path: `/layer1/layer1.0/conv1` is `layer1.0.conv1`.

    >>> dotted("/layer1/layer1.0/conv1"), dotted("model/dense 1/MatMul:0"), dotted("lambda")
    ('layer1.0.conv1', 'model.dense_1.MatMul_0', 'lambda_')
    """
    found: list[str] = []
    for part in re.split(r"/|::", name):
        pieces = [re.sub(r"\W", "_", piece) for piece in part.split(".") if piece]
        # Torch writes the path of a list's member out in full after the list.
        if found and len(pieces) > 1 and pieces[: len(found)] == found[: len(pieces)] and len(pieces) > len(found):
            found = pieces
        elif found and len(pieces) > 1 and pieces[0] == found[-1]:
            found.extend(pieces[1:])
        else:
            found.extend(pieces)
    return ".".join(f"{part}_" if keyword.iskeyword(part) else part for part in found)


def stem(name: str) -> str:
    """Return the path of the layer that a tensor belongs to, empty where its name does not tell.

    >>> stem("layer1.0.conv1.weight"), stem("fc.weight_quantized"), stem("onnx::MatMul_12"), stem("coefficient")
    ('layer1.0.conv1', 'fc', '', '')
    """
    plain = STORED.sub("", name)
    if not plain or GENERATED.fullmatch(plain):
        return ""
    parts = dotted(plain).split(".")
    if parts[-1] == "ReadVariableOp":
        parts.pop()
    if parts and parts[-1] in ENDINGS:
        parts.pop()
    kept = ".".join(parts)
    for ending in ("_weight", "_bias", "_kernel", "_W", "_B"):
        if kept == dotted(plain) and kept.endswith(ending):
            return kept.removesuffix(ending)
    return kept if kept != dotted(plain) else ""


def layer_names(step: Step, own: list[str], shared: list[str]) -> list[str]:
    """Return paths for a step's layer, best first.

    They come from the names of its `own` tensors, the exporter's notes, the node's folder, the tensors that it shares
    with other layers, and the node's name.
    """
    folder, _, last = step.name.rpartition("/")
    found = [*map(stem, own), dotted(step.scope), dotted(folder), *map(stem, shared), dotted(last), step.op.lower()]
    return [name for name in found if name]


class Places:
    """Gives every layer and tensor of a module its own place; nothing else may be there or stand in the way."""

    def __init__(self, root: nn.Module) -> None:
        self.root = root

    def free(self, path: str) -> str:
        """Return `path`, with underscores where a part of it is taken by something else."""
        *parents, last = (path or "tensor").split(".")
        module, found = self.root, list[str]()
        for part in parents:
            while part not in module._modules and hasattr(module, part):
                part += "_"
            found.append(part)
            module = module._modules.get(part) or EMPTY
        while hasattr(module, last):
            last += "_"
        return ".".join([*found, last])

    def holds(self, path: str) -> bool:
        """Say whether a layer or a tensor was placed there, or a layer below it."""
        module = self.root
        for part in path.split("."):
            if part in module._parameters or part in module._buffers:
                return True
            inner = module._modules.get(part)
            if inner is None:
                return False
            module = inner
        return True

    def put(self, path: str, value: nn.Module | nn.Parameter | Tensor) -> None:
        """Place a layer, or a parameter or buffer of any shape; missing modules on the way are made."""
        module, last = owner_at(self.root, path)
        if isinstance(value, nn.Module):
            module.add_module(last, value)
        elif isinstance(value, nn.Parameter):
            module.register_parameter(last, value)
        else:
            module.register_buffer(last, value)


EMPTY = nn.Module()
"""What a module has that holds nothing: names that no layer can have."""
