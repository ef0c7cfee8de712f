"""The pages in a real browser: nothing is cut off, fetched or run, in light and dark, wide and narrow, and in print."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.report.made import HOSTILE, photo, results

from clipwright import api
from clipwright.protocol.results import Results
from clipwright.report import comparison_page, write
from clipwright.report.page import Page

DRIVER = Path(__file__).parent / "browser.js"
LIBRARY = Path(sys.prefix) / "browser" / "node_modules"  # where .ci/browser puts it

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def drive() -> Any:
    """Opens pages and returns what is wrong, by page and way of looking; skipped where there is no browser."""
    node, chromium = shutil.which("node"), shutil.which("chromium")
    missing = [
        name
        for name, there in (("node", node), ("chromium", chromium), ("playwright-core", LIBRARY.is_dir()))
        if not there
    ]
    if missing:
        reason = f"the browser test needs {', '.join(missing)}: run make browser"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)

    def opened(pages: list[Path], place: Path) -> dict[str, list[str]]:
        task = {"chromium": chromium, "pages": [str(p) for p in pages], "profile": str(place), "pdf": str(place)}
        done = subprocess.run(
            [str(node), DRIVER, json.dumps(task)],
            env=os.environ | {"NODE_PATH": str(LIBRARY)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, list[str]] = json.loads(done.stdout)
        return found

    return opened


def _comparison(**config: Any) -> Results:
    """Two methods and names alone, called by hostile names, with validation labels and temperatures."""
    names, one, other = HOSTILE[0], HOSTILE[1], HOSTILE[7]
    shares = {(names, 0): 0.6, (one, 1): 0.7, (other, 1): 0.72, (one, 4): 0.9, (other, 4): 0.85, (f"{one}+val", 4): 0.9}
    shares |= {(one, 8): 0.93, (other, 8): 0.9}
    more: dict[str, Any] = {
        "class_names": HOSTILE[2:4],
        "shots": [0, 1, 4],
        "equal_labels": {"4": 8},
        "calibrate": True,
    }
    picked = {"chosen": json.dumps({"method": HOSTILE[0], "alpha": HOSTILE[1]})}
    return results(shares, calibrated=True, cell=picked, **(more | config))


def _photos(folder: Path) -> Path:
    """Labelled photographs and a broken one, in folders and files with quotes in their names."""
    for i in range(24):
        place = folder / ("a 'red' thing", 'the "blue" <b>')[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        photo(100 * (i % 2) + i // 8).rotate(i).save(place / f"no. {i} 'x' \"y\".png")
    (place / "broken & 'quoted'.png").write_bytes(b"no picture")
    return folder


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_pages_are_whole_readable_and_quiet_in_every_way_of_looking(
    drive: Any, hostile_page: Page, hostile_pages: Page, tmp_path: Path
) -> None:
    pages = {
        "everything": hostile_page,
        "several": hostile_pages,
        "comparison": comparison_page(_comparison(dataset=HOSTILE[0]), command=HOSTILE[5]),
        "groups": comparison_page(Results.joined([_comparison(dataset=HOSTILE[i]) for i in range(2)])),
    }
    paths = []
    for name, page in pages.items():
        paths.append(tmp_path / f"{name}.html")
        write(paths[-1], page)
    fitted = api.fit_run(_photos(tmp_path / 'it\'s "photos"'), backbone="tiny", method="auto", quiet=True)
    paths.append(api.fit_report(fitted, tmp_path / "fit").rename(tmp_path / "fit.html"))
    found = drive(paths, tmp_path)
    assert len(found) == 6 * len(paths)
    assert not any(found.values()), json.dumps({way: wrong for way, wrong in found.items() if wrong}, indent=1)
    for path in paths:
        assert (tmp_path / f"{path.name}.pdf").stat().st_size > 20_000


def test_the_driver_finds_what_is_wrong(drive: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    svg = '<svg class="chart" viewBox="0 0 100 50" width="100"><text x="90" y="20">cut off</text></svg>'
    broken.write_text(
        f"<main><h1>t</h1><script>alert(1)</script><img src='none.png' alt='gone'><p style='width:3000px'>wide</p>{svg}"
        "<p style='color:#bbb;background:#fff'>pale</p><a href='#nowhere'>x</a><section></section>"
        "<img src='http://localhost:9/x.png' alt='asked'></main>"
    )
    wrong = " | ".join(drive([broken], tmp_path)["broken.html 1280 light"])
    for expected in (
        "a script ran",
        "did not load: gone",
        "wider than the screen",
        "cuts its lettering",
        "hard to read",
        "leads nowhere",
        "can't be seen",
        "holds what it must not",
        "asked for http://localhost",
    ):
        assert expected in wrong
