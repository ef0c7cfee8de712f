"""The page about a comparison: results of several methods, shots and draws, on one or more data sets and backbones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clipwright.core.errors import DataError
from clipwright.data.dataset import Dataset
from clipwright.protocol.results import Group, Results
from clipwright.report.elements import Fact
from clipwright.report.group_part import group_part
from clipwright.report.outcomes import SHOWN
from clipwright.report.overview import overview
from clipwright.report.page import Page
from clipwright.report.text import count
from clipwright.report.views import merged_config, views

_FEW = 4  # parts up to which every gallery is full: pictures make most of a page


def comparison_page(
    results: Results,
    *,
    datasets: Mapping[str, Dataset] | None = None,
    group: Group | None = None,
    title: str | None = None,
    command: str = "",
    facts: Sequence[Fact] = (),
    notes: Sequence[str] = (),
) -> Page:
    """Lay out results as a page: one part per data set and backbone, and an overview where there are several.

    Args:
        results: what `run` returned or `Results.load` read; several runs are joined by `Results.joined`.
        datasets: by name, where thumbnails are read from; without its data set, a part's examples have no pictures.
        group: (data set, backbone) to show alone; by default all are.
        title: heading; by default the data set's name.
        command: the command that was run.
        facts: further rows of "What was run".
        notes: further notes, shown first.

    Raises:
        DataError: there are no results, or none of this group.
    """
    if not len(results):
        raise DataError("there are no results to report: run a comparison first.")
    groups = [g for g in results.groups() if group in {None, g}]
    if not groups:
        raise DataError(f"there are no results of {' with '.join(group or ())}.")
    split = views(results)
    groups = [g for g in groups if split.ranked.methods(g)]
    if not groups:
        raise DataError("every result had labels to choose on, so nothing can be ranked: run methods without them too.")
    names = titles(groups)
    single = len(groups) == 1
    parts = tuple(
        group_part(
            results,
            split,
            g,
            title=names[g],
            dataset=(datasets or {}).get(g[0]),
            shown=SHOWN if len(groups) <= _FEW else SHOWN // 2,
        )
        for g in groups
    )
    return Page(
        title=title or (groups[0][0] if single else "Comparison"),
        subtitle=_subtitle(merged_config(results, groups[0]), groups),
        parts=parts,
        overview=None
        if single
        else overview(results, split, {g: (names[g], f"p{i}") for i, g in enumerate(groups, 1)}),
        facts=(*([Fact("Command", command, code=True)] if command else []), *facts),
        notes=tuple(notes),
    )


def titles(groups: Sequence[Group]) -> dict[Group, str]:
    """What tells groups apart: the data set, the backbone, or both."""
    one_set, one_backbone = (len({g[i] for g in groups}) == 1 for i in (0, 1))
    if one_backbone:
        return {g: g[0] for g in groups}
    return {g: g[1] if one_set else f"{g[0]}, {g[1]}" for g in groups}


def _subtitle(config: Mapping[str, Any], groups: Sequence[Group]) -> str:
    sets, backbones = (list(dict.fromkeys(g[i] for g in groups)) for i in (0, 1))
    behind = f"backbone {backbones[0]}" if len(backbones) == 1 else f"{len(backbones)} backbones"
    if len(groups) > 1:
        return f"{sets[0] if len(sets) == 1 else count(len(sets), 'data set')}, {behind}"
    if not config:
        return f"{behind[0].upper()}{behind[1:]}"
    return f"{count(len(config['class_names']), 'class', 'classes')}, {count(config['images'], 'image')}, {behind}"
