"""Generated images beside the real ones of a fit: which rows are compared, and what is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.protocol.conftest import MakePrepared

from clipwright import methods as catalogue
from clipwright.backbones import resolve
from clipwright.backbones.loaded import TowerBackbone
from clipwright.core.gap import gap
from clipwright.data import open_data
from clipwright.data.joined import join_generated, read_folder
from clipwright.fitted import Fitted
from clipwright.protocol import generated_gap as room
from clipwright.protocol.generated_gap import NOTHING_REAL, GeneratedGap, generated_gap, sheet_classes
from clipwright.protocol.prepare import Prepared, prepare
from clipwright.synthetic.generating import generate_images
from clipwright.task import TowerUpdate

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")

SPLITS = (["train"] * 6 + ["test"] * 6 + ["generated"] * 8) * 2
"""By class: rows 0-5 and 20-25 are learned from, 6-11 and 26-31 scored, the rest generated."""
MADE = np.array([*range(12, 20), *range(32, 40)])
REAL = np.array([*range(6), *range(20, 26)])


@pytest.fixture
def prepared(make_prepared: MakePrepared) -> Prepared:
    return make_prepared((20, 20), splits=SPLITS)


def _found(prepared: Prepared, support: Any, real: Any = (), fitted: Fitted | None = None) -> GeneratedGap | None:
    numbers = (np.asarray(rows, dtype=np.int64) for rows in (support, real))
    made = fitted or catalogue.make("ZeroShot").fit(prepared.task())
    return generated_gap(prepared, made, *numbers)


def test_generated_rows_are_compared_with_the_real_ones_of_the_training_side(prepared: Prepared) -> None:
    found = _found(prepared, [*REAL[:4], *MADE], REAL[4:])
    assert found is not None
    x, y = prepared.features.x.numpy(), prepared.dataset.labels
    names = prepared.dataset.class_names
    wanted = gap(x[MADE], x[REAL], generated_labels=y[MADE], real_labels=y[REAL], class_names=names)
    assert found.before == wanted
    assert found.after is None
    assert found.notes == ()  # drawn from the same Gaussians
    assert found.rows.tolist() == MADE.tolist()
    assert found.total.tolist() == [8, 8]
    assert found.as_json()["before"]["real"] == len(REAL)
    assert found.names is not None
    assert found.names.shape == (16, 2)


def test_labels_of_unlabeled_rows_stay_unknown(prepared: Prepared) -> None:
    hidden = prepared.features.labels.clone()
    hidden[REAL] = -1
    blind = replace(prepared, features=replace(prepared.features, y=hidden))
    found = _found(blind, MADE, REAL)
    assert found is not None
    assert found.before is not None
    assert found.before.by_class == {}


def test_a_sentence_warns_or_says_that_there_is_nothing_real(prepared: Prepared) -> None:
    x = prepared.features.x.clone()
    x[MADE] = -3 * x[MADE].abs()
    far = replace(prepared, features=replace(prepared.features, x=x))
    found = _found(far, MADE, REAL)
    assert found is not None
    assert found.notes[0].startswith("The generated images look unlike the real ones")
    for real in ((), REAL[:1]):
        alone = _found(prepared, MADE, real)
        assert alone is not None
        assert (alone.before, alone.after, alone.notes) == (None, None, (NOTHING_REAL,))
        assert alone.as_json() == {"before": None, "after": None}
    assert _found(prepared, REAL) is None  # nothing generated


def test_at_most_so_many_are_compared_and_the_sheet_is_whole(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MOST", 5)
    monkeypatch.setattr(room, "EACH", 3)
    found = _found(prepared, MADE, REAL)
    assert found is not None
    assert found.before is not None
    assert (found.before.generated, found.before.real) == (5, 5)
    assert found.total.tolist() == [8, 8]
    labels = prepared.dataset.labels[found.rows]
    assert np.bincount(labels).min() >= 3
    assert len(found.rows) <= 6 + 5
    again = _found(prepared, MADE[::-1], REAL[::-1])
    assert again is not None
    assert again.rows.tolist() == found.rows.tolist()
    assert again.before == found.before


@pytest.fixture
def posters(tmp_path: Path) -> tuple[Prepared, Fitted]:
    """Three posters and three photographs of each of two digits, and a fit that changed the embedded model's tower."""
    data = open_data("digits")
    assert data.reader is not None
    sources = data.table["source"].to_pylist()
    for i, row in enumerate([*np.flatnonzero(data.labels == 0)[:3], *np.flatnonzero(data.labels == 1)[:3]]):
        (tmp_path / "photos").mkdir(exist_ok=True)
        data.reader.read(sources[row]).image.save(tmp_path / "photos" / f"{i}.png")
    generate_images(["zero", "one"], tmp_path / "posters", per_class=3, quiet=True)
    joined = join_generated(open_data(tmp_path / "photos", ["zero", "one"]), read_folder(tmp_path / "posters"))
    ref = resolve("tiny", device="cpu")
    prepared = prepare(joined, ref, quiet=True)
    loaded = ref.load()
    assert isinstance(loaded, TowerBackbone)
    name, tensor = next((n, t) for n, t in loaded.image_module().state_dict().items() if t.ndim > 1)
    update = TowerUpdate(ref.spec, ref.digest, {name: 1.5 * tensor.clone()})
    return prepared, replace(catalogue.make("ZeroShot").fit(prepared.task()), tower=update)


@pytest.mark.slow
def test_the_changed_tower_is_measured_on_the_same_images(posters: tuple[Prepared, Fitted]) -> None:
    prepared, fitted = posters
    found = _found(prepared, range(6, 12), range(6), fitted)
    assert found is not None
    assert found.features is not None
    changed = prepared.answering(fitted, range(12)).x.numpy()
    np.testing.assert_allclose(found.features.x.numpy(), changed[6:], rtol=1e-4, atol=1e-5)
    for measured, x in ((found.before, prepared.features.x.numpy()), (found.after, changed)):
        assert measured is not None
        assert (measured.generated, measured.real) == (6, 6)
        assert measured.frechet == pytest.approx(gap(x[6:], x[:6]).frechet, rel=1e-3)
    assert found.after != found.before


@pytest.mark.slow
def test_an_image_that_is_gone_does_not_end_the_fit(posters: tuple[Prepared, Fitted]) -> None:
    prepared, fitted = posters
    assert prepared.dataset.root is not None
    (prepared.dataset.root / "4.png").unlink()
    found = _found(prepared, range(6, 12), range(6), fitted)
    assert found is not None
    assert found.before is not None
    assert found.after is None
    assert found.features is None
    assert "can't be read any more" in found.notes[0]


def test_classes_of_a_sheet_are_spread_evenly() -> None:
    assert sheet_classes(np.array([4, 4, 2])).tolist() == [2, 4]
    assert sheet_classes(np.array([7])).tolist() == [7]
    many = sheet_classes(np.arange(100))
    assert len(many) == room.CLASSES
    assert (many[0], many[-1]) == (0, 99)
    assert set(np.diff(many)) == {9}
