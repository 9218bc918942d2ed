"""A user's own data and network on the command line: what is opened, and the task that comes of both."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whet import catalogue
from whet.core.errors import TaskError

if TYPE_CHECKING:
    from whet.core.net import Net
    from whet.core.task import Task
    from whet.data.sources import Data, Options
    from whet.tasks.bundle import Bundle

Shapes = Mapping[str, tuple[int, ...]]
Fixed = Mapping[str, float]
SIZED = ("pixel_values", "input_ids")
"""Inputs of networks of transformers whose settings say how large they are."""


def own_network(
    network: str | None, path: Path | None, own: Options, progress: Any, shapes: Shapes, fixed: Fixed
) -> tuple[Net, Bundle]:
    """Return a network as a `Net`, and the task of a user's data at `path`; without a path that of made-up inputs.

    Raises: TaskError and LiftError, which name both what the network takes and what the data give.
    """
    from whet.data.sources import row_of, understood
    from whet.tasks import own as tasks

    if network is None:
        raise TaskError("which network? Give FILE.onnx, FILE.pt2, FILE.tflite, FILE.py:FUNCTION, a folder or a name.")
    if path is None:
        net = _lifted(network, None, shapes, fixed)
        return net, tasks.synthetic(net)
    if row_of(path).name == "task":
        return _of_task(understood(path).made, network, progress, shapes, fixed)
    net, data, bundle = _understood(_opened(network, shapes, fixed), path, own, beside(network), progress)
    for line in (f"data: {summary(data)}", *tasks.doubts(bundle.task, data, net)):
        print(line, file=sys.stderr)
    return net, bundle


def bundle_of_file(net: Net, path: Path, own: Options, folder: Path) -> Bundle:
    """Return the task of a user's data at `path` for a finished file, which `net` runs and `folder` holds.

    Raises: TaskError, which names both what the file takes and what the data give.
    """
    from whet.core.task import Task
    from whet.data.sources import row_of, understood
    from whet.tasks.own import example_of_task, own_bundle

    if row_of(path).name == "task":
        made = understood(path).made
        return own_bundle(made, example_of_task(made)) if isinstance(made, Task) else made
    return _understood(_Opened(net.name, net, size=_sample(net)), path, own, folder, None)[2]


def _understood(
    opened: _Opened, path: Path, own: Options, folder: Path | None, progress: Any
) -> tuple[Net, Data, Bundle]:
    """Return a network, the data at `path` as it reads them, and its task; settings may lie in `folder`."""
    from whet.data.sources import understood

    own = replace(own, size=own.size or _own_size(opened, folder))
    data = understood(path, replace(own, beside=folder))
    return _of_data(opened, data, own, path.name.partition(".")[0] or "data", progress)


def _sample(net: Net) -> tuple[int, ...]:
    """Return the shape of one sample of a net's first input; nothing where it is no first dimension of it."""
    port = net.inputs[0]
    return tuple(port.outside(net.example[0]).shape[1:]) if port.batch_axis == 0 else ()


@dataclass(frozen=True)
class _Opened:
    """A network as it was found: a net where a file holds its example too, else a module, perhaps with an example.

    `size` is the shape of one sample of its first input, where the network knows it.
    """

    words: str
    net: Any = None
    module: Any = None
    example: Any = None
    size: tuple[int, ...] = ()
    untrained: bool = False


def _opened(network: str, shapes: Shapes, fixed: Fixed) -> _Opened:
    from whet.cli.shared import explained
    from whet.graph.hugging_face import read_folder
    from whet.graph.sources import FILES, resolve
    from whet.support.structure import tensors

    if not Path(network).exists() and network.partition("(")[0].strip() in catalogue.names("network"):
        return _Opened(network, module=_made(network), untrained=True)
    if network.endswith(FILES):
        net = _lifted(network, None, shapes, fixed)
        return _Opened(network, net, size=_sample(net))
    try:
        if Path(network).is_dir():
            module, made_up = read_folder(Path(network))
            sizes = [tuple(made_up[name].shape[1:]) for name in SIZED if name in made_up]
            return _Opened(network, module=module, size=sizes[0] if sizes else ())
        resolved, example = resolve(network, None)
    except Exception as error:
        raise explained(error, network, "your data", None) from error
    size = () if example is None else tuple(tensors(example)[0].shape[1:])
    return _Opened(network, module=resolved, example=example, size=size)


