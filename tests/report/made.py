"""Results and pages to try the report on, with names as hostile as names get."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from clipwright.core.intervals import Interval
from clipwright.protocol.results import Results
from clipwright.protocol.schema import PREDICTIONS
from clipwright.report.elements import (
    Bin,
    Calibration,
    Candidate,
    ClassScore,
    Confusion,
    Cost,
    Curve,
    CurvePoint,
    Evidence,
    Example,
    Fact,
    Figures,
    Gallery,
    Grid,
    Matrix,
    Picks,
    Reason,
    Score,
    Setting,
)
from clipwright.report.generated import Made, MadeClass, MadeImage
from clipwright.report.page import Headline, Overview, Page, Part
from clipwright.report.thumbnails import data_uri

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "]]> --> {{ 7*7 }} {% raw %}",
    "cost $x_1^{2}$ and $",
    "naïve 狗 🐕",
    "null\x00 bell\x07 half\ud83d turn\u202eder",
    "a" * 300,
    "שלום עולם",
    "</style></table></details>",
)
N = 400
CONFIG: dict[str, Any] = {
    "dataset": "birds",
    "dataset_digest": "d" * 64,
    "class_names": ["wren <i>", "owl"],
    "backbone": "tiny",
    "backbone_digest": "b" * 64,
    "templates": ["a photo of a {}.", "a {}."],
    "shots": [0, 1, 16],
    "draws": 4,
    "seed": 7,
    "validation": "none",
    "calibrate": False,
    "equal_labels": {},
    "images": 1000,
    "train_pool": 600,
    "test": N,
    "test_rule": "split",
    "notes": ["A note of the data set."],
    "skipped": [["a.png", "truncated"]] * 250,
    "seconds_prepare": 12.0,
    "versions": {"clipwright": "1"},
}


def results(
    shares: dict[tuple[str, int], float],
    *,
    draws: int = 4,
    keep: bool = True,
    calibrated: bool = False,
    cell: dict[str, Any] | None = None,
    **config: Any,
) -> Results:
    """Methods with exactly these shares of one difficulty-ordered test set.

    A name that ends in ``+val`` is given few-shot validation labels.
    """
    run = CONFIG | {"shots": sorted({k for _, k in shares}), "draws": draws} | config
    place = {"dataset": run["dataset"], "backbone": run["backbone"]}
    rows = [
        place | _row(method, shots, draw, share) | (cell or {})
        for (method, shots), share in shares.items()
        for draw in range(draws if shots else 1)
    ]
    best = max(shares, key=lambda k: (k[1], shares[k]))
    kept = [_predictions(run, *best, calibrated=calibrated)] if keep else []
    return Results.from_rows(rows, [run], kept)


def _row(method: str, shots: int, draw: int, share: float) -> dict[str, Any]:
    right = np.arange(N) < round(share * N)
    validated = method.endswith("+val")
    used = shots + min(shots, 4) if validated else shots
    return {
        "method": method,
        "shots": shots,
        "draw": draw,
        "top1": float(right.mean()),
        "macro": 0.5,
        "nll": 1.0,
        "ece": 0.1,
        "brier": 0.4,
        "aurc": 0.05,
        "seconds_fit": 0.5,
        "seconds_predict": 0.0,
        "peak_mib": 900.0 + draw,
        "images": 2 * used,
        "texts": 4,
        "calls": 0,
        "tokens": 0,
        "n_test": N,
        "right": np.packbits(right).tobytes(),
        "labels_per_class": [used, used],
        "validation": "few-shot" if validated else "none",
        "chosen": json.dumps({"alpha": 0.5, "steps": 10 * shots}),
        "how": json.dumps({"alpha": "fixed", "steps": "rule"}),
        "notes": ["Mind this."],
    }


def _predictions(run: dict[str, Any], method: str, shots: int, *, calibrated: bool) -> pa.Table:
    columns = [[run["dataset"]] * 4, [run["backbone"]] * 4, [method] * 4, [shots] * 4, [0] * 4]
    after = [0.8, 0.75, 0.6, 0.55] if calibrated else [None] * 4
    said: list[Sequence[Any]] = [["a", "b", "c", "d"], [0, 0, 1, 1], [0, 1, 1, 1], [0.9, 0.8, 0.7, 0.6], after]
    return pa.table([*columns, *said], schema=PREDICTIONS)


def photo(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A smooth picture, about as compressible as a photograph."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def part(names: Sequence[str] = HOSTILE, *, examples: int = 24, n_classes: int = 8, methods: int = 6) -> Part:
    """A part with every section, whose every text comes from `names`."""

    def name(i: int) -> str:
        return names[i % len(names)]

    curves = _curves(names, methods)
    scores = _scores(curves)
    shown = tuple(Example(name(i), name(i), name(i + i % 2), 0.9, *data_uri(photo(i))) for i in range(examples))
    bins = tuple(Bin(c, c - 0.1, c - 0.3, min(1.0, c + 0.1), 0.2) for c in (0.3, 0.5, 0.7, 0.9, 0.99))
    last = [s for s in scores if s.shots in {0, 16}]
    return Part(
        title=name(1),
        headline=Headline(0.912, 0.89, 0.93, name(2), name(3)),
        curves=curves,
        curves_note=name(5),
        scores=scores,
        scores_note=name(4),
        gaps=scores,
        equal=tuple(s for s in scores if s.shots),
        picks=(Picks(name(0), (1, 4, 16), (3, 3, 3), ((name(1), (3, 2, 0)), (name(2), (0, 1, 3))), name(3)),),
        candidates=(Candidate(name(0), 90, 100, 0.4, 0.01, 1.5, picked=True), Candidate(name(1))),
        choice=name(6),
        costs=tuple(Cost(s, 0.004 * 3**i, 0.01, 900.0, 160, 50, 3, 1_000) for i, s in enumerate(last)),
        costs_note=name(2),
        made=_made(names),
        galleries=(
            Gallery(name(5), name(6), shown),
            Gallery("No pictures", "", (Example(name(0), name(1), name(2), 0.5),)),
        ),
        why_classes=(Reason(name(0), name(1), 0.01, (Evidence(name(2), "attribute", 0.01),), under=name(3)),),
        why_images=(Reason(name(4), name(5), -0.01, (Evidence(name(6), "name", 0.01),), (), name(7), truth=name(0)),),
        classes=tuple(ClassScore(f"{name(i)} {i}", 40 + i % 10, 50, 0.7, 0.95) for i in range(n_classes)),
        counted=name(2),
        confusions=(Confusion(name(0), name(1), 3, 50),),
        matrix=_matrix([f"{name(i)} {i}" for i in range(n_classes)]),
        calibration=Calibration(
            bins, bins, (Figures(name(0), (0.1, 0.05), (0.9, 0.8), (0.4, 0.3), 0.02, 1.4), Figures(name(7))), name(1)
        ),
        facts=(Fact(name(0), name(1)), Fact("Seed", name(2), code=True)),
        settings=(Setting(name(0), name(1), name(2), name(3)),),
        notes=tuple(names),
        skipped=((name(0), name(1)), (name(7), name(2))),
        n_skipped=5,
    )


def page(names: Sequence[str] = HOSTILE, **more: Any) -> Page:
    """A page of one part; arguments as in `part`."""
    return Page(names[0], names[1], (part(names, **more),), facts=(Fact("Command", names[2], code=True),))


def several(names: Sequence[str] = HOSTILE, groups: int = 4) -> Page:
    """A page of several parts with an overview."""
    curves = _curves(names, 5)
    scores = _scores(curves)
    columns = tuple(curve.method for curve in curves)
    cells = tuple(next((s for s in scores if (s.method, s.shots) == (m, 16)), None) for m in columns)
    rows = tuple((f"{names[i % len(names)]} {i}", f"p{i + 1}", cells) for i in range(groups))
    picks = Picks(names[0], (1,), (4,), ((names[1], (3,)), (names[2], (1,))), names[3])
    overview = Overview(
        curves, scores, names[4], scores, scores[:4], tuple(Grid(k, columns, rows, cells) for k in (16, 4)), (picks,)
    )
    parts = tuple(part(names, examples=3, methods=3) for _ in range(groups))
    return Page(names[0], names[1], parts, overview, (Fact("Command", names[2], code=True),), tuple(names[:2]))


def _curves(names: Sequence[str], methods: int) -> tuple[Curve, ...]:
    shares = ((1, 0.72), (4, 0.8), (16, 0.9), (20, 0.905))
    return (
        Curve(names[0], (CurvePoint(0, 0.7, 0.66, 0.74),)),
        *(
            Curve(
                f"{names[i % len(names)]}{i}",
                tuple(CurvePoint(s, m + 0.01 * i, m - 0.03, m + 0.04) for s, m in shares),
            )
            for i in range(1, methods)
        ),
    )


def _scores(curves: Sequence[Curve]) -> tuple[Score, ...]:
    """Scores of these curves, one best and one tied at each number of labels."""
    found = [
        Score(
            p.shots,
            c.method,
            p.mean,
            p.low,
            p.high,
            standing=("", "best", "tied")[i] if p.shots and i < 3 else "",
            difference=Interval(-0.01 * i, -0.02 * i, 0.01) if p.shots and i > 1 else None,
            seconds_fit=0.2,
            under="10 draws",
            remark=c.method if i == 4 else "",
        )
        for i, c in enumerate(curves)
        for p in c.points
    ]
    return tuple(sorted(found, key=lambda s: s.shots))


def _made(names: Sequence[str]) -> Made:
    """More classes than are shown unfolded, with all figures or none; two rows of pictures, one of them without any."""

    def name(i: int) -> str:
        return names[i % len(names)]

    classes = [
        MadeClass(f"{name(i)} {i}", 1_200, 8, 8 - i % 8, 0.99 - 0.02 * i, 0.5, 0.4, 0.3)
        if i
        else MadeClass(name(i), 1, 1)
        for i in range(27)
    ]
    images = [
        MadeImage(name(i), 0.93, 0.4 if i else None, name(i) if i % 3 == 2 else "", *(data_uri(photo(i)) if i else ()))
        for i in range(8)
    ]
    bare = (MadeImage(name(0), None, 0.5), MadeImage(name(1), None), MadeImage(name(2), 0.1, 0.2, name(7)))
    return Made(tuple(names[:3]), tuple(classes), ((name(0), tuple(images)), (name(7), bare)), name(3))


def _matrix(names: Sequence[str]) -> Matrix:
    n = len(names)
    counts = tuple(tuple(40 if i == j else (i + j) % 3 for j in range(n)) for i in range(n))
    return Matrix(tuple(names), counts, (1,) * n, n + 5)
