"""Writing a `Net` as an ONNX file that OpenVINO and ONNX Runtime both read."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnx_ir
import torch
from onnxscript import opset20 as op
from torch.export import Dim

from whet.core.errors import TargetError
from whet.core.files import whole
from whet.core.net import Net
from whet.graph import fake_quantize
from whet.graph.fold import fold_batch_norms
from whet.hardware.onnx_integers import store_integers

OPSET = 20
BATCH = "batch"
INLINE_BYTES = 1_900_000_000
"""A protobuf holds two gigabytes; larger networks keep their weights in a side file."""


def _quantize_dequantize(x: Any, scale: Any, zero_point: Any, axis: int, qmin: int, qmax: int) -> Any:
    kind = onnx.TensorProto.UINT8 if qmin >= 0 else onnx.TensorProto.INT8
    where = {} if axis < 0 else {"axis": axis}
    zero = op.Cast(zero_point, to=kind)
    return op.DequantizeLinear(op.QuantizeLinear(x, scale, zero, **where), scale, zero, **where)


TRANSLATIONS: dict[Any, Any] = {fake_quantize.fake_quantize._opoverload: _quantize_dequantize}


def export_onnx(net: Net, path: Path) -> Path:
    """Write `net` in eval mode to `path` and return it.

    Batch norms are folded, the batch (dimension 0 of each input) is named `batch` and dynamic, weights that are
    quantized are stored as int8. The file appears whole or not at all, in a folder that is made where it is missing.

    Raises: TargetError naming the operation that ONNX cannot express.
    """
    folded = fold_batch_norms(net).eval()
    batch = Dim(BATCH, min=1, max=65536)
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(
                folded.module, net.example, dynamic_shapes=tuple({0: batch} for _ in net.example), strict=False
            )
            exported = torch.onnx.export(
                program, dynamo=True, opset_version=OPSET, custom_translation_table=TRANSLATIONS, verbose=False
            )
    except Exception as error:
        raise TargetError(f"network '{net.name}' cannot be written as ONNX: {_reason(error)}") from error
    assert exported is not None
    store_integers(exported.model.graph)
    _strip(exported.model)
    size = sum(value.const_value.nbytes for value in exported.model.graph.initializers.values() if value.const_value)
    side = f"{path.stem}.data" if size > INLINE_BYTES else None
    with whole(path) as part:
        onnx_ir.save(exported.model, part, external_data=side)
    return path


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _strip(model: Any) -> None:
    """Take out the exporter's notes on each node, which tell where the file was made, and name the batch."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    values = [*model.graph.inputs, *model.graph.initializers.values()]
    for node in model.graph:
        node.metadata_props.clear()
        node.doc_string = None
        values.extend(node.outputs)
    given = model.graph.inputs[0].shape[0]
    for value in values:
        value.metadata_props.clear()
        if value.shape is not None:
            value.shape = onnx_ir.Shape([BATCH if dim == given else dim for dim in value.shape])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's chatter away; what it raises still comes through."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
