"""What the verbs of the command line share: options, and the network that an argument names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, progress on standard error.")]
Data = Annotated[Path | None, typer.Option(help="The folder of the task's data; default $WHET_DATA.")]
NetworkArgument = Annotated[
    str | None,
    typer.Argument(help="A network of the task, FILE.pt2, FILE.onnx or FILE.py:FUNCTION. Default: the task's own."),
]


def network_of(task: str, network: str | None, data: Path | None, progress: Any) -> tuple[Any, Any]:
    """Return the trained network as a `Net`, and its task."""
    from whet import tasks
    from whet.graph.lift import lift

    bundle = tasks.get(task, data)
    if network is None or network in bundle.networks:
        module, example = bundle.trained(network, progress=progress)
        return lift(module, example, name=network or bundle.networks[0]), bundle
    return lift(network, bundle.example), bundle
