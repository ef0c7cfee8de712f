"""The page about a comparison: results of several methods, shots and draws."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from clipwright.core.errors import DataError
from clipwright.core.intervals import Interval
from clipwright.data.dataset import Dataset
from clipwright.protocol.results import Results, Summary
from clipwright.report.facts import HOW, run_facts, shown
from clipwright.report.outcomes import Outcomes
from clipwright.report.page import Curve, CurvePoint, Fact, Headline, Page, Score, Setting
from clipwright.report.text import count, percent

_LISTED = 200  # skipped images named on the page; the rest is counted


def comparison_page(
    results: Results,
    *,
    dataset: Dataset | None = None,
    group: tuple[str, str] | None = None,
    title: str | None = None,
    command: str = "",
    facts: Sequence[Fact] = (),
    notes: Sequence[str] = (),
) -> Page:
    """Lay out results as a page.

    Args:
        results: what `run` returned or `Results.load` read.
        dataset: where thumbnails are read from; without it examples have no pictures.
        group: (data set, backbone) to show; by default the first.
        title: heading; by default the data set's name.
        command: the command that was run.
        facts: further rows of "What was run".
        notes: further notes, shown first.

    Raises:
        DataError: there are no results, or none of this group.
    """
    rows = results.summary()
    if not rows:
        raise DataError("there are no results to report: run a comparison first.")
    group = group or rows[0].group
    rows = tuple(sorted((r for r in rows if r.group == group), key=lambda r: r.shots))
    if not rows:
        raise DataError(f"there are no results of {group[0]} with {group[1]}.")
    config = next((r for r in results.runs if (r.get("dataset"), r.get("backbone")) == group), {})
    best = max((r for r in rows if r.shots == rows[-1].shots), key=lambda r: r.mean)
    outcomes = _outcomes(results, best, config)
    skipped = tuple((str(i), str(why)) for i, why in config.get("skipped", ()))
    return Page(
        title=title or group[0],
        subtitle=_subtitle(config, group),
        headline=_headline(results, rows, best, config),
        curves=_curves(rows),
        scores=_scores(results, rows),
        scores_note=_scores_note(rows),
        galleries=outcomes.galleries(dataset) if outcomes else (),
        classes=outcomes.class_scores() if outcomes else (),
        classes_note=f"Counted on the first draw of {best.method} with {_labels(best.shots)}." if outcomes else "",
        confusions=outcomes.confusions() if outcomes else (),
        facts=(*run_facts(config, command, _seconds(results, group)), *facts),
        settings=_settings(results, group),
        notes=(*notes, *_notes(results, rows, config)),
        skipped=skipped[:_LISTED],
        n_skipped=len(skipped),
    )


def _labels(shots: int) -> str:
    return f"{count(shots, 'label')} per class" if shots else "names alone"


def _subtitle(config: dict[str, Any], group: tuple[str, str]) -> str:
    if not config:
        return f"Backbone {group[1]}"
    return (
        f"{count(len(config['class_names']), 'class', 'classes')}, {count(config['images'], 'image')}, "
        f"backbone {group[1]}"
    )


def _headline(results: Results, rows: Sequence[Summary], best: Summary, config: dict[str, Any]) -> Headline:
    where = "images that each draw leaves" if config.get("test_rule") == "rest of each draw" else "test images"
    leaders = results.leaders()
    tied = [
        r.method for r in rows if r.shots == best.shots and r is not best and (*r.group, r.method, r.shots) in leaders
    ]
    draws = f", on average over {best.draws} draws of the labelled images" if best.draws > 1 else ""
    sentence = f"{best.method} names {percent(best.mean)} of {best.n_test:,} {where} right from {_labels(best.shots)}"
    sentence += f"{draws}."
    if tied:
        sentence += f" {', '.join(tied)} {'ties' if len(tied) == 1 else 'tie'} with it."
    return Headline(best.mean, best.low, best.high, sentence, _aside(results, rows, best))


def _aside(results: Results, rows: Sequence[Summary], best: Summary) -> str:
    """What labels add to names alone."""
    nameless = [r for r in rows if r.shots == 0]
    if not nameless or best.shots == 0:
        return ""
    base = max(nameless, key=lambda r: r.mean)
    gain = results.difference((best.method, best.shots), (base.method, 0), best.group)
    return f"Names alone give {percent(base.mean)} ({base.method}); labels {_change(gain)}."


def _change(gain: Interval) -> str:
    size = f"{abs(100 * gain.mean):.1f} points"
    if 0.0 in gain:
        return f"make no difference that these images and draws could show ({100 * gain.mean:+.1f} points)"
    ends = sorted((abs(100 * gain.low), abs(100 * gain.high)))
    return f"{'add' if gain.mean > 0 else 'cost'} {size} ({ends[0]:.1f} to {ends[1]:.1f})"


def _curves(rows: Sequence[Summary]) -> tuple[Curve, ...]:
    points: dict[str, list[CurvePoint]] = {}
    for r in rows:
        points.setdefault(r.method, []).append(CurvePoint(r.shots, r.mean, r.low, r.high))
    return tuple(Curve(method, tuple(found)) for method, found in points.items())


def _scores(results: Results, rows: Sequence[Summary]) -> tuple[Score, ...]:
    leaders = results.leaders()
    found = []
    for r in sorted(rows, key=lambda r: (r.shots, -r.mean)):
        rivals = [other.mean for other in rows if other.shots == r.shots]
        leads = len(rivals) > 1 and (*r.group, r.method, r.shots) in leaders
        standing = ("best" if r.mean == max(rivals) else "tied") if leads else ""
        found.append(
            Score(
                r.shots,
                r.method,
                r.mean,
                r.low,
                r.high,
                r.draws,
                standing,
                r.seconds_fit,
                r.macro,
                r.labels_per_class,
            )
        )
    return tuple(found)


def _scores_note(rows: Sequence[Summary]) -> str:
    if all(r.draws == 1 for r in rows):
        text = (
            "The 95 % interval covers the test images only (Wilson); one draw says nothing about other labelled images."
        )
    else:
        text = (
            "The 95 % interval covers both chances: which images were labelled (Student's t over draws) and which "
            "were tested (Wilson)."
        )
    if len({r.shots for r in rows}) < len(rows):
        text += (
            " Tied: the 95 % interval of the difference to the best, paired by draw and test image, includes zero, so "
            "this comparison can't tell the two apart."
        )
    return text


def _outcomes(results: Results, best: Summary, config: dict[str, Any]) -> Outcomes | None:
    import pyarrow.compute as pc

    table = results.predictions
    if not table.num_rows or not config:
        return None
    wanted = {"dataset": best.dataset, "backbone": best.backbone, "method": best.method, "shots": best.shots, "draw": 0}
    for column, value in wanted.items():
        table = table.filter(pc.equal(table[column], value))
    if not table.num_rows:
        return None
    return Outcomes(
        table["id"].to_pylist(),
        table["label"].to_numpy().astype(np.int64),
        table["predicted"].to_numpy().astype(np.int64),
        table["confidence"].to_numpy(),
        config["class_names"],
    )


def _seconds(results: Results, group: tuple[str, str]) -> float:
    rows = results.cells.select(["dataset", "backbone", "seconds_fit", "seconds_predict"]).to_pylist()
    return float(sum(r["seconds_fit"] + r["seconds_predict"] for r in rows if (r["dataset"], r["backbone"]) == group))


def _settings(results: Results, group: tuple[str, str]) -> tuple[Setting, ...]:
    """Each hyper-parameter's value, by shots where it depends on them, and where it came from."""
    values: dict[tuple[str, str], dict[int, list[str]]] = {}
    sources: dict[tuple[str, str], list[str]] = {}
    for row in results.cells.select(["dataset", "backbone", "method", "shots", "chosen", "how"]).to_pylist():
        if (row["dataset"], row["backbone"]) != group:
            continue
        how = json.loads(row["how"] or "{}")
        for name, value in json.loads(row["chosen"] or "{}").items():
            key = (row["method"], name)
            values.setdefault(key, {}).setdefault(row["shots"], []).append(shown(value))
            sources.setdefault(key, []).append(HOW.get(how.get(name, ""), how.get(name, "not recorded")))
    return tuple(
        Setting(method, name, _by_shots(found), ", ".join(dict.fromkeys(sources[method, name])))
        for (method, name), found in values.items()
    )


