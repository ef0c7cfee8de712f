"""Exact copies of an image on both sides of a split, which make accuracy look better than it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipwright.data.names import quoted


@dataclass(frozen=True)
class Duplicates:
    """Copies across groups.

    Attributes:
        pairs: (row, earlier row): a row of one group, and the first row of an earlier group with the same content.
            Groups rank by their first row. There is one pair per row and earlier group, so at most
            rows x (groups - 1) pairs.
        sentences: what to tell the user, one sentence for each two groups that share images; empty without pairs.
    """

    pairs: tuple[tuple[int, int], ...]
    sentences: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.pairs)


def duplicates_across(
    contents: Sequence[str | None], groups: Sequence[str] | np.ndarray, ids: Sequence[str] | None = None
) -> Duplicates:
    """Find images whose bytes appear in more than one group.

    Args:
        contents: n content hashes; None or ``""`` where there is none (an image that couldn't be read).
        groups: n names of the side that a row is on, such as ``support`` and ``test``; ``""`` rows are left out.
        ids: n names of the rows for the messages; by default their numbers.
    """
    names = np.asarray(groups, dtype=str)
    hashes = np.asarray([content or "" for content in contents], dtype=str)
    if len(names) != len(hashes):
        raise ValueError(f"{len(hashes)} contents but {len(names)} groups")
    rows = np.flatnonzero((hashes != "") & (names != ""))
    _, content = np.unique(hashes[rows], return_inverse=True)
    rank: dict[str, int] = {}
    for name in names[rows].tolist():
        rank.setdefault(name, len(rank))
    group = np.array([rank[name] for name in names[rows].tolist()], dtype=np.int64)
    pairs = _pairs(content, group, rows)
    return Duplicates(pairs, tuple(_sentences(pairs, names, ids)))


def _pairs(content: np.ndarray, group: np.ndarray, rows: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Sort by content and group; only runs of one content that span groups are looked at."""
    order = np.lexsort((rows, group, content))
    content, group, rows = content[order], group[order], rows[order]
    starts = np.flatnonzero(np.r_[np.ones(min(len(content), 1), bool), content[1:] != content[:-1]])
    ends = np.r_[starts[1:], np.full(min(len(content), 1), len(content))]
    pairs: list[tuple[int, int]] = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if group[start] == group[end - 1]:
            continue
        first: dict[int, int] = {}
        for i in range(start, end):
            own = int(group[i])
            pairs.extend((int(rows[i]), row) for other, row in first.items() if other != own)
            first.setdefault(own, int(rows[i]))
    return tuple(sorted(pairs))


def _sentences(pairs: Sequence[tuple[int, int]], names: np.ndarray, ids: Sequence[str] | None) -> list[str]:
    between: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for later, earlier in pairs:
        between.setdefault((str(names[later]), str(names[earlier])), []).append((later, earlier))
    sentences = []
    for (later_name, earlier_name), found in between.items():
        pair = [str(i) if ids is None else ids[i] for i in found[0]]
        count = len({row for row, _ in found})
        what = "image is an exact copy" if count == 1 else "images are exact copies"
        sentences.append(
            f"{count} {later_name} {what} of {earlier_name} images, such as {quoted(pair[:1])} of {quoted(pair[1:])}: "
            "remove them from one side, or the accuracy says more than it should."
        )
    return sentences
