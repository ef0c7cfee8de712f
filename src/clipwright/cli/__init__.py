"""The command line: one file per verb, each a thin wrapper over `clipwright.api`."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows the program's name; `sys.argv` when None.

    Returns:
        0 = done, 1 = failed, 2 = bad usage, 130 = interrupted.
    """
    from clipwright.cli.app import run

    return run(sys.argv[1:] if arguments is None else list(arguments))
