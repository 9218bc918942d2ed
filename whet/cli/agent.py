"""`whet agent train NAME --env ENVIRONMENT`, and `list`, `eval` and `play`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from whet import catalogue
from whet.cli.shared import Json, out_folder

if TYPE_CHECKING:
    from whet.agents.evaluation import Returns

agent = typer.Typer(no_args_is_help=True, help="Train agents on Gymnasium environments, and see how they play.")
Environment = Annotated[
    str, typer.Option("--env", help="A Gymnasium environment: CartPole-v1, MinAtar/Breakout-v1, module:Name-v0.")
]
Folder = Annotated[Path, typer.Argument(help="The folder of a training, its --out.")]
Episodes = Annotated[int, typer.Option(min=1, help="How many episodes.")]
Other = Annotated[str | None, typer.Option("--env", help="Another environment; default: that of the training.")]
NO_INTERVAL = "one episode has no interval"


@agent.command()
def train(
    name: Annotated[str, typer.Argument(help="An agent, with options where wanted: dqn(double=True).")],
    environment: Environment,
    steps: Annotated[int, typer.Option(min=1, help="Steps of all environments together.")] = 50_000,
    out: Annotated[Path | None, typer.Option(help="Its folder; default: runs/agents/NAME-ENVIRONMENT-SEED.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    evaluate_every: Annotated[int, typer.Option(min=1, help="Steps from one evaluation to the next.")] = 5_000,
    episodes: Annotated[int, typer.Option(min=1, help="Fixed episodes of an evaluation.")] = 20,
    stop_at: Annotated[float | None, typer.Option(help="End once an evaluation's mean return is as high.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the network's arithmetic.")] = 1,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew instead of resuming.")] = False,
    as_json: Json = False,
) -> None:
    """Train an agent; the same command goes on with what was killed, to the same result."""
    import torch

    from whet.agents.training import Training
    from whet.agents.training import train as run
    from whet.report.learning_curve import write

    training = Training(name, environment, steps, seed, evaluate_every, episodes, stop_at)
    training.made()
    folder = out_folder(out or Path("runs/agents") / f"{file_name(name)}-{file_name(environment)}-{seed}")
    torch.set_num_threads(threads)
    err = Console(stderr=True)
    trained = run(training, folder, restart, lambda line: err.print(_told(line), highlight=False))
    write(trained.curve, f"{name} on {environment}, seed {seed}", folder / "curve.html")
    if as_json:
        print(json.dumps({"folder": str(folder), "curve": trained.curve, **_figures(trained.returns)}))
        return
    print(f"{_sentence(trained.returns)} The policy is the best of {len(trained.curve)} evaluations.")
    print(f"The learning curve: {folder / 'curve.html'}. To make the policy fast and small:")
    print(f"whet optimize --task \"policy(folder='{folder}')\"")


@agent.command("list")
def list_agents(as_json: Json = False) -> None:
    """List the agents, and the parts that options turn on."""
    rows = [m for m in catalogue.METHODS if m.family in ("agent", "agent-part")]
    if as_json:
        print(json.dumps([{"name": m.name, "family": m.family, "reach": m.reach, "paper": m.citation} for m in rows]))
        return
    table = Table(Column("name", no_wrap=True), "kind", Column("reached by", overflow="fold"), "paper")
    for m in rows:
        kind = "agent" if m.family == "agent" else "part"
        table.add_row(m.name.partition(".")[2], kind, escape(m.reach), m.citation)
    Console().print(table)


@agent.command("eval")
def evaluate(
    folder: Folder, environment: Other = None, episodes: Episodes = 100, seed: Annotated[int, typer.Option(min=0)] = 1,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Say what the policy of a training gains in fixed episodes, with the 95 % interval of the mean."""
    from whet.agents.training import judged

    returns = judged(folder, episodes, seed, environment)
    print(json.dumps(_figures(returns)) if as_json else _sentence(returns))


@agent.command()
def play(
    folder: Folder, environment: Other = None, episodes: Episodes = 1, seed: Annotated[int, typer.Option(min=0)] = 0,
    render: Annotated[str | None, typer.Option(help="Of Gymnasium: human for a window, ansi for text.")] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Play episodes with the policy of a training and tell each one's actions and return."""
    from whet.agents.play import played

    for number, episode in enumerate(played(folder, episodes, seed, environment, render)):
        if as_json:
            print(json.dumps({"actions": episode.actions, "return": episode.gained, "cut": episode.cut}))
            continue
        for picture in episode.pictures:
            print(picture)
        shown = "".join(map(str, episode.actions)) if max(episode.actions) < 10 else " ".join(map(str, episode.actions))
        print(f"episode {number}: return {episode.gained:g} in {len(episode.actions)} steps. Actions: {shown}")


@agent.command()
def export(
    folder: Folder, out: Annotated[Path | None, typer.Option(help="Default: the training's folder.")] = None
) -> None:
    """Write the policy of a training as model.onnx, as it is; `whet optimize` makes it fast and small."""
    print(exported(folder, out or folder))


def exported(folder: Path, out: Path) -> Path:
    """Write the policy of a training as ONNX, observations (N, *shape) to scores (N, actions); return the file."""
    import torch

    import whet
    from whet.agents.training import policy_of, request_of
    from whet.hardware import targets

    example = torch.zeros(2, *request_of(folder)[1].shape)
    out.mkdir(parents=True, exist_ok=True)
    return targets.get("onnxruntime-cpu").save(whet.lift(policy_of(folder), (example,)), out)


def file_name(words: str) -> str:
    """Return words as a part of a folder's name.

    >>> file_name("dqn(double=True)"), file_name("MinAtar/Breakout-v1")
    ('dqn-double-True', 'MinAtar-Breakout-v1')
    """
    letters = "".join(c if c.isalnum() or c in "._" else "-" for c in words)
    return "-".join(part for part in letters.split("-") if part)


def _told(line: dict[str, Any]) -> str:
    interval = f" ({line['low']:.1f} to {line['high']:.1f})" if line["low"] is not None else ""
    mean, count = line["training"], line["episodes"]
    training = "" if mean is None else f"; in training {mean:.1f} over {count} episodes"
    return f"{line['steps']:>9,} steps, {line['seconds']:6.1f} s: return {line['evaluation']:.1f}{interval}{training}"


def _figures(returns: Returns) -> dict[str, Any]:
    low, high = returns.interval() or (None, None)
    return {"mean": returns.mean, "low": low, "high": high, "episodes": len(returns.values), "cut": returns.cut}


def _sentence(returns: Returns) -> str:
    """Say how good a policy is, and how sure that is."""
    interval = returns.interval()
    sure = NO_INTERVAL if interval is None else f"95 % interval of the mean {interval[0]:.1f} to {interval[1]:.1f}"
    cut = f"; {returns.cut} were cut off" if returns.cut else ""
    return f"Mean return {returns.mean:.1f} over {len(returns.values)} episodes ({sure}{cut})."
