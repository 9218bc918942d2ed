"""A torch module of a peer's making becomes an inductor file that the judge can open."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from whet.hardware.inductor import KEY
from whet.peers.work import Work


def compiled(work: Work, name: str, module: nn.Module, example: tuple[Tensor, ...]) -> Path:
    """Compile `module`, a plain or an exported one, with a dynamic batch; return the package's path."""
    path = work.place(name, ".pt2")
    batch = ({0: torch.export.Dim.DYNAMIC},) * len(example)
    about = {"precision": "f32", "inputs": [[list(x.shape[1:]), str(x.dtype).removeprefix("torch.")] for x in example]}
    options = {
        "cpp.dynamic_threads": True,
        "freezing": True,  # without it the x86 integer kernels are not chosen
        "aot_inductor.metadata": {KEY: json.dumps(about)},
    }
    with torch.no_grad():
        program = torch.export.export(module, example, dynamic_shapes=batch)
        torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=options)
    return path
