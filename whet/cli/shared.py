"""What the verbs of the command line share: options, and the network that an argument names."""

from __future__ import annotations

import os
import re
import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whet import catalogue
from whet.cli.names import refuse_misspelt
from whet.cli.own import refuse_own
from whet.cli.own_network import own_network
from whet.core.errors import LiftError, MethodError, TargetError, WhetError, unknown
from whet.words import options

if TYPE_CHECKING:
    from whet.data.sources import Options
    from whet.tasks.bundle import Bundle

DEFAULT_TASK = "digits"
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, progress on standard error.")]
Task = Annotated[
    str | None,
    typer.Option(help="digits, cifar10, shakespeare, protein or parkinsons; digits where --data is not given."),
]
Data = Annotated[
    Path | None,
    typer.Option(help="Your own data (whet data PATH tells how they are read); with --task its folder: $WHET_DATA."),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option("--shape", help="Sizes that an input's file leaves free, e.g. input=1x3x224x224; once an input."),
]
Fixed = Annotated[
    list[str] | None,
    typer.Option("--fix", help="The value of an input that is the same in every call, e.g. sr=16000; once an input."),
]
Target = Annotated[
    str,
    typer.Option(
        help="openvino-cpu, onnxruntime-cpu, or cpu: the faster of them; device://HOST:PORT: the same on that machine."
    ),
]
Threads = Annotated[int | None, typer.Option(help="How many threads will serve it; by default what is fastest.")]
Batch = Annotated[int, typer.Option(help="How many samples a call it will be served.")]
Passes = Annotated[
    str | None,
    typer.Option(help="What is searched, with options where wanted: depth,width(tie='network'),quantize,weight-only."),
]
Recipe = Annotated[
    str | None,
    typer.Option(help="How it is trained, what differs from the task's: optimizer='adamw',learning_rate=0.003."),
]
NetworkArgument = Annotated[
    str | None,
    typer.Argument(
        help="A name, FILE.onnx, .pt2, .tflite, .xml, FILE.py:FUNCTION or Hugging Face folder; default: the task's."
    ),
]


def crash_log() -> Path:
    """Return where the traceback of an unexpected error goes: the study's folder, if there is one by then."""
    for folder in out_folders:
        from whet.flow.folder import OWN

        if (folder / OWN).is_dir():
            return folder / OWN / "crash.log"
    handle, name = tempfile.mkstemp(prefix="whet-crash-", suffix=".log")
    os.close(handle)
    return Path(name)


def out_folder(out: Path) -> Path:
    """Return `--out` after it was checked; an unexpected error is logged there."""
    from whet.flow.folder import check_writable

    check_writable(out)
    out_folders[:] = [out]
    return out


out_folders: list[Path] = []
"""The `--out` of the command that runs."""


def network_of(
    task: str | None, network: str | None, data: Path | None, progress: Any,
    shapes: Mapping[str, tuple[int, ...]] | None = None, fixed: Mapping[str, float] | None = None,
    own: Options | None = None,
) -> tuple[Any, Any]:  # fmt: skip
    """Return the trained network as a `Net`, and its task: the one named, that of `own` data, or `digits`.

    `shapes` are the sizes of inputs that an ONNX file leaves free, `fixed` the values of inputs that never change.
    """
    from whet import tasks
    from whet.graph.lift import lift

    file = network is not None and network.endswith(".onnx")
    if (shapes or fixed) and not file:
        raise TargetError(f"--shape and --fix are for the inputs of an ONNX file; got '{network or task}'.")
    if own is not None and task is None and (data is not None or own.synthetic):
        return own_network(network, data, own, progress, shapes or {}, fixed or {})
    task = task or DEFAULT_TASK
    if own is not None:
        refuse_own(own, task)
    bundle = tasks.get(task, data)
    if network is None or bundle.knows(network):
        module, example = bundle.trained(network, progress=progress)
        return lift(module, example, name=network or bundle.networks[0]), bundle
    if shapes or fixed:
        from whet.onnx_reader import read

        module, example = read(network, shapes=shapes, fixed=fixed)
        return lift(module, example, name=Path(network).stem), bundle
    refuse_misspelt(network, bundle.networks, bundle.task.name)
    try:
        return lift(network, bundle.example), bundle
    except Exception as error:
        raise explained(error, network, f"task '{task}'", bundle.example) from error


