"""What is known about the graph of a `Net`: how it is lifted, which dimensions belong together, how it is cut.

Read in this order: `lift` (with `layers`), `labels` and `rows`, the operator tables, `axes`, `cut`, `blocks`.
"""
