"""What a fit and an evaluation come to, for people and for programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipwright.cli.output import note, safe, say, show_json, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipwright import Results
    from clipwright.api import BaseToNew, Evaluation, FitRun
    from clipwright.cli.run_folder import RunFolder

_SPLITS = {"test": "test split", "val": "validation split", "all": "all that are labelled"}
_SHOWN = 5  # problems listed on the terminal; all are in the log


def fit_summary(run: FitRun) -> dict[str, Any]:
    """What a reader wants to know of a fit, as JSON."""
    described = run.classifier.describe()
    card, trace, backbone = described["card"], described["trace"], described["backbone"]
    figures = run.evaluation
    return {
        "method": card.get("method"),
        "reason": card.get("reason"),
        "backbone": backbone["spec"] if backbone else None,
        "classes": len(described["class_names"]),
        "labels_per_class": card.get("labels_per_class"),
        "chosen": trace["chosen"],
        "how": trace["how"],
        "temperature": described["temperature"],
        "calibration": card.get("calibration"),
        "skipped_images": card.get("skipped_images", 0),
        "seconds": round(float(trace["seconds"]), 3),
        "evaluation": None if figures is None else figures.as_json(),
        "notes": list(dict.fromkeys([*card.get("notes", ()), *trace["notes"]])),
    }


def show_fit(summary: dict[str, Any], out: Path, *, as_json: bool) -> None:
    """Print what was fitted and where it is."""
    if as_json:
        show_json({"out": str(out), **summary})
        return
    labels = summary["labels_per_class"] or [0]
    low, high = min(labels), max(labels)
    rows = [
        ("method", f"{summary['method']}: {summary['reason']}"),
        ("backbone", summary["backbone"] or "none, ready-made features"),
        ("classes", summary["classes"]),
        ("labels per class", low if low == high else f"{low} to {high}"),
        *((key, f"{_short(value)} ({summary['how'].get(key, 'fixed')})") for key, value in summary["chosen"].items()),
        ("skipped images", summary["skipped_images"]),
        ("seconds to fit", f"{summary['seconds']:.2f}"),
    ]
    if (figures := summary["evaluation"]) is not None:
        rows.append((f"accuracy, {figures['split']}", f"{_interval(figures)} on {figures['n']} images"))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        say(f"{name:<{width}}  {safe(str(value))}")
    say(f"The page is {safe(str(out / 'report.html'))}: open it in a browser.")
    say(f"The classifier is in {safe(str(out))}: clipwright predict {safe(str(out))} IMAGES...")


def accuracies(results: Results) -> list[dict[str, Any]]:
    """Mean accuracy of each method at each number of labels, as JSON; `leads`: no other is shown to be better."""
    leaders = results.leaders()
    return [
        {
            "dataset": s.dataset,
            "backbone": s.backbone,
            "method": s.method,
            "shots": s.shots,
            "draws": s.draws,
            "accuracy": s.mean,
            "low": s.low,
            "high": s.high,
            "leads": (s.dataset, s.backbone, s.method, s.shots) in leaders,
        }
        for s in results.summary()
    ]


def show_accuracies(rows: list[dict[str, Any]]) -> None:
    """Print accuracies with their intervals, by labels per class; where methods compete, the leaders are marked."""
    fields = [row["shots"] for row in rows]
    cells, marked = [], False
    for r in sorted(rows, key=lambda r: (r["shots"], r["method"])):
        mark = " *" if r["leads"] and fields.count(r["shots"]) > 1 else ""
        marked |= bool(mark)
        interval = f"{100 * r['low']:.2f} to {100 * r['high']:.2f}"
        cells.append([r["shots"], r["method"], _percent(r["accuracy"]) + mark, interval, r["draws"]])
    say(table(["labels per class", "method", "accuracy", "95 % interval", "draws"], cells))
    if marked:
        say("* best at this number of labels, or not shown to differ from the best")


def show_comparison(results: Results, out: Path, *, as_json: bool) -> None:
    """Print the table of each data set and backbone, the means over them, and where the page is."""
    from clipwright.protocol.means import means

    rows = accuracies(results)
    groups = results.groups()
    found = means(results) if len(groups) > 1 else None
    if as_json:
        over = (
            [] if found is None else [{k: v for k, v in vars(row).items() if k != "difference"} for row in found.rows]
        )
        show_json({"out": str(out), "report": str(out / "report.html"), "accuracies": rows, "means": over})
        return
    for dataset, backbone in groups:
        say(f"{safe(dataset)}, {safe(backbone)}")
        show_accuracies([row for row in rows if (row["dataset"], row["backbone"]) == (dataset, backbone)])
        say()
    if found is not None:
        of = f"{found.clusters} {found.cluster_kind}s" if found.cluster_kind != "none" else "one data set"
        say(f"mean over {len(groups)} tasks ({of})")
        cells = [
            [
                r.shots,
                safe(r.method),
                _percent(r.mean) + (" *" if r.standing else ""),
                f"{100 * r.low:.2f} to {100 * r.high:.2f}",
            ]
            for r in found.rows
        ]
        say(table(["labels per class", "method", "accuracy", "95 % interval"], cells))
        say()
    say(f"The page is {safe(str(out / 'report.html'))}: open it in a browser.")


def show_evaluation(evaluation: Evaluation) -> None:
    """Print accuracy with its interval, calibration, and the classes."""
    e = evaluation.as_json()
    rows = [
        ("images", f"{e['n']} ({_SPLITS.get(e['split'], e['split'])})"),
        ("accuracy", _interval(e)),
        ("macro accuracy", f"{_percent(e['macro'])} (mean of the classes)"),
        *((f"top-{k} accuracy", _percent(value)) for k, value in e["topk"].items()),
        ("calibration error", f"{e['ece']:.4f}"),
        ("log loss", f"{e['nll']:.4f}"),
        ("Brier score", f"{e['brier']:.4f}"),
        ("risk-coverage area", f"{e['aurc']:.4f}"),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        say(f"{name:<{width}}  {value}")
    say()
    classes = [[name, _percent(c["accuracy"]), c["n"]] for name, c in e["per_class"].items()]
    say(table(["class", "accuracy", "images"], classes))


def show_base_to_new(found: BaseToNew) -> None:
    """Print the accuracy on the base and on the new classes, and their harmonic mean."""
    e = found.as_json()
    rows = []
    for part in ("base", "new"):
        n, classes = e[part]["n"], len(e[part]["per_class"])
        rows.append((f"accuracy, {part}", f"{_interval(e[part])} on {n} images of {classes} classes"))
    rows.append(("harmonic mean", _percent(e["harmonic"])))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        say(f"{name:<{width}}  {value}")


def show_problems(problems: Sequence[tuple[str, str]], run: RunFolder | None, *, quiet: bool) -> None:
    """List images that couldn't be read: all in the run's log, the first few on standard error."""
    for number, (name, reason) in enumerate(problems):
        line = f"skipped {name}: {reason}"
        if run is not None:
            run.log(line)
        if number < _SHOWN:
            note(line, quiet=quiet)
    if len(problems) > _SHOWN:
        where = f", all in {run.folder / 'log.txt'}" if run is not None else ""
        note(f"... and {len(problems) - _SHOWN} more images that could not be read{where}", quiet=quiet)


def _interval(figures: dict[str, Any]) -> str:
    low, high = 100 * figures["low"], 100 * figures["high"]
    return f"{_percent(figures['top1'])} (95 % interval {low:.2f} to {high:.2f})"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
