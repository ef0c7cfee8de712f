"""Pages from what fits and comparisons hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from clipwright.fitting import fit_run
from clipwright.reporting import fit_report

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")


def test_names_are_escaped_on_the_page(tmp_path: Path) -> None:
    for name, shade in (("<script>alert(1)<", 40), ("b & c", 200)):
        place = tmp_path / "odd" / name
        place.mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (20, 20), (shade + i, 0, 0)).save(place / f'it\'s "{i}".png')
    run = fit_run(tmp_path / "odd", backbone="tiny", quiet=True)
    page = fit_report(run, tmp_path / "out").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
