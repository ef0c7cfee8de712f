"""A classifier fitted once for all tests of the command line."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

import clipwright


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a zero-shot classifier of digits by the embedded model."""
    home = os.environ.get("CLIPWRIGHT_HOME")
    os.environ["CLIPWRIGHT_HOME"] = str(tmp_path_factory.mktemp("home"))
    try:
        folder = tmp_path_factory.mktemp("saved") / "digits"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "tiny knows only ..." is not what these tests are about
            return clipwright.fit("digits", backbone="tiny", method="ZeroShot", quiet=True).save(folder)
    finally:
        os.environ.pop("CLIPWRIGHT_HOME")
        if home is not None:
            os.environ["CLIPWRIGHT_HOME"] = home


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of each of three digits, in class folders, two more broken."""
    data = clipwright.open_data("digits")
    assert data.reader is not None
    folder = tmp_path_factory.mktemp("digits-folder")
    sources = data.table["source"].to_pylist()
    for index in (0, 1, 7):
        place = folder / data.class_names[index]
        place.mkdir()
        for number, row in enumerate((data.labels == index).nonzero()[0][:12]):
            data.reader.read(sources[row]).image.save(place / f"{number:02d}.png")
    first = next(iter(sorted(folder.iterdir())))
    (first / "broken.png").write_bytes(b"not an image")
    (first / "cut.png").write_bytes((first / "00.png").read_bytes()[:60])
    return folder
