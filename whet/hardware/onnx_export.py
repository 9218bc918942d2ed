"""Writing a `Net` as an ONNX file that OpenVINO and ONNX Runtime both read."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from whet.core.net import Net
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

    Raises: TargetError naming the operation that ONNX cannot express.
    """
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
