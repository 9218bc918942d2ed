"""Writing a `Net` as an ONNX file that OpenVINO and ONNX Runtime both read."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from whet.core.errors import TargetError
from whet.core.net import Net
from whet.graph.fake_quantize import ActivationQuantizer
from whet.graph.fold import fold_batch_norms
from whet.graph.outside import unwrap
from whet.hardware.cpu import SHAPES
from whet.hardware.free_axes import example_sizes, outside_example
from whet.hardware.onnx_writer import Unwritten, write
from whet.support.files import whole

INLINE_BYTES = 1_900_000_000
"""A protobuf holds two gigabytes; larger networks keep their weights in a side file."""

log = logging.getLogger("whet.hardware")


def export_onnx(net: Net, path: Path) -> Path:
    """Write `net` in eval mode to `path` and return it.

    The file is a drop-in for the net's source: it has the names, the layout and the free axes of `net.inputs` and
    `net.outputs`, and all outputs. Batch norms are folded, the batch is named `batch` and dynamic, weights that are
    quantized are stored as int8. What the table of operators lacks is left to torch's exporter, which takes seconds;
    the log says so. The file appears whole or not at all, in a folder that is made where it is missing.

    Raises: TargetError naming the operation that ONNX cannot express, or a layer that is only simulated.
    """
    _refuse_simulated(net)
    folded = fold_batch_norms(net).eval()
    notes = {}
    if any(port.free for port in net.inputs):
        sizes = {port.name: example_sizes(port, x) for port, x in zip(net.inputs, net.example, strict=True)}
        notes[SHAPES] = json.dumps(sizes)
    try:
        model = write(unwrap(folded), outside_example(net), net.inputs, net.outputs)
    except Unwritten as why:
        log.info("network '%s' is written by torch's exporter: %s", net.name, why)
        return _save_exported(folded, path, notes)
    onnx.helper.set_model_props(model, notes)
    with whole(path) as part:
        if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > INLINE_BYTES:
            onnx.save(model, part, save_as_external_data=True, location=f"{path.stem}.data")
        else:
            part.write_bytes(model.SerializeToString())
    return path


def _refuse_simulated(net: Net) -> None:
    """Raise TargetError where a tensor has fewer bits than any runtime computes with: it would run in floats."""
    for name, layer in net.layers().items():
        if isinstance(layer, ActivationQuantizer) and layer.grid.is_simulated:
            raise TargetError(
                f"'{name}' has {layer.grid.name}: no runtime here multiplies integers of fewer than 8 bits, so no file "
                "is written. What such a network keeps is told by `whet bench quantize`; inputs of 8 bits do run."
            )


def _save_exported(net: Net, path: Path, notes: Mapping[str, Any]) -> Path:
    # Imported only here: most networks never need the exporter.
    import onnx_ir

    from whet.hardware.torch_exporter import exported

    model = exported(net)
    model.metadata_props.update(notes)
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    side = f"{path.stem}.data" if size > INLINE_BYTES else None
    with whole(path) as part:
        onnx_ir.save(model, part, external_data=side)
    return path
