"""Every output is kept, in the structure of the source; inputs come in any structure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.utils import ModelOutput

import whet
from whet.core.errors import LiftError
from whet.core.spec import check


class Pair(NamedTuple):
    boxes: Tensor
    scores: Tensor


@dataclass
class Detection:
    logits: Tensor
    mask: Tensor | None = None
    count: int = 3


@dataclass
class Output(ModelOutput):  # type: ignore[misc]
    loss: Tensor | None = None
    logits: Tensor | None = None
    states: tuple[Tensor, ...] | None = None


SHAPES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "tensor": (lambda y: y, ("output",)),
    "tuple": (lambda y: (y, y + 1, None), ("output_0", "output_1")),
    "one in a tuple": (lambda y: (y,), ("output_0",)),
    "list": (lambda y: [y * 2, [y.sum(1), 4]], ("output_0", "output_1.0")),
    "dictionary": (lambda y: {"b": y, "a": (y - 1, y * y)}, ("b", "a.0", "a.1")),
    "named tuple": (lambda y: Pair(y, y.sum(1)), ("boxes", "scores")),
    "dataclass": (lambda y: Detection(y), ("logits",)),
    "model output": (lambda y: Output(logits=y, states=(y + 1, y + 2)), ("logits", "states.0", "states.1")),
    "nested": (
        lambda y: {"d": Detection(y, y > 0), "p": Pair(y, y.exp())},
        ("d.logits", "d.mask", "p.boxes", "p.scores"),
    ),
    "the same twice": (lambda y: (y, y), ("output_0", "output_1")),
}


class Shaped(nn.Module):
    def __init__(self, shape: str) -> None:
        super().__init__()
        self.layer, self.shape = nn.Linear(4, 5), SHAPES[shape][0]

    def forward(self, x: Tensor) -> Any:
        return self.shape(self.layer(x))


def same(a: Any, b: Any) -> bool:
    """Say whether two trees are of the same types and hold the same numbers."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, Mapping):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    return same(vars(a), vars(b)) if hasattr(a, "__dataclass_fields__") else bool(a == b)


@pytest.mark.parametrize("shape", SHAPES)
def test_outputs_keep_their_structure_and_get_names(shape: str) -> None:
    module, x = Shaped(shape).eval(), torch.randn(3, 4)
    net = check(whet.lift(module, x[:2]))
    with torch.no_grad():
        expected, found, copied = module(x), net(x), net.copy()(x)
    assert same(found, expected) and same(copied, expected)
    assert tuple(port.name for port in net.outputs) == SHAPES[shape][1]
    assert [port.name for port in net.inputs] == ["x"]
    results = net.results(found)
    assert len(results) == len(net.outputs)
    assert same(net.structured(results), expected), "a file's flat outputs come back as the source gives them"


class Inputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor, mask: Any = None, times: float = 2.0, *, scale: Tensor | None = None) -> Tensor:
        y = self.layer(x) * times
        if mask is not None:
            y = y * (mask["keep"] if isinstance(mask, dict) else mask[0] + mask[1])
        return y if scale is None else y * scale


class Positional(Inputs):
    def forward(self, *args: Tensor) -> Tensor:  # type: ignore[override]
        return self.layer(args[0]) + args[1]


class Keywords(Inputs):
    def forward(self, **kwargs: Tensor) -> Tensor:  # type: ignore[override]
        return self.layer(kwargs["left"]) + kwargs["right"]


class OneDictionary(Inputs):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
        return self.layer(batch["left"]) + batch["right"]


class OneList(Inputs):
    def forward(self, maps: list[Tensor]) -> Tensor:  # type: ignore[override]
        return self.layer(maps[0]) + maps[1]


A, B = torch.randn(2, 4), torch.randn(2, 4)


