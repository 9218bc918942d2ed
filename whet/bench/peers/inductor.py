"""A torch module of a peer's making becomes an inductor file that the judge can open."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from whet.bench.peers.work import Work
from whet.core.errors import WhetError
from whet.hardware.inductor import KEY

TOLERANCE = 0.05
"""How far a file's outputs may be from the module's, as a share of the largest."""
UNFROZEN = "not frozen: on this torch the frozen file computes something else"


def compiled(work: Work, name: str, module: nn.Module, example: tuple[Tensor, ...]) -> tuple[Path, str]:
    """Compile `module`, a plain or an exported one, with a dynamic batch; return the package's path and a note.

    The batch is dimension 0 of all shapes. Weights are frozen into the code, without which the x86 integer
    kernels are not chosen, unless the frozen file computes something else than the module does.
    Raises: WhetError where neither file computes what the module does.
    """
    path = work.place(name, ".pt2")
    batch = ({0: torch.export.Dim.DYNAMIC},) * len(example)
    about = {"precision": "f32", "inputs": [[list(x.shape[1:]), str(x.dtype).removeprefix("torch.")] for x in example]}
    with torch.no_grad():
        program = torch.export.export(module, example, dynamic_shapes=batch)
        for freezing in (True, False):
            options = {
                "cpp.dynamic_threads": True,
                "freezing": freezing,
                "aot_inductor.metadata": {KEY: json.dumps(about)},
            }
            torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=options)
            if _agrees(path, module, example):
                return path, "" if freezing else UNFROZEN
    raise WhetError(f"inductor's file of '{name}' computes something else than the module.")


def _agrees(path: Path, module: nn.Module, example: tuple[Tensor, ...]) -> bool:
    expected, found = module(*example), torch._inductor.aoti_load_package(str(path))(*example)
    return bool((found - expected).abs().max() <= TOLERANCE * expected.abs().max())
