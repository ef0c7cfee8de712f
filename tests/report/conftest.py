"""A page with every section, its names as hostile as names get."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from clipwright.report.page import (
    ClassScore,
    Confusion,
    Curve,
    CurvePoint,
    Example,
    Fact,
    Gallery,
    Headline,
    Page,
    Score,
    Setting,
)
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
)


def photo(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A smooth picture, about as compressible as a photograph."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def make_page(names: tuple[str, ...] = HOSTILE, examples: int = 24, n_classes: int = 8) -> Page:
    """A page whose every text comes from `names`."""

    def name(i: int) -> str:
        return names[i % len(names)]

    curves = (
        Curve(name(0), (CurvePoint(0, 0.7, 0.66, 0.74),)),
        *(
            Curve(
                f"{name(i)}{i}",
                tuple(CurvePoint(s, m + 0.01 * i, m - 0.03, m + 0.04) for s, m in ((1, 0.72), (4, 0.8), (16, 0.9))),
            )
            for i in range(1, 6)
        ),
    )
    shown = tuple(Example(name(i), name(i), name(i + i % 2), 0.9, *data_uri(photo(i))) for i in range(examples))
    classes = tuple(ClassScore(f"{name(i)} {i}", 40 + i % 10, 50, 0.7, 0.95) for i in range(n_classes))
    return Page(
        name(0),
        name(1),
        Headline(0.912, 0.89, 0.93, name(2), name(3)),
        curves,
        tuple(
            Score(p.shots, c.method, p.mean, p.low, p.high, 10, ("best", "tied", "")[i % 3], 0.2, 0.9, p.shots + i % 2)
            for i, c in enumerate(curves)
            for p in c.points
        ),
        name(4),
        (Gallery(name(5), name(6), shown), Gallery("No pictures", "", (Example(name(0), name(1), name(2), 0.5),))),
        classes,
        name(2),
        (Confusion(name(0), name(1), 3, 50),),
        (Fact(name(0), name(1)), Fact("Command", name(2), code=True)),
        (Setting(name(0), name(1), name(2), name(3)),),
        names,
        ((name(0), name(1)), (name(7), name(2))),
        5,
    )


@pytest.fixture(scope="session")
def hostile_page() -> Page:
    """A page made of hostile names."""
    return make_page()
