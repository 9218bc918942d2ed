"""A user's own data on the command line: its options, and the network and task that come of them."""

from __future__ import annotations

import inspect
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whet import catalogue
from whet.core.errors import TaskError

if TYPE_CHECKING:
    from whet.core.net import Net
    from whet.core.task import Task
    from whet.data.sources import Data, Options
    from whet.tasks.bundle import Bundle

OWN = "own"
"""The parameter of a verb that takes what the options say."""


def data_options(
    target_column: Annotated[
        str | None, typer.Option(help="The column, field or array that is foretold; none: no labels.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="tokenizer.json, for text; default: beside the network.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="A sample: 224, 3x224x224 for images; tokens of text; samples of sound.")
    ] = None,
    mean: Annotated[str | None, typer.Option(help="Taken off inputs, e.g. 0.485,0.456,0.406.")] = None,
    std: Annotated[str | None, typer.Option(help="Inputs are divided by it, e.g. 0.229,0.224,0.225.")] = None,
    standardize: Annotated[bool, typer.Option("--standardize", help="Scale columns by the training rows.")] = False,
    split: Annotated[str, typer.Option(help="Shares for train/val/test, where none are given.")] = "80/10/10",
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out files and rows that are broken.")] = False,
    metric: Annotated[str | None, typer.Option(help="accuracy, top5, f1, auroc, rmse, mae, perplexity...")] = None,
    loss: Annotated[str | None, typer.Option(help="cross_entropy, nll, bce, mse, mae, huber, cosine.")] = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="No data: inputs made up, nothing is trained.")
    ] = False,
) -> Any:
    """Return what the options of a user's own data say, as `Options`.

    Raises: TaskError for one that cannot be read, UnknownNameError for a metric or loss that is not there.
    """
    from whet.data.sources import Options
    from whet.tasks.own import aim_of

    sizes = _numbers("--size", size, "x", "3x224x224", int)
    if any(number < 1 for number in sizes):
        raise TaskError(f"--size '{size}': sizes are whole numbers above 0, e.g. 3x224x224.")
    shares = _numbers("--split", split, "/", "80/10/10", float)
    if len(shares) != 3 or min(shares) < 0 or shares[1] <= 0 or shares[0] <= 0:
        raise TaskError(
            f"--split '{split}': give shares for train, val and test, e.g. 80/10/10; train and val above 0."
        )
    deviations = _numbers("--std", std, ",", "0.229,0.224,0.225", float)
    if any(number <= 0 for number in deviations):
        raise TaskError(f"--std '{std}': deviations are above 0.")
    train, val, test = (share / sum(shares) for share in shares)
    options = Options(
        target_column, tokenizer, sizes, _numbers("--mean", mean, ",", "0.485,0.456,0.406", float), deviations,
        (train, val, test), skip_bad, standardize, metric, loss, synthetic=synthetic,
    )  # fmt: skip
    return replace(options, aim=aim_of(options))


def _numbers(option: str, words: str | None, between: str, like: str, kind: Callable[[str], Any]) -> tuple[Any, ...]:
    try:
        return tuple(kind(part) for part in words.lower().split(between)) if words else ()
    except ValueError:
        raise TaskError(f"{option} '{words}': give numbers such as {like}.") from None


