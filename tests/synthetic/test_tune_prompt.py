from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.synthetic.painter import COLOURS, paint, painter, shown, skill
from tests.synthetic.scripted import ScriptedServer

from clipwright import open_data
from clipwright.core.errors import DataError, UsageError
from clipwright.protocol.draws import support_draw
from clipwright.synthetic.endpoint import Endpoint
from clipwright.synthetic.tune_prompt import support_rows, tune_prompt
from clipwright.texts import Row, TextBank


def test_support_images_are_those_of_a_fit_with_the_same_seed() -> None:
    data = open_data("digits")
    pool = data.rows("train", "")
    drawn = pool[support_draw(data.labels[pool], 3, 0, 7, ids=[data.ids[i] for i in pool])]
    rows = support_rows(data, 3, 7)
    assert rows.tolist() == drawn.tolist()
    assert not set(rows) & set(data.rows("test"))
    assert len(support_rows(data, None, 0)) == len(pool)


def test_data_without_labels_or_images_is_refused(tmp_path: Path) -> None:
    data = open_data(paint(tmp_path / "photos", 2))
    with pytest.raises(DataError, match="no labelled image"):
        support_rows(data.without_labels(), 1, 0)
    with pytest.raises(UsageError, match="at least 1"):
        support_rows(data, 0, 0)
    np.savez(
        tmp_path / "b.npz", image_features=np.eye(4, dtype="f4"), labels=np.array([0, 0, 1, 1]), class_names=["a", "b"]
    )
    with pytest.raises(DataError, match="bundle without images"):
        support_rows(open_data(tmp_path / "b.npz"), 1, 0)


def test_the_first_and_the_last_wording_are_compared_on_other_images(tmp_path: Path) -> None:
    folder = paint(tmp_path / "photos", 10)
    with ScriptedServer(painter) as server:
        endpoint = Endpoint(server.base_url, "painter")
        found = tune_prompt(folder, endpoint, shots=4, check=5, budget=200, quiet=True)
        card = found.card
        assert (card["support_images"], card["check_images"]) == (12, 15)
        assert card["calls"] <= 200 - 30
        assert len(server.requests) <= 200
        seen = [shown(request).tobytes() for request in server.requests]
        data = open_data(folder)
        assert data.reader is not None
        support, others = support_rows(data, 4, 0), support_rows(data, 5, 0, after=4)
        assert not set(support) & set(others)
        pixels = [np.asarray(data.reader.read(data.table["source"][int(i)].as_py()).image).tobytes() for i in others]
        assert all(1 <= seen.count(p) <= 2 for p in pixels)  # by the first wording and by the last, which may be one
        with pytest.raises(UsageError, match="no labelled image is left"):
            tune_prompt(folder, endpoint, shots=None, check=1)
        with pytest.raises(UsageError, match="support images"):
            tune_prompt(folder, endpoint, shots=4, check=5, budget=40)
    assert 0 <= card["check_right_at_start"] <= card["check_right"] <= 15


def test_a_classifier_is_found_with_the_words_of_a_bank(tmp_path: Path) -> None:
    folder = paint(tmp_path / "photos", 8)
    (folder / "red" / "broken.png").write_bytes(b"no image")
    bank = TextBank(tuple(COLOURS), (Row("red", "attribute", "like blood"), Row("red", "analogue", "unused")))
    with ScriptedServer(painter) as server:
        endpoint = Endpoint(server.base_url, "painter")
        found = tune_prompt(folder, endpoint, shots=None, budget=500, texts=bank, quiet=True)
        seen = {shown(request).tobytes() for request in server.requests}
        assert "unused" not in str(server.requests)
    assert len(seen) == 24
    assert found.card["unreadable"] == 1
    assert found.card["support_images"] == 24
    assert found.card["right"] >= found.card["right_at_start"] + 8
    assert found.card["support_accuracy"] == found.card["right"] / 24
    assert found.card["steps"][0]["right"] == found.card["right_at_start"]
    assert found.card["usage"]["calls"] == len(server.requests) == found.card["calls"] <= 500
    assert skill({"messages": found.prompt.messages("data:,")}) >= 0.8
    assert found.class_names == tuple(sorted(COLOURS))
    found.save(tmp_path / "prompt.json")  # the card is JSON
