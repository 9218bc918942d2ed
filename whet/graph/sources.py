"""Where a network comes from: a module, a file, or a function of a Python file."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from whet.core.errors import LiftError
from whet.graph.calls import Arguments
from whet.graph.hugging_face import CONFIG, read_folder

FILES = (".pt2", ".onnx", ".tflite", ".xml")
"""How the names of files of networks end, each of which holds its example or the shapes of one."""
Given = nn.Module | str | Path

WRAPPERS = {
    "OptimizedModule": "_orig_mod",
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "AveragedModel": "module",
}
"""Torch's own wrappers around a module, and where each holds it."""


def resolve(source: Given, example: Any) -> tuple[nn.Module | ExportedProgram, Any]:
    """Return the network of `source`, and the example inputs: the file's own where none are given.

    Raises: LiftError, saying what is allowed, for whatever is no network.
    """
    if isinstance(source, nn.Module):
        return source, example
    if not isinstance(source, str | Path):
        raise LiftError(
            f"a network is a module, FILE.pt2, .onnx, .tflite, .xml or FILE.py:FUNCTION; got {type(source).__name__}."
        )
    path, _, function = str(source).partition(".py:")
    if function:
        return _call(Path(path + ".py"), function, example)
    if Path(source).is_dir() and (Path(source) / CONFIG).is_file():
        return read_folder(Path(source), example)
    suffix = Path(source).suffix
    if suffix in FILES:
        if not Path(source).exists():
            raise LiftError(f"network file '{source}' does not exist.")
        readers: dict[str, Callable[[Path, Any], Any]] = {
            ".pt2": _load_program, ".onnx": _read_onnx, ".tflite": _read_openvino, ".xml": _read_openvino,
        }  # fmt: skip
        loaded: tuple[nn.Module | ExportedProgram, Any] = readers[suffix](Path(source), example)
        return loaded
    if suffix in {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin"}:
        raise LiftError(
            f"'{source}' is a pickle, and nothing is unpickled: it could run any code. Save the network with "
            "torch.export.save to a .pt2 file, or give FILE.py:FUNCTION and load weights from safetensors there."
        )
    raise LiftError(
        f"'{source}' is no network: give a module, FILE.pt2, .onnx, .tflite or .xml, FILE.py:FUNCTION or a folder "
        f"with {CONFIG} and weights."
    )


def copied(module: nn.Module, share: bool = True) -> nn.Module:
    """Return a copy without wrappers, wherever they lie in it; with `share`, its parameters are the source's own.

    What a run keeps (counters, caches) stays in the copy. A module that cannot be copied, because it holds locks or
    tensors in the middle of a graph, comes back itself.
    """
    memo: dict[int, Any] = {id(p): p for p in module.parameters()} if share else {}
    try:
        for wrapper in reversed([m for m in module.modules() if inner(m) is not m]):
            memo[id(wrapper)] = copy.deepcopy(inner(wrapper), memo)
        return copy.deepcopy(module, memo)
    except Exception as error:
        if share:
            return inner(module)
        raise LiftError(f"{type(module).__name__} cannot be copied, to convert it: {error}") from error


def inner(module: nn.Module) -> nn.Module:
    """Return the module in a wrapper, or wrappers, of torch's; any other module itself.

    >>> type(inner(nn.DataParallel(nn.Linear(2, 2)))).__name__
    'Linear'
    """
    while type(module).__module__.startswith("torch.") and type(module).__name__ in WRAPPERS:
        module = getattr(module, WRAPPERS[type(module).__name__])
    return module


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Be in eval mode as long as the context lasts; each part's own mode comes back."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def made_by(path: Path, function: str) -> Any:
    """Return what a function of a Python file returns, called without arguments.

    Raises: LiftError where the file or the function is not there.
    """
    if not path.exists():
        raise LiftError(f"'{path}' does not exist.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, function, None)):
        defined = ", ".join(n for n in vars(module) if callable(getattr(module, n)) and not n.startswith("_"))
        raise LiftError(f"'{path}' has no function '{function}'; it defines: {defined}.")
    return getattr(module, function)()


def _call(path: Path, function: str, example: Any) -> tuple[nn.Module, Any]:
    made = made_by(path, function)
    built, own = made if isinstance(made, tuple) else (made, None)
    if not isinstance(built, nn.Module):
        raise LiftError(f"'{path}:{function}' must return a module or (module, example); got {type(built).__name__}.")
    return built, own if own is not None else example


def _load_program(path: Path, example: Any) -> tuple[ExportedProgram, Any]:
    try:
        program = torch.export.load(str(path))
    except Exception as error:
        raise LiftError(f"'{path}' is truncated or no torch.export file: {str(error).splitlines()[0]}") from error
    if example is None and program.example_inputs is not None:
        example = Arguments(*program.example_inputs)
    return program, example


def _read_onnx(path: Path, example: Any) -> tuple[nn.Module, Any]:
    # Imported only here: whoever lifts modules does not wait for onnx.
    found: tuple[nn.Module, Any] = import_module("whet.onnx_reader").read(path, example)
    return found


def _read_openvino(path: Path, example: Any) -> tuple[nn.Module, Any]:
    found: tuple[nn.Module, Any] = import_module("whet.openvino_reader").read(path, example)
    return found