def takes_data(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options of `data_options`; what they say is its parameter `own`."""
    extra = inspect.signature(data_options, eval_str=True).parameters
    kept = [p for name, p in inspect.signature(verb, eval_str=True).parameters.items() if name != OWN]

    @wraps(verb)
    def run(**given: Any) -> None:
        words = {name: given.pop(name) for name in extra}
        verb(**given, own=data_options(**words))

    signature = inspect.Signature([*kept, *extra.values()])
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    return run


def refuse_own(own: Options, task: str) -> None:
    """Raise TaskError for options of a user's own data beside a task that has its own."""

    if given := [f.name for f in fields(own) if getattr(own, f.name) != f.default and f.name != "aim"]:
        words = ", ".join("--" + name.replace("_", "-") for name in given)
        raise TaskError(f"{words}: these are for your own data, --data PATH without --task; task '{task}' has its own.")


def own_network(
    network: str | None, path: Path | None, own: Options, progress: Any,
    shapes: Mapping[str, tuple[int, ...]], fixed: Mapping[str, float],
) -> tuple[Net, Bundle]:  # fmt: skip
    """Return a network as a `Net`, and the task of a user's data at `path`; without a path that of made-up inputs.

    Raises: TaskError and LiftError, which name both what the network takes and what the data give.
    """
    from whet.data.sources import understood
    from whet.tasks import own as tasks

    if network is None:
        raise TaskError("which network? Give FILE.onnx, FILE.pt2, FILE.py:FUNCTION, a folder or a name after the verb.")
    if path is None:
        net = _lifted(network, None, shapes, fixed)
        return net, tasks.synthetic(net)
    data = understood(path, replace(own, beside=_beside(network)))
    if data.made is not None:
        return _of_task(data.made, network, progress, shapes, fixed)
    name = path.name.partition(".")[0] or "data"
    net, data, bundle = _of_data(network, data, own, name, progress, shapes, fixed)
    for line in (f"data: {summary(data)}", *tasks.doubts(bundle.task, data, net)):
        print(line, file=sys.stderr)
    return net, bundle


def _lifted(network: str, example: Any, shapes: Mapping[str, Any], fixed: Mapping[str, Any]) -> Net:
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
        raise explained(error, network, "own data", example) from error


def _of_task(
    made: Any, network: str, progress: Any, shapes: Mapping[str, Any], fixed: Mapping[str, Any]
) -> tuple[Net, Bundle]:
    """Return a network and the task, or bundle, that a user's function returned."""
    from whet.core.task import Task
    from whet.graph.lift import lift
    from whet.tasks.own import example_of_task, own_bundle

    bundle = own_bundle(made, example_of_task(made)) if isinstance(made, Task) else made
    if _is_name(network) and bundle.knows(network):
        if isinstance(made, Task):
            bundle = own_bundle(made, bundle.example, _made(network), _key(made, network))
        module, example = bundle.trained(network, progress=progress)
        return lift(module, example, name=network), bundle
    return _lifted(network, None if network.endswith((".onnx", ".pt2")) else bundle.example, shapes, fixed), bundle


def _of_data(
    network: str,
    data: Data,
    own: Options,
    name: str,
    progress: Any,
    shapes: Mapping[str, Any],
    fixed: Mapping[str, Any],
) -> tuple[Net, Data, Bundle]:
    """Return a network, the data as it reads them, and its task."""
    from whet.graph.lift import lift
    from whet.tasks import own as tasks

    known = _is_name(network) and network.partition("(")[0].strip() in catalogue.names("network")
    if network.endswith((".onnx", ".pt2")):
        net = _lifted(network, None, shapes, fixed)
    else:
        module, example = (_made(network), None) if known else _resolved(network)
        columns, data = tasks.reading(module, data)
        example = tasks.example_of(data, columns) if example is None else example
        outputs = tasks.tried(module.eval(), example, network)
        if known:
            task = tasks.own_task(data, columns, outputs, own, name)
            bundle = tasks.own_bundle(task, example, module, _key(task, own))
            module, _ = bundle.trained(network, progress=progress)
        net = lift(module, example, name=Path(network).stem)
    columns, data = tasks.reading_of_net(net, data)
    outputs = tasks.outputs_of(net, data, columns)
    task = tasks.own_task(data, columns, outputs, own, name)
    return net, data, tasks.own_bundle(task, net.example, net.module)


def _is_name(network: str) -> bool:
    return not Path(network).exists()


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


def _resolved(network: str) -> tuple[Any, Any]:
    """Return the module of a Python file's function or of a folder, and the example that a function gave with it."""
    from whet.cli.shared import explained
    from whet.graph.hugging_face import read_folder
    from whet.graph.sources import resolve

    try:
        if Path(network).is_dir():
            return read_folder(Path(network))[0], None
        return resolve(network, None)
    except Exception as error:
        raise explained(error, network, "own data", None) from error


def _beside(network: str) -> Path | None:
    """Return the folder where a network's settings may lie: its own, or the one that its file is in."""
    path = Path(network.partition(".py:")[0] + ".py" if ".py:" in network else network)
    return path if path.is_dir() else path.parent if path.is_file() else None


def summary(data: Data) -> str:
    """Return what data are in one line."""
    counts = ", ".join(f"{name} {len(part):,}" for name, part in data.parts.items())
    many = f", {len(data.classes)} classes" if data.classes else ""
    return f"{data.kind}{many}; {counts} ({data.splits.partition(';')[0]})"