def _lifted(network: str, example: Any, shapes: Shapes, fixed: Fixed) -> Net:
    """Return a network of a file or folder as a `Net`, by the example that is given where it has none of its own."""
    from whet.cli.shared import explained
    from whet.graph.lift import lift

    try:
        if shapes or fixed:
            from whet.onnx_reader import read

            module, own = read(network, shapes=shapes, fixed=fixed)
            return lift(module, own, name=Path(network).stem)
        return lift(network, example)
    except Exception as error:
        raise explained(error, network, "your data", example) from error


def _of_task(made: Any, network: str, progress: Any, shapes: Shapes, fixed: Fixed) -> tuple[Net, Bundle]:
    """Return a network and the task, or bundle, that a user's function returned."""
    from whet.core.task import Task
    from whet.graph.lift import lift
    from whet.graph.sources import FILES
    from whet.tasks.own import example_of_task, own_bundle

    bundle = own_bundle(made, example_of_task(made)) if isinstance(made, Task) else made
    if not Path(network).exists() and bundle.knows(network):
        if isinstance(made, Task):
            bundle = own_bundle(made, bundle.example, _made(network), _key(made, network))
        module, example = bundle.trained(network, progress=progress)
        return lift(module, example, name=network), bundle
    return _lifted(network, None if network.endswith(FILES) else bundle.example, shapes, fixed), bundle


def _of_data(opened: _Opened, data: Data, own: Options, name: str, progress: Any) -> tuple[Net, Data, Bundle]:
    """Return a network, the data as it reads them, and its task."""
    from whet.graph.lift import lift
    from whet.tasks import own as tasks

    net, module, example = opened.net, opened.module, opened.example
    if net is None:
        columns, data = tasks.reading(module, data)
        example = tasks.example_of(data, columns) if example is None else example
        outputs = tasks.tried(module.eval(), example, opened.words)
        if opened.untrained:
            task = tasks.own_task(data, columns, outputs, own, name)
            bundle = tasks.own_bundle(task, example, module, _key(task, own))
            module, _ = bundle.trained(opened.words, progress=progress)
        net = lift(module, example, name=Path(opened.words).stem)
    columns, data = tasks.reading_of_net(net, data)
    task = tasks.own_task(data, columns, tasks.outputs_of(net, data, columns), own, name)
    return net, data, tasks.own_bundle(task, net.example, net.module)


def _key(task: Task, said: Any) -> str:
    """Return what a network that is trained on a task is kept under: other data, other weights."""
    from whet.flow.identity import described

    return f"{task.name}-{zlib.crc32(repr((described(task.train), described(task.val), said)).encode()):08x}"


def _made(network: str) -> Any:
    """Return a network of whet's own by its words, untrained."""
    try:
        return catalogue.make(network, "network")
    except TypeError as error:
        raise TaskError(
            f"network '{network}': {error}. Options come in brackets: 'mlp(features=9,outputs=2)'."
        ) from None


def beside(network: str) -> Path | None:
    """Return the folder where a network's settings may lie: its own, or the one that its file is in."""
    path = Path(network.partition(".py:")[0] + ".py" if ".py:" in network else network)
    return path if path.is_dir() else path.parent if path.is_file() else None


def _own_size(opened: _Opened, folder: Path | None) -> tuple[int, ...]:
    """Return the size of a sample that a network takes, unless its settings say more of how samples are made."""
    from whet.data.sources.pictures import settings_of

    own = settings_of(folder)
    return () if own.get("size") or own.get("crop_size") else opened.size


def summary(data: Data) -> str:
    """Return what data are in one line."""
    first = next(iter(data.parts.values()))
    counts = ", ".join(f"{name} {len(part):,}" for name, part in data.parts.items())
    many = f", {len(data.classes)} classes" if data.classes else ""
    name, values = next(iter(first.inputs.items()))
    size = "x".join(map(str, values[:1].shape[1:]))
    return f"{data.kind}{many}, {name} of {size}; {counts} ({data.splits.partition(';')[0]})"
