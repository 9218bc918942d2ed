"""nncodec: the peer for size. The parameters become a bitstream of the NNC standard; decoded, they run as before.

Its quantization step is swept around its default. It imports torchvision for data that are not used here; a stand-in
takes its place.
"""

import importlib
import sys
from unittest.mock import MagicMock

import numpy as np
import torch

from whet.bench.peers.work import Work
from whet.graph.lift import lift
from whet.hardware.onnx_export import export_onnx

for name in ("torchvision", "torchvision.datasets", "torchvision.transforms"):
    sys.modules[name] = MagicMock()
codec = importlib.import_module("nncodec.nn")

work = Work.ordered()
for step in (-38, -32, -26, -20):
    module, example = work.module()
    state = {k: v for k, v in module.state_dict().items() if v.is_floating_point()}  # it takes no 64-bit counters
    name = f"bitstream, step {step}"
    path = work.place(name, ".onnx")
    arguments = {"qp": step, "results": str(path.parent), "model": "weights", "verbose": False}
    stored = path.parent / "weights.nnc"
    stored.write_bytes(codec.encode({k: v.numpy() for k, v in state.items()}, arguments))
    restored = codec.decode(bytearray(stored.read_bytes()))
    module.load_state_dict({k: torch.from_numpy(np.array(restored[k])) for k in state}, strict=False)
    export_onnx(lift(module, example, name=work.network), path)
    work.deliver(name, path, "openvino", stored=stored)