def _by_size(text: str) -> tuple[float, str]:
    """Numbers by their size, words after them."""
    try:
        return float(text), text
    except ValueError:
        return math.inf, text


def _by_shots(found: dict[int, list[str]]) -> str:
    by_value: dict[str, list[int]] = {}
    for shots, values in found.items():
        different = list(dict.fromkeys(values))
        least, most = min(different, key=_by_size), max(different, key=_by_size)
        text = least if len(different) == 1 else f"{len(different)} values, {least} to {most}"
        by_value.setdefault(text, []).append(shots)
    if len(by_value) == 1:
        return next(iter(by_value))
    return "; ".join(f"{text} at {', '.join(map(str, shots))}" for text, shots in by_value.items())


def _notes(results: Results, rows: Sequence[Summary], config: dict[str, Any]) -> list[str]:
    found = list(config.get("notes", ()))
    found += _against_names(results, rows)
    table = results.cells
    mine = {r.method for r in rows}
    for method, notes in zip(table["method"].to_pylist(), table["notes"].to_pylist(), strict=True):
        found += [f"{method}: {note}" for note in (notes or ()) if method in mine]
    if sum(r.shots == rows[-1].shots for r in rows) > 1:
        found.append(
            "The method in the headline was picked by its test accuracy; its interval does not cover that choice."
        )
    return list(dict.fromkeys(found))


def _against_names(results: Results, rows: Sequence[Summary]) -> list[str]:
    """Say so where labels did not help."""
    nameless = [r for r in rows if r.shots == 0]
    if not nameless:
        return []
    base = max(nameless, key=lambda r: r.mean)
    found = []
    for r in rows:
        if r.shots == 0:
            continue
        gain = results.difference((r.method, r.shots), (base.method, 0), r.group)
        if gain.high < 0:
            found.append(f"{r.method} with {_labels(r.shots)} is worse than names alone: its labels {_change(gain)}.")
        elif 0.0 in gain:
            found.append(f"{r.method} with {_labels(r.shots)} can't be told from names alone ({base.method}).")
    return found
