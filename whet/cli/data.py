"""`whet data PATH`: what was understood of a user's own data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from whet.cli.own import takes_data
from whet.cli.own_network import beside
from whet.cli.shared import Json

SHOWN, ROWS = 20, 3
"""How many classes are listed, and how many samples."""


@takes_data
def data(
    path: Annotated[Path, typer.Argument(help="A folder, a file or task.py:make.")],
    network: Annotated[str | None, typer.Option(help="A network in whose folder are settings or a tokenizer.")] = None,
    as_json: Json = False,
    own: Any = None,
) -> None:
    """Print what is understood of your own data: kind, splits, counts, shapes, classes, a few samples."""
    from whet.data.sources import understood

    options = replace(own, beside=None if network is None else beside(network))
    found = described(understood(path, options))
    if as_json:
        print(json.dumps(found))
        return
    console = Console()
    say(console, f"{path}: {found['kind']}")
    show(console, found)
    if found["next_token"]:
        say(console, "\nFor a network that foretells tokens:")
        show(console, found["next_token"])
    for sample in found["samples"]:
        say(console, f"sample: {sample}")
    for row in found["rows"]:
        say(console, f"as the network gets it: {row}")


def say(console: Console, line: str) -> None:
    """Print a line as it is, however long."""
    console.print(line, soft_wrap=True, markup=False, highlight=False)


def show(console: Console, found: dict[str, Any]) -> None:
    """Print one reading of data: its splits, its classes, how it came about."""
    table = Table("split", "samples", "inputs", "targets")
    for name, part in found["splits"].items():
        inputs = "\n".join(f"{key} {_text(value)}" for key, value in part["inputs"].items())
        table.add_row(name, f"{part['samples']:,}", inputs, _text(part["targets"]) if part["targets"] else "none")
    if found["splits"]:
        console.print(table)
    if found["classes"]:
        console.print(_classes(found))
    for line in (f"splits: {found['made']}", f"goal: {found['goal']}", *found["notes"]):
        say(console, line)


def _classes(found: dict[str, Any]) -> Table:
    """Return how many samples of each class there are, of the first `SHOWN` classes."""
    table = Table("number", "class", *found["splits"])
    for number, name in enumerate(found["classes"][:SHOWN]):
        table.add_row(str(number), escape(name), *(str(part["classes"][name]) for part in found["splits"].values()))
    if len(found["classes"]) > SHOWN:
        table.add_row("...", f"{len(found['classes']) - SHOWN} more")
    return table


def described(found: Any) -> dict[str, Any]:
    """Return what was understood as plain values."""
    if found.made is not None:
        return _of_task(found)
    from whet.data.sources.targets import counts_of

    splits = {}
    for name, part in found.parts.items():
        inputs = {key: _kind(rows[:1], len(part)) for key, rows in _prepared(found, part).items()}
        splits[name] = {"samples": len(part), "inputs": inputs, "targets": _kind(part.targets, len(part))}
        if found.classes:
            splits[name]["classes"] = counts_of(part.targets, found.classes)
    return {
        "kind": found.kind, "splits": splits, "made": found.splits, "classes": list(found.classes),
        "goal": _goal(found),
        "notes": list(found.notes), "samples": list(found.samples),
        "rows": [] if found.kind.startswith("table") or found.vocabulary else _rows(found),
        "next_token": None if found.next_token is None else described(found.next_token),
    }  # fmt: skip


def _rows(found: Any) -> list[str]:
    """Describe the first samples of the first split: size, range and mean of each input, and the target."""
    part = next(iter(found.parts.values()))
    return [_row(found, part, row) for row in range(min(ROWS, len(part)))]


def _row(found: Any, part: Any, row: int) -> str:
    words = []
    for name, values in _prepared(found, part, row).items():
        numbers = values[0].double()
        size = "x".join(map(str, numbers.shape)) or "a number"
        words.append(f"{name} {size}, {numbers.min():.4g} to {numbers.max():.4g}, mean {numbers.mean():.4g}")
    if part.targets is not None and part.targets.dim() == 1:
        target = part.targets[row].item()
        words.append(f"class '{found.classes[target]}'" if found.classes else f"target {target:.6g}")
    return "; ".join(words)


def _prepared(found: Any, part: Any, row: int = 0) -> dict[str, Any]:
    """Return a sample of each input as a network gets it."""
    import torch

    first = {name: rows[torch.tensor([row])] for name, rows in part.inputs.items()}
    return {k: found.prepare(v) for k, v in first.items()} if found.prepare is not None and len(first) == 1 else first


def _goal(found: Any) -> str:
    from whet.data import metrics

    if found.aim == "agreement":
        return "no labels: quality is agreement with the original network, training is distillation from it"
    if found.aim == "boxes":
        return "boxes, scored by map; training is distillation from the original, as each detector has its own loss"
    loss = {"classes": "cross-entropy (bce for a single logit)", "numbers": "mse", "tokens": "cross-entropy"}[found.aim]
    return f"{found.aim}: {loss}, scored by {metrics.USUAL[found.aim]}, unless --loss and --metric say otherwise"


def _kind(values: Any, rows: int) -> dict[str, Any] | None:
    """Return shape and dtype of a tensor's rows."""
    if values is None:
        return None
    return {"shape": [rows, *values.shape[1:]], "dtype": str(values.dtype).removeprefix("torch.")}


def _text(kind: dict[str, Any]) -> str:
    return f"{tuple(kind['shape'])} {kind['dtype']}"


def _of_task(found: Any) -> dict[str, Any]:
    """Return what a task of a Python file holds: the number and the first of the batches of each collection."""
    from whet.core.task import COLLECTIONS, Task, length_of
    from whet.data.bind import described as shapes

    task = found.made if isinstance(found.made, Task) else found.made.task
    notes = []
    for name in COLLECTIONS:
        if (batches := getattr(task, name)) is not None:
            count = length_of(batches)
            many = "an unknown number of" if count is None else f"{count:,}"
            notes.append(f"{name}: {many} batches, the first is {shapes(next(iter(batches)))}")
    goal = f"{task.metric_name}, {task.direction}, {task.drop} drop"
    return {
        "kind": found.kind, "splits": {}, "made": found.splits, "classes": [], "goal": goal, "notes": notes,
        "samples": [], "rows": [], "next_token": None,
    }  # fmt: skip