def recipe_options(words: str | None) -> dict[str, Any]:
    """Return what `--recipe` says, a preset first where one is named, techniques made of their words.

    Raises: MethodError for a field that a recipe does not have, and what the recipe says of values.
    """
    from whet.train.recipe import PRESETS
    from whet.train.recipe import Recipe as Fields

    first, _, rest = (part.strip() for part in (words or "").partition(","))
    if re.fullmatch(r"[A-Za-z-]+", first):
        if first not in PRESETS:
            raise MethodError(f"--recipe: {unknown('preset', first, PRESETS)} Fields are given as learning_rate=0.01.")
        words = rest
    given = options(f"({words or ''})", words or "")
    for name in given:
        if name not in Fields.__dataclass_fields__:
            raise MethodError(f"--recipe: {unknown('field', name, Fields.__dataclass_fields__)}")
    if "techniques" in given:
        named = given["techniques"]
        each = (named,) if isinstance(named, str) else named
        given["techniques"] = tuple(catalogue.make(one, "training") for one in each)
    given = {**PRESETS.get(first, {}), **given}
    Fields(**given)
    return given


def recipe_for(bundle: Bundle, words: dict[str, Any]) -> Any:
    """Return how to train: the bundle's recipe with what `--recipe` says, or None where one is to be found."""
    return None if bundle.finds_recipe and not words else replace(bundle.recipe, **words)


def explained(error: Exception, network: str, task: str, example: Any) -> Exception:
    """Return what to tell of a network that does not lift: whose code failed where, or which example it wants."""
    file = network.partition(".py:")[0] + ".py"
    if isinstance(error, LiftError) and network.endswith(".pt2") and example is not None:
        import torch

        wanted = _shapes(torch.export.load(network).example_inputs[0])
        given = _shapes(example if isinstance(example, tuple | list) else (example,))
        if wanted != given:
            return LiftError(
                f"'{network}' does not take the example of {task}: it was exported with inputs of {wanted}, "
                f"the task's are {given}. Give the task that it was made for, with the batch dynamic."
            )
    if isinstance(error, WhetError) or ".py:" not in network:
        return error
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(file)]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    where = f", line {line}" if line else ""
    return LiftError(f"'{file}'{where} raised {type(error).__name__}: {error}")


def _shapes(inputs: Any) -> str:
    return ", ".join(str(tuple(x.shape)) if hasattr(x, "shape") else type(x).__name__ for x in inputs)


def shapes_of(words: list[str] | None) -> dict[str, tuple[int, ...]]:
    """Return what `--shape` gives, by the input's name.

    >>> shapes_of(["input:0=1x3x224x224", "rate="])
    {'input:0': (1, 3, 224, 224), 'rate': ()}
    """
    found = {}
    for name, value in _pairs("--shape", words, "input=1x3x224x224"):
        sizes = [part.strip() for part in value.lower().split("x")] if value else []
        if not all(part.isdecimal() and int(part) > 0 for part in sizes):
            raise TargetError(f"--shape '{name}={value}': sizes are whole numbers above 0, e.g. {name}=1x3x224x224.")
        found[name] = tuple(map(int, sizes))
    return found


def values_of(words: list[str] | None) -> dict[str, float]:
    """Return what `--fix` gives, by the input's name.

    >>> values_of(["sr=16000", "gain=0.5"])
    {'sr': 16000, 'gain': 0.5}
    """
    found: dict[str, float] = {}
    for name, value in _pairs("--fix", words, "sr=16000"):
        try:
            found[name] = int(value) if value.lstrip("+-").isdecimal() else float(value)
        except ValueError:
            raise TargetError(f"--fix '{name}={value}': the value must be a number, e.g. {name}=16000.") from None
    return found


def _pairs(option: str, words: list[str] | None, like: str) -> list[tuple[str, str]]:
    pairs = [word.rpartition("=") for word in words or ()]
    for (name, _, _value), word in zip(pairs, words or ()):
        if not name:
            raise TargetError(f"{option} '{word}' is no NAME=VALUE, e.g. {like}.")
    return [(name, value) for name, _, value in pairs]
