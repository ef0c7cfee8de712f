"""Images that another store holds are copied from it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.features.conftest import make_folder

from clipwright.core.journal import Journal
from clipwright.data import open_data
from clipwright.features import FeatureStore, default_folder, extract


def events(store: FeatureStore) -> list[str]:
    return [row["event"] for row in Journal(store.folder / "journal.jsonl").rows()]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "pictures", 30, broken=1)


def by_name(store: FeatureStore) -> dict[str, np.ndarray]:
    """Features by file name, whatever folder the file is in."""
    found = store.features()
    assert found.ids is not None
    return {i.rsplit("/")[-1]: np.asarray(x) for i, x in zip(found.ids, found.x, strict=True)}


def test_moved_images_cost_nothing(pictures: Path, conv: Any) -> None:
    ref = conv()
    before = by_name(extract(open_data(pictures), ref, quiet=True))
    (pictures / "wasp").mkdir()
    for path in sorted((pictures / "bee").iterdir())[:4]:
        path.rename(pictures / "wasp" / path.name)
    seen = len(ref.load().batches)
    (pictures / "ant" / "0000_broken.jpg").unlink()
    after = extract(open_data(pictures), ref, quiet=True)
    assert len(ref.load().batches) == seen
    assert "copied" in events(after)
    assert by_name(after).keys() == before.keys()
    for name, x in by_name(after).items():
        np.testing.assert_array_equal(x, before[name])


@pytest.mark.parametrize(("views", "dtype"), [(0, "float32"), (2, "float16")])
def test_only_new_images_are_encoded(pictures: Path, conv: Any, tmp_path: Path, views: int, dtype: Any) -> None:
    ref = conv()
    extract(open_data(pictures), ref, views=views, dtype=dtype, quiet=True)
    more = make_folder(tmp_path / "more", 36)
    for path in sorted(more.rglob("*.jpg"))[-3:]:
        shutil.copy(path, pictures / path.parent.name / f"new{path.name}")
    ref.load().batches.clear()
    mixed = extract(open_data(pictures), ref, views=views, dtype=dtype, quiet=True)
    # three new images, and one image encoded twice to find out how long that takes
    assert sum(ref.load().batches) == 3 * (1 + views) + 2
    fresh = extract(open_data(pictures), ref, views=views, dtype=dtype, folder=tmp_path / "fresh", quiet=True)
    assert mixed.complete
    assert mixed.problems == fresh.problems
    assert mixed.contents(open_data(pictures)) == fresh.contents(open_data(pictures))
    one, other = mixed.features(), fresh.features()
    for name in ("x", "views", "pre_projection"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=2e-3 if dtype == "float16" else 1e-5, atol=1e-5)
    assert one.ids == other.ids


def test_a_changed_image_is_encoded_anew(pictures: Path, conv: Any) -> None:
    ref = conv()
    extract(open_data(pictures), ref, quiet=True)
    one, other = sorted((pictures / "cat").iterdir())[:2]
    stat = one.stat()
    shutil.copy(other, one)
    os.utime(one, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    ref.load().batches.clear()
    store = extract(open_data(pictures), ref, quiet=True)
    names = by_name(store)
    np.testing.assert_allclose(names[one.name], names[other.name], rtol=1e-6)


def test_other_models_and_views_are_no_source(pictures: Path, conv: Any) -> None:
    extract(open_data(pictures), conv(), quiet=True)
    store = extract(open_data(pictures), conv(1), quiet=True)
    assert "copied" not in events(store)
    with_views = extract(open_data(pictures), conv(), views=1, quiet=True)
    assert "copied" not in events(with_views)


def test_a_damaged_neighbour_is_passed_over(pictures: Path, conv: Any) -> None:
    data = open_data(pictures)
    extract(data, conv(), quiet=True)
    (default_folder(data, conv()) / "rows.parquet").write_bytes(b"nonsense")
    (pictures / "ant" / "0000_broken.jpg").unlink()
    assert extract(open_data(pictures), conv(), quiet=True).complete


def test_a_killed_copy_goes_on(pictures: Path, conv: Any) -> None:
    ref = conv()
    extract(open_data(pictures), ref, quiet=True)
    (pictures / "ant" / "0000_broken.jpg").unlink()
    store = extract(open_data(pictures), ref, quiet=True)
    next((store.folder / "shards").iterdir()).unlink()
    ref.load().batches.clear()
    assert extract(open_data(pictures), ref, quiet=True).complete
    assert not ref.load().batches
