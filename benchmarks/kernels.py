"""The table of `whet measure --kernels` as a page: which formats run on this device, and what they gain.

    python benchmarks/kernels.py [--anew]

Measured once for a device and then kept, as the command does; `--anew` measures again.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from whet.bench.kernels import known, markdown
from whet.bench.results import commit, made_by, write_result
from whet.hardware import targets
from whet.hardware.device import fingerprint
from whet.tasks.bundle import cache_folder

TEXT = """### Which formats run here, and what they gain

`python benchmarks/kernels.py`: four layers of a kind in a row, by the kernel of the second; the ratio is over the same
in floats in the same setting, formats interleaved, quartiles in brackets.

{table}

Device: {device}. {made}
"""


def main() -> None:
    """Write JSON and Markdown into benchmarks/results and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anew", action="store_true", help="measure, whatever is kept")
    anew = parser.parse_args().anew
    rows = known(targets.get("cpu"), cache_folder(), anew=anew)
    table: dict[str, Any] = {"rows": [asdict(row) for row in rows], "device": fingerprint().to_dict()}
    if anew:  # of what was kept the commit is not known
        table["commit"] = commit()
    text = TEXT.format(table=markdown(rows), device=fingerprint().describe(), made=made_by(table))
    write_result(Path(__file__).parent / "results" / "kernels", table, text)
    print(text)


if __name__ == "__main__":
    main()
