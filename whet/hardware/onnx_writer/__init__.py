"""Writing a network as an ONNX file by a table: tenths of a second, where torch's exporter takes seconds.

`trace` runs the network at two sizes and so tells lengths that are free from those that are fixed, and what is constant
from what depends on the inputs; `writer` holds the nodes and tensors of the file; `elementwise`, `shapes`, `products`
and `layers` are the table, one row an operator; `file` puts the parts together. What has no row raises `Unwritten`, and
the exporter is asked instead (`whet.hardware.onnx_export`).
"""

from whet.hardware.onnx_writer.file import write
from whet.hardware.onnx_writer.writer import Unwritten

__all__ = ["Unwritten", "write"]
