"""What a fit and an evaluation come to, for people and for programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipwright.cli.output import safe, say, show_json, table

if TYPE_CHECKING:
    from clipwright import Classifier
    from clipwright.api import Evaluation


def fit_summary(classifier: Classifier) -> dict[str, Any]:
    """What a reader wants to know of a classifier, as JSON."""
    described = classifier.describe()
    card, trace, backbone = described["card"], described["trace"], described["backbone"]
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
        "notes": list(dict.fromkeys([*card.get("notes", ()), *trace["notes"]])),
    }


def show_fit(summary: dict[str, Any], out: Path, *, as_json: bool) -> None:
    """Print what was fitted and where it is."""
    if as_json:
        show_json({"out": str(out), **summary})
        return
    labels = summary["labels_per_class"] or []
    low, high = (min(labels), max(labels)) if labels else (0, 0)
    rows = [
        ("method", f"{summary['method']}" + (f" ({summary['reason']})" if summary["reason"] else "")),
        ("backbone", summary["backbone"] or "none: ready-made features"),
        ("classes", summary["classes"]),
        ("labels per class", low if low == high else f"{low} to {high}"),
        *((key, f"{_short(value)} ({summary['how'].get(key, 'fixed')})") for key, value in summary["chosen"].items()),
        ("skipped images", summary["skipped_images"]),
        ("seconds to fit", f"{summary['seconds']:.2f}"),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        say(f"{name:<{width}}  {safe(str(value))}")
    say(f"The classifier is in {safe(str(out))}: clipwright predict {safe(str(out))} IMAGES...")


def show_evaluation(evaluation: Evaluation) -> None:
    """Print accuracy with its interval, calibration, and the classes."""
    e = evaluation
    say(f"images    {e.n}")
    say(f"accuracy  {100 * e.top1:.2f} %  (95 % interval {100 * e.low:.2f} to {100 * e.high:.2f})")
    say(f"macro     {100 * e.macro:.2f} %  (mean of the classes)")
    for k, value in sorted(e.topk.items()):
        say(f"top-{k:<5} {100 * value:.2f} %")
    say(f"ECE       {e.ece:.4f}")
    say(f"NLL       {e.nll:.4f}")
    say()
    rows = [[name, _class_cell(value)] for name, value in e.per_class.items()]
    say(table(["class", "accuracy %"], rows))


def _class_cell(value: Any) -> str:
    accuracy = value["accuracy"] if isinstance(value, dict) else value
    return f"{100 * float(accuracy):.2f}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