@pytest.mark.parametrize(
    "module, example, names",
    [
        (Inputs(), (A,), ["x"]),
        (Inputs(), (A, {"keep": B}, 3.0), ["x", "mask.keep"]),
        (Inputs(), (A, (A, B)), ["x", "mask.0", "mask.1"]),
        (Inputs(), (A, None, 1.5), ["x"]),
        (Inputs(), {"scale": B, "x": A}, ["x", "scale"]),
        (Inputs(), {"x": A, "mask": None, "scale": B}, ["x", "scale"]),
        (Positional(), (A, B), ["args.0", "args.1"]),
        (Positional(), [A, B], ["args.0", "args.1"]),
        (Keywords(), {"right": B, "left": A}, ["right", "left"]),
        (OneDictionary(), {"left": A, "right": B}, ["batch.left", "batch.right"]),
        (OneDictionary(), ({"left": A, "right": B},), ["batch.left", "batch.right"]),
        (OneList(), [A, B], ["maps.0", "maps.1"]),
        (Inputs(), A.numpy(), ["x"]),
    ],
)
def test_inputs_of_any_structure_are_flat_and_named(module: nn.Module, example: Any, names: list[str]) -> None:
    net = check(whet.lift(module, example))
    assert [port.name for port in net.inputs] == names
    assert len(net.example) == len(names)


def test_an_optional_input_that_is_given_counts() -> None:
    module = Inputs()
    net = whet.lift(module, (A, {"keep": B}, 3.0))
    with torch.no_grad():
        assert torch.allclose(net(A, B), module(A, {"keep": B}, 3.0))


class Opaque:
    def __init__(self, value: Tensor) -> None:
        self.value = value


@pytest.mark.parametrize(
    "give, message",
    [
        (lambda y: (y, Opaque(y)), "output_1 is of type Opaque, of which whet does not know the parts"),
        (lambda y: None, "returns no tensor but NoneType"),
        (lambda y: (y, y.shape[0]), r"a number that depends on the batch \(3 for one, 2 for another\)"),
        (lambda y: (y, y.t().flatten()), "output 'output_1' of a row differs by .* when the rows come"),
        (lambda y: (y, y[:1].repeat(y.shape[0] + 1, 1)), r"has the shape \(3, 5\) for a batch of 2 and \(4, 5\) for 3"),
        (lambda y: (y, y.square().mean()), "'output_1' has no batch but changes with the rows"),
        (lambda y: y + torch.rand_like(y), "'output' differs between two runs on the same input"),
        (lambda y: {"ok": y, "log": (y * 0 - 1).log()}, "'log' is NaN throughout"),
    ],
)
def test_outputs_that_cannot_be_kept_are_refused_by_name(give: Any, message: str) -> None:
    module = Shaped("tensor")
    module.shape = give
    with pytest.raises(LiftError, match=message):
        whet.lift(module, A)


def test_an_output_that_all_rows_share_has_no_batch() -> None:
    module = Shaped("tensor")
    module.shape = lambda y: (y, module.layer.weight * 2)
    net = check(whet.lift(module, A))
    assert [port.batch_axis for port in net.outputs] == [0, None]
    rows = net(*net.example)[1]
    assert rows.shape == (2, 5, 4) and torch.equal(rows[0], rows[1])


def test_a_transformers_cache_comes_out_as_keys_and_values() -> None:
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=64, n_positions=16, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    ).eval()
    tokens = torch.randint(0, 64, (2, 6))
    net = check(whet.lift(model, {"input_ids": tokens}))
    names = [f"past_key_values.{layer}.{i}" for layer in (0, 1) for i in (0, 1)]
    assert [port.name for port in net.outputs] == ["logits", *names]
    with torch.no_grad():
        found, expected = net(tokens), model(tokens)
    torch.testing.assert_close(found.past_key_values[1][0], expected.past_key_values.layers[1].keys)


class Partly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(4, 4), nn.Linear(4, 9)
        self.register_buffer("table", torch.ones(7))

    def forward(self, x: Tensor) -> Tensor:
        self.spare(x)
        return self.used(x)


def test_parameters_that_no_output_depends_on_are_noted() -> None:
    net = whet.lift(Partly(), A)
    assert net.notes == ("no output depends on 'spare.weight', 'spare.bias', 'table' (52 numbers); left out",)
    assert set(net.layers()) == {"used"}
