"""`whet compress NET --int8`: post-training quantization, without training data."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from whet.cli.again import run

FORWARDS = {"allow_extra_args": True, "ignore_unknown_options": True}
"""What a command is made with that hands words that it does not know on to another."""
POST_TRAINING: dict[str, Any] = {
    "training": False, "passes": "quantize", "objectives": "speed,size", "budget": "5min", "out": "runs/int8",
}  # fmt: skip
"""Options of `whet optimize` that quantize a network as it is: a file that is no faster but smaller counts, too."""


def compress(
    context: typer.Context,
    int8: Annotated[bool, typer.Option("--int8", help="Integers of eight bits for weights and activations.")] = False,
) -> None:
    """Quantize a network after its training: whet compress NET --int8 [OPTIONS OF whet optimize].

    Nothing is trained: some hundred samples calibrate the scales, taken from the task's calibration or training data.
    Ends in about a minute with the file and what it loses, measured as `whet optimize` does; --max-drop 1% is the limit
    unless another is given.
    """
    if not int8:
        raise typer.BadParameter("say to what: whet compress NET --int8", param_hint="--int8")
    run(context, list(context.args), POST_TRAINING)
