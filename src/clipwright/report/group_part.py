"""One data set and backbone of a comparison, laid out."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc

from clipwright.data.dataset import Dataset
from clipwright.protocol.results import Group, Results
from clipwright.report import standings
from clipwright.report.costs import costs, costs_note
from clipwright.report.elements import Calibration
from clipwright.report.facts import run_facts
from clipwright.report.findings import Case, curves_note, headline, labels, notes
from clipwright.report.outcomes import SHOWN, Outcomes
from clipwright.report.page import Part
from clipwright.report.picks import picks
from clipwright.report.reliability import figures, why_not
from clipwright.report.settings import settings
from clipwright.report.views import Views, merged_config

LISTED = 200  # skipped images named on the page; the rest is counted


def group_part(
    results: Results, split: Views, group: Group, *, title: str, dataset: Dataset | None, shown: int = SHOWN
) -> Part:
    """Lay out one data set and backbone.

    Args:
        results: all cells.
        split: `views` of them.
        group: which of them.
        title: heading of the part.
        dataset: where thumbnails are read from, or None.
        shown: examples per gallery.
    """
    case = Case(results, split, group, merged_config(results, group))
    best, ranked = case.best, case.ranked
    outcomes = _outcomes(case)
    taken = costs(split.ranked, group, ranked, best.shots)
    skipped = tuple((str(i), str(why)) for i, why in case.config.get("skipped", ()))
    return Part(
        title=title,
        headline=headline(case),
        curves=standings.curves(split.by_labels, group),
        curves_note=curves_note(split, group),
        scores=standings.merged(ranked, standings.unranked(split.unranked, group)),
        scores_note=standings.note(standings.summaries(split.ranked, group)),
        gaps=standings.gaps(split.ranked, group, ranked),
        equal=standings.equal(split.equal, group, case.config),
        picks=picks(results, group),
        costs=taken,
        costs_note=costs_note(best.shots, taken),
        galleries=outcomes.galleries(dataset, shown) if outcomes else (),
        classes=outcomes.class_scores() if outcomes else (),
        counted=f"Counted on the first draw of {best.method} with {labels(best.shots)}." if outcomes else "",
        confusions=outcomes.confusions() if outcomes else (),
        matrix=outcomes.matrix() if outcomes else None,
        calibration=_calibration(case, outcomes) if outcomes else None,
        facts=run_facts(case.config, _seconds(results, group)),
        settings=settings(results, group),
        notes=notes(case),
        skipped=skipped[:LISTED],
        n_skipped=len(skipped),
    )


def _outcomes(case: Case) -> Outcomes | None:
    """What the headline's method said in its first draw, where that was kept."""
    table = case.results.predictions
    if not table.num_rows or not case.config:
        return None
    dataset, backbone = case.group
    wanted = {"dataset": dataset, "backbone": backbone, "method": case.best.method, "shots": case.best.shots, "draw": 0}
    for column, value in wanted.items():
        table = table.filter(pc.equal(table[column], value))
    if not table.num_rows:
        return None
    raw, after = table["confidence"], table["confidence_calibrated"]
    fitted = not after.null_count
    return Outcomes(
        table["id"].to_pylist(),
        table["label"].to_numpy().astype(np.int64),
        table["predicted"].to_numpy().astype(np.int64),
        (after if fitted else raw).to_numpy(),
        case.config["class_names"],
        raw.to_numpy() if fitted else None,
    )


def _calibration(case: Case, outcomes: Outcomes) -> Calibration:
    best = case.best
    before, after = outcomes.reliability()
    rivals = sorted((s for s in case.ranked if s.shots == best.shots), key=lambda s: -s.mean)
    note = f"The picture counts the first draw of {best.method} with {labels(best.shots)}"
    note += "; the figures are means over draws."
    if not after:
        note += f" {why_not(case.config, best.shots)}"
    return Calibration(before, after, figures(case.split.ranked, case.group, rivals), note)


def _seconds(results: Results, group: Group) -> float:
    rows = results.cells.select(["dataset", "backbone", "seconds_fit", "seconds_predict"]).to_pylist()
    mine = [r for r in rows if (r["dataset"], r["backbone"]) == group]
    return float(sum((r["seconds_fit"] or 0.0) + (r["seconds_predict"] or 0.0) for r in mine))
