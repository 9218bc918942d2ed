"""PyTorch's ahead-of-time compiler: some seconds a network, so for delivered files, never inside a search."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from whet.core.errors import ArtifactError, TargetError
from whet.core.net import Net
from whet.graph.file_inputs import BATCH
from whet.graph.outside import unwrap
from whet.hardware.cpu import BoundSession, Results, refusing, require
from whet.hardware.free_axes import example_sizes, free_axes, outside_example
from whet.support.structure import tensors

KEY = "whet"


class _Served(nn.Module):
    """A network's forward pass as it is served: under autocast for bf16, its outputs in f32."""

    def __init__(self, net: Net, precision: str) -> None:
        super().__init__()
        self.net = unwrap(net).eval()
        self.bf16 = precision == "bf16"

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            outputs = tensors(self.net(*inputs))
        return tuple(x.float() if x.is_floating_point() else x for x in outputs)


class Inductor:
    """Saves an AOTInductor package (`.pt2`), which holds machine code for this processor, and loads it.

    The precision is compiled into the file; threads are set around each call. Loading a package runs its
    code, so open only files that you made. Needs a C++ compiler on the machine that saves.
    """

    def save(self, net: Net, folder: Path, settings: Mapping[str, Any]) -> Path:
        """Compile and write `model.PRECISION.pt2`.

        Raises: TargetError for quantised layers, naming the first, and for what does not compile.
        """
        refuse_quantized(net)
        precision = settings["precision"]
        path = folder / f"model.{precision}.pt2"
        unfinished = folder / f".unfinished.{os.getpid()}.pt2"
        inputs = [
            [port.name, str(x.dtype).removeprefix("torch."), example_sizes(port, x)]
            for port, x in zip(net.inputs, net.example, strict=True)
        ]
        about = json.dumps({"precision": precision, "inputs": inputs})
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with refusing(TargetError, f"inductor cannot compile '{net.name}'"), torch.no_grad():
                served, example = _Served(net, precision), outside_example(net)
                program = torch.export.export(served, example, dynamic_shapes=(free_axes(net),), strict=False)
                torch._inductor.aoti_compile_and_package(
                    program,
                    package_path=str(unfinished),
                    # Without dynamic threads the count at compile time would be baked in.
                    inductor_configs={"cpp.dynamic_threads": True, "aot_inductor.metadata": {KEY: about}},
                )
            unfinished.rename(path)
        finally:
            unfinished.unlink(missing_ok=True)
        return path

    def open(
        self, path: Path, settings: Mapping[str, Any], batch: int, shapes: Mapping[str, Sequence[int]] | None = None
    ) -> BoundSession:
        """Load a package for static sizes.

        Raises: ArtifactError for a missing or damaged file, or one compiled for another precision.
        """
        require(path)
        with refusing(ArtifactError, f"'{path}' is truncated or no AOTInductor package"):
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged:
                raise ArtifactError(f"'{path}' is damaged in its member '{damaged}'.")
            model = torch._inductor.aoti_load_package(str(path))
            about = json.loads(model.get_metadata()[KEY])
        if about["precision"] != settings["precision"]:
            made, asked = about["precision"], settings["precision"]
            raise ArtifactError(f"'{path}' was compiled for {made}; its settings ask for {asked}.")
        given = []
        for name, kind, written in about["inputs"]:
            sizes = [batch if size == BATCH else size for size in (shapes or {}).get(name, written)]
            given.append(torch.zeros(sizes, dtype=getattr(torch, kind)))
        threads = settings["threads"]

        def infer() -> Results:
            before = torch.get_num_threads()
            torch.set_num_threads(threads)
            try:
                return [x.numpy() for x in tensors(model(*given))]
            finally:
                torch.set_num_threads(before)

        with refusing(TargetError, f"inductor cannot run '{path}' with inputs of {[list(x.shape) for x in given]}"):
            infer()
        return BoundSession([x.numpy() for x in given], infer)


def refuse_quantized(net: Net) -> None:
    """Raise `TargetError` if a layer is none of torch's own or an operation quantizes."""
    reason = "inductor-cpu runs float layers only; use openvino-cpu or onnxruntime-cpu for int8."
    for name, layer in net.layers().items():
        if not type(layer).__module__.startswith("torch.nn.modules."):
            raise TargetError(f"layer '{name}' is a {type(layer).__name__}: {reason}")
    for node in net.graph.nodes:
        if node.op == "call_function" and "quantize" in str(node.target):
            raise TargetError(f"operation '{node.name}' is {node.target}: {reason}")
