"""Every row of the table against OpenVINO itself: small models are written, read, and run beside it on other inputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
import torch
from openvino import opset13 as ops
from torch import nn

from whet.core.errors import LiftError
from whet.openvino_reader import read
from whet.openvino_reader.rules import RULES, NotRead

RNG = np.random.default_rng(0)


def weights(*shape: int) -> Any:
    return ops.constant(RNG.standard_normal(shape).astype(np.float32))


def whole(*values: int) -> Any:
    return ops.constant(np.array(values, np.int64))


def unary(x: Any) -> list[Any]:
    positive = ops.add(ops.abs(x), ops.constant(np.float32(0.5)))
    return [
        *(getattr(ops, name)(x) for name in ("relu", "sigmoid", "tanh", "exp", "abs", "floor", "erf", "sin", "cos")),
        *(getattr(ops, name)(x) for name in ("negative", "ceiling", "hswish", "softplus", "swish")),
        ops.log(positive), ops.sqrt(positive), ops.clamp(x, -0.5, 0.7), ops.elu(x, 0.6), ops.softmax(x, 1),
        ops.log_softmax(x, 2), ops.gelu(x, "tanh"), ops.gelu(x, "erf"), ops.prelu(x, weights(3)),
        ops.swish(x, ops.constant(np.float32(1.7))),
    ]  # fmt: skip


def binary(x: Any) -> list[Any]:
    y = weights(1, 3, 4)
    compared = [getattr(ops, name)(x, y) for name in ("greater", "less", "greater_equal", "less_equal", "equal")]
    either = ops.logical_or(ops.logical_and(compared[0], compared[1]), ops.logical_not(compared[0]))
    return [
        *(getattr(ops, n)(x, y) for n in ("add", "multiply", "subtract", "divide", "maximum", "minimum")),
        ops.squared_difference(x, y), ops.power(ops.abs(x), ops.constant(np.float32(1.5))),
        *(ops.convert(each, "f32") for each in compared), ops.select(either, x, y),
        ops.matmul(x, weights(5, 4), False, True), ops.matmul(x, weights(1, 3, 6), True, False),
    ]  # fmt: skip


def shapes(x: Any) -> list[Any]:
    cut = ops.strided_slice(x, whole(0, 1, 3), whole(0, 3, 0), whole(1, 1, -1), [1, 0, 0], [1, 0, 1])
    sizes = ops.convert(ops.shape_of(x), "f32")
    return [
        cut, ops.strided_slice(x, whole(0, -1), whole(2, 0), whole(1, 1), [0, 0], [0, 0], [], [0, 1]),
        ops.slice(x, whole(1), whole(4), whole(2), whole(2)), ops.reshape(x, whole(0, -1), True),
        ops.transpose(x, whole(2, 0, 1)), ops.unsqueeze(x, whole(1)), ops.squeeze(ops.unsqueeze(x, whole(0)), whole(0)),
        ops.concat([x, x], 1), ops.gather(x, whole(2, 0), whole(1)), ops.tile(x, whole(1, 2, 1)),
        ops.broadcast(ops.reduce_sum(x, whole(1), True), ops.shape_of(x)), sizes,
        ops.reduce_mean(x, whole(2), False), ops.reduce_max(x, whole(0, 1), True), ops.reduce_min(x, whole(1), True),
        ops.reduce_prod(x, whole(2), True), ops.pad(x, whole(0, 1, 1), whole(0, 1, 0), "reflect"),
        ops.pad(x, whole(0, 1, 2), whole(1, 0, 1), "constant", ops.constant(np.float32(3))),
    ]  # fmt: skip


def images(x: Any) -> list[Any]:
    ones, twos, none = [1, 1], [2, 2], [0, 0]
    plain = ops.convolution(x, weights(4, 2, 3, 3), twos, [1, 0], [0, 1], [1, 2])
    biased = ops.add(ops.convolution(x, weights(4, 2, 3, 3), twos, none, none, ones, "same_upper"), weights(1, 4, 1, 1))
    each = ops.group_convolution(x, weights(2, 3, 1, 3, 3), ones, none, none, ones, "valid")
    pooled = ops.max_pool(x, twos, ones, [1, 0], [0, 1], [3, 2], "ceil").output(0)
    spread = ops.interpolate(x, whole(12, 9), "linear_onnx", "sizes", axes=whole(2, 3))
    near = ops.interpolate(x, whole(16, 14), "nearest", "sizes", coordinate_transformation_mode="asymmetric",
                           nearest_mode="floor", axes=whole(2, 3))  # fmt: skip
    means = [ops.avg_pool(x, twos, ones, ones, [3, 3], alone) for alone in (True, False)]
    return [plain, biased, ops.relu(biased), each, pooled, spread, near, *means]


MODELS: dict[str, tuple[Callable[[Any], list[Any]], tuple[int, ...]]] = {
    "unary": (unary, (3, 4)), "binary": (binary, (3, 4)), "shapes": (shapes, (3, 4)), "images": (images, (2, 8, 7)),
}  # fmt: skip


def model_of(make: Callable[[Any], list[Any]], shape: tuple[int, ...], path: Path) -> Any:
    """Write a model for inputs (batch, *shape), with all that is made as outputs, and return it."""
    x = ops.parameter([-1, *shape], np.float32, "x")
    made = ov.Model([each if isinstance(each, ov.Output) else each.output(0) for each in make(x)], [x], "model")
    ov.save_model(made, str(path), compress_to_fp16=False)
    return ov.Core().read_model(str(path))


@pytest.mark.parametrize("name", MODELS)
def test_rows_give_what_openvino_gives(name: str, tmp_path: Path) -> None:
    make, shape = MODELS[name]
    model = model_of(make, shape, tmp_path / "model.xml")
    module, (example,) = read(tmp_path / "model.xml")
    assert tuple(example.shape) == (2, *shape)
    given = torch.randn((3, *shape), generator=torch.Generator().manual_seed(1))
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with torch.no_grad():
        found = module(given)
    for number, (ours, theirs) in enumerate(zip(found, compiled([given.numpy()]).values(), strict=True)):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=2e-3, atol=2e-4, err_msg=f"output {number}")


def test_the_models_above_hold_every_row_of_the_table(tmp_path: Path) -> None:
    kinds: set[str] = set()
    for make, shape in MODELS.values():
        kinds |= {node.get_type_name() for node in model_of(make, shape, tmp_path / "model.xml").get_ops()}
    assert not RULES.keys() - kinds


def test_what_a_convolution_adds_is_its_bias_unless_more_than_that_reads_it(tmp_path: Path) -> None:
    def once(x: Any) -> list[Any]:
        return [ops.add(weights(1, 4, 1, 1), ops.convolution(x, weights(4, 2, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1]))]

    def twice(x: Any) -> list[Any]:
        found = ops.convolution(x, weights(4, 2, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1])
        return [ops.add(found, weights(1, 4, 1, 1)), ops.tanh(found)]

    for make, biased in ((once, True), (twice, False)):
        model_of(make, (2, 4, 4), tmp_path / "model.xml")
        module, _ = read(tmp_path / "model.xml")
        (layer,) = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
        assert (layer.bias is not None) is biased


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: [ops.cum_sum(x, whole(1))], r"model\.xml': operator CumSum, '.*', is not read.*to ONNX"),
        (lambda x: ops.split(x, ops.constant(np.int64(2)), 2).outputs(), "operator Split, .* is not read"),
        (lambda x: [ops.pad(x, whole(0, 1, 1), whole(0, 1, 0), "symmetric")], "mode 'symmetric' is not read"),
        (
            lambda x: [ops.fake_quantize(x, *(ops.constant(np.float32(v)) for v in (0, 1, 0, 1)), 255)],
            "is quantized: .* Give the float network",
        ),
        (
            lambda x: [ops.strided_slice(x, whole(0), whole(1), whole(1), [0], [0], [1])],
            "masks of new axes and ellipses are not read",
        ),
    ],
)
def test_what_is_not_read_is_named(make: Callable[[Any], list[Any]], message: str, tmp_path: Path) -> None:
    model_of(make, (3, 4), tmp_path / "model.xml")
    with pytest.raises(NotRead, match=message):
        read(tmp_path / "model.xml")
    assert issubclass(NotRead, LiftError)
