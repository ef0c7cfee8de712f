"""Start-up, whole process, in one run: `import clipwright` and `clipwright --help` against `import numpy`.

Targets: at most 0.5 and 2 times. Runs alternate, so that a busy machine slows all alike; medians are compared.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 21
BASELINE = "import numpy"
TARGETS = {"import clipwright": 0.5, "clipwright --help": 2.0}


def commands() -> dict[str, list[str]]:
    """What is timed; the console script is the one beside this interpreter."""
    script = Path(sys.executable).parent / ("clipwright.exe" if os.name == "nt" else "clipwright")
    return {
        BASELINE: [sys.executable, "-c", "import numpy"],
        "import clipwright": [sys.executable, "-c", "import clipwright"],
        "clipwright --help": [str(script), "--help"],
    }


def main() -> int:
    times: dict[str, list[float]] = {name: [] for name in commands()}
    for run in range(RUNS + 1):
        for name, command in commands().items():
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if run:  # the first round fills the system's file cache
                times[name].append(time.perf_counter() - start)
    base = statistics.median(times[BASELINE])
    print(f"{BASELINE}: {1000 * base:.0f} ms (median of {RUNS})")
    missed = False
    for name, target in TARGETS.items():
        median = statistics.median(times[name])
        missed |= median / base > target
        print(f"{name}: {1000 * median:.0f} ms, {median / base:.2f} times (target: at most {target})")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
