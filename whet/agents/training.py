"""Training of an agent: its folder, learning curve, checkpoints, and exact resume."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whet import catalogue
from whet.agents.environments import Environments, refuse_other
from whet.agents.evaluation import Choose, Episodes, Returns
from whet.agents.learner import Agent, Learner
from whet.core.checks import whole
from whet.policies.networks import prepared
from whet.policies.spaces import AgentError, Array, Spaces
from whet.support.files import write_text
from whet.train.checkpoint import between_steps
from whet.train.state import read_tensors, write_tensors

REQUEST, CHECKPOINT, CURVE, POLICY, STATES = (
    "training.json", "checkpoint.safetensors", "curve.jsonl", "policy.safetensors", "states.safetensors",
)  # fmt: skip
CHECKPOINT_SECONDS = 20.0
STATES_KEPT = 2000
"""How many observations are kept beside a policy, for calibration and distillation."""
TEST_EPISODES, TEST_SEED = 100, 1
"""The episodes that a finished policy is judged by: others than those it was chosen by, whose seed is 0."""
Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Training:
    """What is to be trained and how it is watched: all that decides the result, and no more.

    `agent` are words of the catalogue, e.g. `dqn(double=True)`. After every `evaluate_every` steps the policy plays
    `episodes` fixed episodes; the best policy of these is kept. With `stop_at` the training ends once their mean is as
    high.
    """

    agent: str
    environment: str
    steps: int = 50_000
    seed: int = 0
    evaluate_every: int = 5_000
    episodes: int = 20
    stop_at: float | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "evaluate_every", "episodes"):
            whole(name, getattr(self, name))
        whole("seed", self.seed, 0)

    def made(self) -> Agent:
        """Return the agent that the words name."""
        agent: Agent = catalogue.make(self.agent, "agent")
        return agent


@dataclass
class _State:
    """How far a training is, beside its learner."""

    curve: list[dict[str, Any]] = field(default_factory=list)
    best: float = -float("inf")
    policy: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    finished: list[float] = field(default_factory=list)
    ended: bool = False


@dataclass(frozen=True)
class Trained:
    """A training that is over: its folder, the lines of its learning curve, and the returns of its policy.

    `returns` are of episodes that the policy was not chosen by.
    """

    folder: Path
    curve: list[dict[str, Any]]
    returns: Returns
    seconds: float


def train(
    training: Training, folder: Path, restart: bool = False, progress: Progress = lambda event: None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Trained:  # fmt: skip
    """Train an agent; a training of the same request that was killed goes on from its last checkpoint, exactly.

    The folder gets the request, the learning curve (JSON lines), a checkpoint, the best policy and states to calibrate
    with. Evaluations have their own environments and random state. Ctrl-C writes a checkpoint before it ends.
    Raises: AgentError for what cannot be played, and for a folder that holds another training.
    """
    agent = training.made()
    environments = Environments(training.environment, agent.environments, training.seed)
    learner = agent.begin(environments, training.steps, training.seed)
    state = _State()
    _begin(training, environments.spaces, folder, restart)
    if (folder / CHECKPOINT).is_file():
        state = _restored(learner, folder)
    with between_steps() as pressed:
        _loop(training, learner, environments, state, folder, progress, checkpoint_seconds, pressed)
    environments.close()
    returns = judged(folder, TEST_EPISODES, TEST_SEED)
    return Trained(folder, state.curve, returns, state.seconds)


def _begin(training: Training, spaces: Spaces, folder: Path, restart: bool) -> None:
    """Write the request into a folder, or find that it holds the same."""
    request = {**asdict(training), "spaces": {**asdict(spaces), "shape": list(spaces.shape)}}
    path = folder / REQUEST
    if restart:
        for name in (REQUEST, CHECKPOINT, CURVE, POLICY, STATES):
            (folder / name).unlink(missing_ok=True)
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found != request:
            wrong = next(k for k in request if found.get(k) != request[k])
            raise AgentError(
                f"'{folder}' holds a training with {wrong}={found.get(wrong)!r}, not {request[wrong]!r}: give another "
                "--out, or --restart to begin anew there."
            )
        return
    write_text(path, json.dumps(request, indent=2) + "\n")


def _loop(
    training: Training, learner: Learner, environments: Environments, state: _State, folder: Path, progress: Progress,
    checkpoint_seconds: float, pressed: list[int],
) -> None:  # fmt: skip
    before, began = state.seconds, time.monotonic()
    saved = began
    while environments.steps < training.steps and not state.ended:
        passed = environments.steps // training.evaluate_every
        state.finished += learner.advance()
        if environments.steps // training.evaluate_every > passed or environments.steps >= training.steps:
            state.seconds = before + time.monotonic() - began
            _evaluate(training, learner, environments, state)
            progress(state.curve[-1])
        if pressed or time.monotonic() - saved > checkpoint_seconds:
            state.seconds = before + time.monotonic() - began
            _save(learner, state, folder)
            saved = time.monotonic()
        if pressed:
            raise KeyboardInterrupt
    state.seconds = before + time.monotonic() - began
    _save(learner, state, folder)


def _evaluate(training: Training, learner: Learner, environments: Environments, state: _State) -> None:
    policy = learner.policy()
    returns = Episodes(training.environment, training.episodes).play(scores_of(policy))
    low, high = returns.interval() or (None, None)
    line = {
        "steps": environments.steps, "seconds": round(state.seconds, 3), "evaluation": returns.mean, "low": low,
        "high": high, "episodes": len(state.finished),
        "training": sum(state.finished) / len(state.finished) if state.finished else None,
    }  # fmt: skip
    state.curve.append(line)
    state.finished = []
    if returns.mean >= state.best:
        state.best, state.policy = returns.mean, dict(policy.state_dict())
    state.ended = training.stop_at is not None and returns.mean >= training.stop_at


def _save(learner: Learner, state: _State, folder: Path) -> None:
    tensors = {f"learner.{k}": v for k, v in learner.tensors().items()}
    tensors |= {f"policy.{k}": v for k, v in state.policy.items()}
    kept = {k: getattr(state, k) for k in ("curve", "seconds", "finished", "ended")}
    kept["best"] = None if not state.policy else state.best
    write_tensors(tensors, folder / CHECKPOINT, kept)
    if state.policy:
        write_tensors(state.policy, folder / POLICY, {"evaluation": state.best})
        write_tensors({"states": prepared(learner.states(STATES_KEPT))}, folder / STATES)
    write_text(folder / CURVE, "".join(json.dumps(line) + "\n" for line in state.curve))


def _restored(learner: Learner, folder: Path) -> _State:
    tensors, kept = read_tensors(folder / CHECKPOINT)
    try:
        learner.restore({k[8:]: v for k, v in tensors.items() if k.startswith("learner.")})
    except (KeyError, RuntimeError, ValueError) as error:
        raise AgentError(
            f"'{folder / CHECKPOINT}' is not of this agent as it is now: {str(error).splitlines()[0]}. Begin anew with "
            "--restart."
        ) from error
    best = -float("inf") if kept["best"] is None else kept["best"]
    policy = {k[7:]: v for k, v in tensors.items() if k.startswith("policy.")}
    return _State(kept["curve"], best, policy, kept["seconds"], kept["finished"], kept["ended"])


def scores_of(policy: torch.nn.Module) -> Choose:
    """Return what gives scores of actions (N, actions) for observations as an environment gives them, (N, *shape)."""

    def scores(observations: Array) -> Array:
        with torch.no_grad():
            found: Array = policy(prepared(observations)).numpy()
        return found

    return scores


def request_of(folder: Path) -> tuple[Training, Spaces]:
    """Return what was trained in a folder, and the spaces of its environment.

    Raises: AgentError where there is no training.
    """
    path = folder / REQUEST
    if not path.is_file():
        raise AgentError(f"'{folder}' holds no training of an agent: there is no {REQUEST}.")
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    spaces = dict(found["spaces"])
    return Training(**{k: v for k, v in found.items() if k != "spaces"}), Spaces(tuple(spaces.pop("shape")), **spaces)


def policy_of(folder: Path) -> torch.nn.Module:
    """Return the best policy of a training in eval mode: observations (N, *shape) in float32 to scores (N, actions).

    Raises: AgentError where nothing was evaluated yet.
    """
    training, spaces = request_of(folder)
    if not (folder / POLICY).is_file():
        raise AgentError(f"'{folder}' holds no policy yet: none was evaluated. Train on with the same command.")
    tensors, _ = read_tensors(folder / POLICY)
    policy = training.made().policy(spaces)
    policy.load_state_dict(tensors)
    return policy.eval()


def judged(folder: Path, episodes: int, seed: int, environment: str | None = None) -> Returns:
    """Return what the best policy of a training gains in fixed episodes, by default of its own environment.

    Raises: AgentError where the environment is of other spaces.
    """
    training, spaces = request_of(folder)
    name = environment or training.environment
    if environment is not None:
        refuse_other(Environments(environment).spaces, spaces, environment)
    return Episodes(name, episodes, seed).play(scores_of(policy_of(folder)))
