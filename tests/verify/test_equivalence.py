from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.core.errors import ArtifactError
from whet.core.kinds import Kind
from whet.core.net import Net, Port
from whet.core.target import Session
from whet.support.structure import Rows
from whet.verify.equivalence import OpenSession, agreement, evaluate, played
from whet.verify.manifest import unit_of


def test_agreement_counts_rows_and_differences() -> None:
    reference = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    found = agreement(torch.tensor([[0.0, 3.0], [0.0, 0.5]]), reference)
    assert found.top1_agreement == 0.5
    assert found.max_abs_difference == 2.0
    assert found.relative_difference == pytest.approx((4 + 1 + 0.25) ** 0.5 / 2**0.5)
    assert agreement(torch.ones(3, 1), torch.ones(3, 1)).top1_agreement is None
    with pytest.raises(ArtifactError, match="expected"):
        agreement(torch.ones(2, 2), torch.ones(3, 2))


OUTPUTS = {"loc": torch.randn(8, 6, 4), "conf": torch.randn(8, 6, 3)}
KINDS = (Kind("regression"), Kind("logits", 2))


def test_each_of_several_outputs_has_its_own_figure() -> None:
    same = agreement(OUTPUTS, OUTPUTS, KINDS, ("loc", "conf"))
    assert same.figures == pytest.approx(
        {"loc.relative_error": 0.0, "loc.correlation": 1.0, "conf.top1_agreement": 1.0}
    )
    assert same.top1_agreement is None and same.max_abs_difference == 0
    other = agreement({**OUTPUTS, "conf": -OUTPUTS["conf"]}, OUTPUTS, KINDS, ("loc", "conf"))
    assert other.figures["conf.top1_agreement"] < 0.5 and other.figures["loc.relative_error"] == 0
    assert other.max_abs_difference == pytest.approx(2 * float(OUTPUTS["conf"].abs().max()))


@pytest.mark.parametrize(
    ("kind", "figures"),
    [
        (Kind("embedding"), {"cosine_similarity"}),
        (Kind("regression"), {"relative_error", "correlation"}),
        (Kind("logits", 1), {"top1_agreement"}),
    ],
)
def test_embeddings_have_no_top1_agreement(kind: Kind, figures: set[str]) -> None:
    x = torch.randn(8, 16)
    found = agreement(x + 0.01, x, (kind,))
    assert set(found.figures) == figures
    assert (found.top1_agreement is None) == (kind.name != "logits")
    assert all(unit_of(name) for name in figures)


def test_an_embedding_is_known_by_its_length_alone() -> None:
    unit = torch.nn.functional.normalize(torch.randn(8, 16), dim=1)
    assert set(agreement(unit, unit).figures) == {"cosine_similarity"}


def test_agreement_over_rows_of_different_lengths() -> None:
    rows = Rows([torch.randn(n, 3) for n in (2, 5, 2)])
    turned = Rows([row if len(row) == 2 else -row for row in rows])
    found = agreement(turned, rows, (Kind("logits", 2),))
    assert 4 / 9 <= found.figures["top1_agreement"] < 1


@pytest.mark.parametrize("other", [(torch.randn(8, 4),), (torch.randn(8, 5), torch.randn(8, 1))])
def test_outputs_of_another_number_or_shape_are_refused(other: tuple[torch.Tensor, ...]) -> None:
    with pytest.raises(ArtifactError, match="expected"):
        agreement(other, (torch.randn(8, 4), torch.randn(8, 1)))


class Step(nn.Module):
    """A network with a state in another layout, outputs in a dictionary and a length that is free."""

    def forward(self, x: Tensor, state: Tensor) -> dict[str, Tensor]:
        return {"y": x * 2 + state.sum(-1, keepdim=True), "state": state + 1, "label": x.argmax(-1)}


def step_net() -> Net:
    net = whet.lift(Step(), (torch.randn(2, 5), torch.randn(2, 3)))
    state = Port("state", batch_axis=1)
    return replace(net, inputs=(Port("x", 0, ((1, "length"),)), state), outputs=(Port("y"), state, Port("label")))


def recorded(opened: list[Any]) -> OpenSession:
    """Return what opens a session that computes what `Step` does, in the layout of a file."""

    def open_session(batch: int, shapes: Mapping[str, Sequence[int]]) -> Session:
        opened.append((batch, dict(shapes)))

        def session(x: Any, state: Any) -> Any:
            assert x.shape == tuple(shapes["x"]) and state.shape == tuple(shapes["state"]) and len(x) == batch
            return x * 2 + state.sum(0)[:, None], state + 1, x.argmax(-1)

        return session

    return open_session


def test_evaluation_moves_pads_and_names_what_files_take_and_give() -> None:
    opened: list[Any] = []
    inputs = [(torch.randn(10, 5), torch.randn(10, 3)), (torch.randn(13, 5), torch.randn(13, 3))]
    batches = [(x, torch.arange(len(x[0]))) for x in inputs]
    outputs, targets = evaluate(recorded(opened), batches, 4, step_net())
    assert opened == [(4, {"x": (4, 5), "state": (3, 4)})]
    wanted = Step()(*(torch.cat(column) for column in zip(*inputs)))
    assert set(outputs) == set(wanted) and outputs["label"].dtype == torch.int64
    for name in wanted:
        torch.testing.assert_close(outputs[name], wanted[name])
    assert torch.equal(targets, torch.cat([torch.arange(10), torch.arange(13)]))


def test_evaluation_opens_a_file_anew_for_each_length_and_keeps_a_few() -> None:
    opened: list[Any] = []
    lengths = [5, 7, 5, 9, 11, 13, 5]
    batches = [((torch.randn(2, n), torch.randn(2, 3)), torch.zeros(2)) for n in lengths]
    outputs, _ = evaluate(recorded(opened), batches, 2, step_net())
    assert [shapes["x"][1] for _, shapes in opened] == [5, 7, 9, 11, 13, 5], "the oldest of five was let go"
    assert [len(row) for row in outputs["y"]] == [n for n in lengths for _ in range(2)]
    assert outputs["state"].shape == (14, 3)


def test_a_file_is_played_with_in_one_session() -> None:
    opened: list[Any] = []
    asked: list[str] = []
    inputs = [(torch.randn(n, 5), torch.randn(n, 3)) for n in (3, 1, 2)]

    def play(run: Any, collection: str) -> Tensor:
        asked.append(collection)
        return torch.cat([run(*each)["y"].sum().reshape(1) for each in inputs])

    task = whet.Task("t", None, [0], played=play)
    found = played(task, recorded(opened), "test", 4, step_net())
    torch.testing.assert_close(found, torch.stack([Step()(*each)["y"].sum() for each in inputs]))
    assert asked == ["test"] and opened == [(4, {"x": (4, 5), "state": (3, 4)})]
