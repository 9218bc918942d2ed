"""Reading what OpenVINO reads, `.tflite` and its own `.xml`, as a torch module: its operators are written as ONNX.

`read(path, example)` is the entry; `rules` has one row an operator.
"""

from whet.openvino_reader.read import read

__all__ = ["read"]
