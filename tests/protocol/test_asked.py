"""Data behind an endpoint that keeps its features, from fit to saved classifier."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.serve.made import Watched, served, serving

import clipwright
from clipwright import api
from clipwright.core.errors import BackboneError, NeedsError, UsageError
from clipwright.data.dataset import Dataset
from clipwright.fitting import fit_run
from clipwright.task import Access

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")
PROMPTS = frozenset({Access.SCORES, Access.SOFT_PROMPT})
QUICK = {"budget": 60, "popsize": 10, "intrinsic_dim": 16}


@pytest.fixture(scope="module")
def few() -> Dataset:
    """Some images of every digit, in both splits."""
    data = clipwright.open_data("digits")
    rows = [
        row
        for split in ("train", "test")
        for label in range(10)
        for row in np.flatnonzero((data.splits == split) & (data.labels == label))[:4]
    ]
    return data.take(rows)


@pytest.fixture
def endpoint(request: pytest.FixtureRequest) -> Iterator[Watched]:
    with serving(served(request.param)) as watched:
        yield watched


@pytest.mark.parametrize("endpoint", [PROMPTS], indirect=True)
def test_craft_is_as_good_as_in_process_saved_and_loaded(endpoint: Watched, few: Dataset, tmp_path: Path) -> None:
    here = fit_run(few, backbone="tiny", method="CraFT", shots=2, hyper_parameters=QUICK, quiet=True)
    there = fit_run(
        few, backbone=f"endpoint:{endpoint.url}", method="CraFT", shots=2, hyper_parameters=QUICK, quiet=True
    )
    assert here.evaluation is not None
    assert there.evaluation is not None
    assert there.evaluation.top1 == here.evaluation.top1
    assert there.names_alone is not None
    assert there.fitted.trace.calls == there.fitted.trace.spent["requests"] > 0
    assert there.fitted.trace.spent["scorings"] == 20 * (60 + 6)  # candidates, and the working prompt of each turn
    assert there.classifier.card["calibration"].startswith("Calibration would take several further searches")
    there.classifier.save(tmp_path / "saved")
    loaded = clipwright.Classifier.load(tmp_path / "saved")
    assert loaded.asks
    asked = len(endpoint.asked)
    assert api.evaluate(loaded, few, quiet=True).top1 == there.evaluation.top1
    assert len(endpoint.asked) == asked, "the same questions were paid twice"
    assert few.reader is not None
    image = few.reader.read(few.table["source"].to_pylist()[-1]).image
    assert loaded.predict_proba([image]).shape == (1, 10)


@pytest.mark.parametrize("endpoint", [PROMPTS], indirect=True)
def test_labels_never_leave(endpoint: Watched, few: Dataset) -> None:
    spec = f"endpoint:{endpoint.url}"
    fit_run(few, backbone=spec, method="CraFT", shots=1, hyper_parameters=QUICK, quiet=True)
    for _, fields in endpoint.asked:
        assert set(fields) <= {"pixels", "handles", "names", "templates", "contexts", "words"}


@pytest.mark.parametrize("endpoint", [frozenset({Access.SCORES})], indirect=True)
def test_scores_alone(endpoint: Watched, few: Dataset) -> None:
    spec = f"endpoint:{endpoint.url}"
    picked = fit_run(few, backbone=spec, shots=2, quiet=True)
    assert picked.classifier.card["picked"] == "CraFT's refinement"
    assert picked.evaluation is not None
    names = fit_run(few, backbone=spec, shots=None, method="ScoreScaling", quiet=True)
    assert names.fitted.head.inputs == ("scores",)
    with pytest.raises(NeedsError, match=r"CraFT needs a model that takes soft prompts.*would run: ScoreScaling"):
        fit_run(few, backbone=spec, method="CraFT", shots=2, quiet=True)
    with pytest.raises(NeedsError, match=r"TaskRes needs .*image features"):
        fit_run(few, backbone=spec, method="TaskRes", shots=2, quiet=True)
    with pytest.raises(UsageError, match="grant features"):
        fit_run(few, backbone=spec, shots=2, texts="digits", quiet=True)


@pytest.mark.parametrize("endpoint", [frozenset({Access.FEATURES})], indirect=True)
def test_with_features_it_is_a_backbone_like_any_other(endpoint: Watched, few: Dataset) -> None:
    spec = f"endpoint:{endpoint.url}"
    there = fit_run(few, backbone=spec, method="TaskRes", shots=2, quiet=True)
    here = fit_run(few, backbone="tiny", method="TaskRes", shots=2, quiet=True)
    assert there.evaluation is not None
    assert here.evaluation is not None
    assert there.evaluation.top1 == pytest.approx(here.evaluation.top1, abs=0.03)


def test_nobody_there(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPWRIGHT_GIVE_UP", "0.2")
    with pytest.raises((BackboneError, clipwright.ClipwrightError), match="can't be reached"):
        fit_run(few, backbone="endpoint:http://127.0.0.1:9", method="CraFT", shots=1, quiet=True)
