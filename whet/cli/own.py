"""The options of a user's own data on the command line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whet.core.errors import TaskError

if TYPE_CHECKING:
    from whet.data.sources import Options

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
    metric: Annotated[str | None, typer.Option(help="accuracy, top5, f1, auroc, rmse, mae, perplexity, map...")] = None,
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
