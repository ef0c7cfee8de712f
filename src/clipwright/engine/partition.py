"""Splitting work between machines that never talk to each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from clipwright.core.errors import UsageError

Shard = tuple[int, int]  # (I, N): part I of N, counted from 1

_SHARD = re.compile(r"(\d+)/(\d+)")


def parse_shard(text: str) -> Shard:
    """Read ``I/N`` as in ``--shard 2/8``.

    Raises:
        UsageError: it isn't of that form, or I lies outside 1..N.
    """
    match = _SHARD.fullmatch(text.strip())
    if not match:
        raise UsageError(f"the shard {text!r} can't be read: write I/N, such as 1/4 for the first of four parts.")
    return check_shard((int(match[1]), int(match[2])))


def check_shard(shard: Shard) -> Shard:
    """Return `shard` if 1 <= I <= N.

    Raises:
        UsageError: it doesn't hold.
    """
    part, parts = shard
    if not 1 <= part <= parts:
        raise UsageError(f"there is no part {part} of {parts}: the first number of the shard I/N goes from 1 to N.")
    return shard


def check_alone(root: Path, shard: Shard) -> None:
    """Refuse to empty a folder in which other parts may have work.

    Raises:
        UsageError: there are several parts.
    """
    if shard[1] > 1:
        raise UsageError(
            f"--overwrite with --shard would remove what other parts made in {root}: name another folder, or delete "
            "that one before the parts start."
        )


def part_of(keys: Sequence[str], shard: Shard) -> list[int]:
    """Positions of the units that belong to part I of N, ascending.

    Units are dealt out in the order of their keys, so every unit belongs to exactly one part, the parts differ by at
    most one unit, and all machines that see the same keys agree without talking.

    Args:
        keys: one key per unit, made of what the unit contains.
        shard: (I, N).

    Raises:
        UsageError: I lies outside 1..N.
    """
    part, parts = check_shard(shard)
    order = sorted(range(len(keys)), key=lambda i: (keys[i], i))
    return sorted(order[part - 1 :: parts])
