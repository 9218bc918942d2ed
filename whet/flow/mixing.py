"""What is done to mix a finisher's values by speed: layers are found, profiled in the runtime, and mixtures raced."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from whet.core.net import Net
from whet.core.objectives import Figures
from whet.core.passes import Result
from whet.core.space import Choice, Decision, Space
from whet.core.study import Trial
from whet.core.target import Artifact
from whet.decisions.enumerate import point, size
from whet.hardware.elsewhere import machine_of
from whet.hardware.profile import PROFILERS, layer_times
from whet.hardware.targets import inputs_of
from whet.schedule.actions import LayersOf, ProfileLayers, Race
from whet.schedule.late import Heat
from whet.schedule.mixing import RACED_SECONDS, Layers

if TYPE_CHECKING:
    from whet.flow.evaluator import Evaluator


class Mixtures:
    """The files of mixtures, written once each, for as long as a search goes on."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="whet-")
        self.paths: dict[tuple[int, int, Decision], Path] = {}

    def files(
        self, evaluator: Evaluator, trial: Trial, finisher: int, decisions: Sequence[Decision]
    ) -> dict[str, Path]:
        """Return the file of each decision, by its place, from little calibration: they are timed and not scored."""
        base, item = base_of(evaluator, trial).net, evaluator.request.finishers[finisher]
        found = {}
        for i, decision in enumerate(decisions):
            key = trial.number, finisher, decision
            if key not in self.paths:
                net = item.apply(base, decision, evaluator.files.hasty).net if decision else base
                self.paths[key] = evaluator.files.save(net, Path(self.folder.name) / str(len(self.paths)))
            found[str(i)] = self.paths[key]
        return found


def base_of(evaluator: Evaluator, trial: Trial) -> Result:
    """Return the structure of a trial with its weights, before any finisher."""
    if evaluator.kept is not None and evaluator.kept[0] == trial.number:
        return evaluator.kept[1]
    origin, history, builder = trial, evaluator.history, evaluator.builder
    while history.is_finished(origin) and (parent := history.parent(origin)) is not None:
        origin = parent
    base = builder.structure(history.structural(origin.decision))
    if not history.is_finished(origin):
        base = Result(builder.rebuild(origin), base.changed, base.skipped)
    evaluator.kept = trial.number, base
    return base


def layers_of(evaluator: Evaluator, action: LayersOf) -> Layers:
    """Return a structure's choices for single layers, and which of them read each other."""
    net = base_of(evaluator, action.trial).net
    space = evaluator.request.finishers[action.finisher].space(net, evaluator.request.target)
    choices = choices_in(space, action.scope)
    return Layers(choices, borders(net, choices))


def choices_in(space: Space, scope: Decision) -> list[Choice]:
    """Return the choices for single layers that count within a scope."""
    inside = [c for c in space if c.name not in scope and c.when is not None and scope.get(c.when[0]) in c.when[1]]
    return [c for c in inside if len(c.values) > 1]


def borders(net: Net, choices: Sequence[Choice]) -> dict[tuple[str, str], float]:
    """Return how many numbers of a sample go from one of the sites to another, through what is none of them."""
    sites = {c.site for c in choices}
    shapes = net.forward_shapes()
    found: dict[tuple[str, str], float] = {}
    for node in net.graph.nodes:
        site = str(node.target)
        if node.op == "call_module" and site in sites:
            numbers = float(torch.Size(shapes[node.name][1:]).numel())
            found |= {(site, reader): numbers for reader in _readers(node, sites) if reader != site}
    return found


def _readers(node: fx.Node, sites: set[str]) -> set[str]:
    found, seen, waiting = set[str](), {node}, [node]
    while waiting:
        for user in waiting.pop().users:
            if user.op == "call_module" and str(user.target) in sites:
                found.add(str(user.target))
            elif user not in seen:
                seen.add(user)
                waiting.append(user)
    return found


def profile(evaluator: Evaluator, action: ProfileLayers) -> list[dict[str, float]] | None:
    """Return the milliseconds of each layer in the file of each decision; None where the runtime does not tell."""
    net, request, settings = base_of(evaluator, action.trial).net, evaluator.request, _settings(evaluator, action.trial)
    if settings["runtime"] not in PROFILERS:
        return None
    files = evaluator.mixtures.files(evaluator, action.trial, action.finisher, action.decisions)
    for path in files.values():
        request.target.open(Artifact(path, settings), request.batch)  # a crash is told, and takes nothing along
    with evaluator.stopwatch("profile"):
        inputs = inputs_of(net, request.batch)
        machine = machine_of(request.target)
        times = layer_times(files, settings, list(net.layers()), inputs, batch=request.batch, machine=machine)
    return None if times is None else [times[str(i)] for i in range(len(files))]


def _settings(evaluator: Evaluator, trial: Trial) -> dict[str, Any]:
    """Return the uncompressed network's fastest setting, or where its runtime tells nothing that of a trial.

    Layers that stay as they are have the times of that one: a network of integers alone may be the fastest in another.
    """
    own = evaluator.baseline.artifact.settings
    return dict(own if own["runtime"] in PROFILERS or not trial.settings else trial.settings)


def race(evaluator: Evaluator, action: Race) -> Heat:
    """Return the gain of the file of each decision in each setting, all timed in one race."""
    objectives, whole = evaluator.request.objectives, evaluator.baseline.figures
    files = evaluator.mixtures.files(evaluator, action.trial, action.finisher, action.decisions)
    with evaluator.stopwatch("race"):
        timed = evaluator.files.timing.each(files, RACED_SECONDS * len(files))
    return [
        {
            placed(evaluator, each.settings): objectives.gain(
                Figures(each.latency.ratio, Artifact(path, {}).size_bytes), whole
            )
            for each in timed[how]
        }
        for how, path in files.items()
    ]


def placed(evaluator: Evaluator, settings: Mapping[str, Any]) -> Decision:
    """Return the target's choices that mean these settings."""
    target = evaluator.request.target
    space = target.space()
    points = (point(space, rank) for rank in range(size(space)))
    found = next((d for d in points if target.settings(d) == dict(settings)), None)
    return Decision() if found is None else Decision({c.name: found.of(c) for c in space if space.active(c, found)})
