from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from tests.synthetic.painter import COLOURS, paint, painter
from tests.synthetic.scripted import ScriptedServer, said

from clipwright.core.errors import FormatError, UsageError
from clipwright.synthetic.chat import Chat
from clipwright.synthetic.endpoint import Endpoint
from clipwright.synthetic.label_classifier import LabelClassifier, predict_labels
from clipwright.synthetic.wording import read_space

V1 = Path(__file__).parent.parent / "data" / "labels_only_v1.json"


def good() -> LabelClassifier:
    space = read_space(tuple(COLOURS), words={"red": ["like blood"]})
    slots = [0, 3, 0, 1]  # look at colours, answer with the exact name
    candidate = type(space.start)(tuple(slots), (1, 0, 0), 1)
    return LabelClassifier(space.prompt(candidate), "painter", card={"right": 3})


def test_predictions_come_in_order_and_say_why_there_is_none(tmp_path: Path) -> None:
    paint(tmp_path, 3)
    (tmp_path / "broken.png").write_bytes(b"nothing")
    paths = [str(tmp_path / name / f"{i}.png") for i in range(3) for name in COLOURS]
    paths.insert(4, str(tmp_path / "broken.png"))
    with ScriptedServer(painter) as server:
        endpoint = Endpoint(server.base_url, "painter", concurrency=3)
        found = list(predict_labels(good(), paths, endpoint))
        assert [p.path for p in found] == paths
        assert [p.label for p in found if p.error is None] == list(COLOURS) * 3
        assert found[4].label is None
        assert found[4].error
        asked = len(server.requests)
        assert next(good().predict([Image.open(paths[0])], Chat(endpoint))).label == "red"
        assert len(server.requests) == asked  # the same image, known by its pixels
        with pytest.raises(UsageError, match="tuned for the model 'painter'"):
            predict_labels(good(), paths, Endpoint(server.base_url, "other"))


def test_an_answer_that_is_no_class_is_one_sentence(tmp_path: Path) -> None:
    with ScriptedServer(lambda *_: said("a lovely\nview " * 20)) as server:
        endpoint = Endpoint(server.base_url, "painter")
        (found,) = good().predict([Image.new("RGB", (4, 4))], Chat(endpoint))
    assert found.label is None
    assert found.error is not None
    assert found.error.startswith("the model answered 'a lovely view")
    assert found.error.endswith("which is none of the 3 classes")
    assert len(found.error) < 150


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    good().save(tmp_path / "prompt.json")
    assert LabelClassifier.load(tmp_path / "prompt.json") == good()


def test_the_first_version_loads_for_ever() -> None:
    first = LabelClassifier.load(V1)
    assert (first.model, first.class_names, first.max_tokens, first.max_side) == ("painter", tuple(COLOURS), 64, 512)
    assert (first.prompt.words, first.prompt.order) == (("like blood", "", ""), (0, 2, 1))
    assert first.prompt.text.splitlines()[1:] == ['- "red": "like blood"', '- "blue"', '- "green"']
    assert first.prompt.system.startswith("You sort pictures")
    assert first.card == {"right": 3}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": 2}, "update clipwright"),
        ({"kind": "something else"}, "no labels-only classifier"),
        ({"words": []}, "words and order"),
        ({"order": [0, 0, 1]}, "words and order"),
        ({"max_tokens": "many"}, "damaged: max_tokens"),
        ({"surprise": 1}, "damaged: surprise"),
    ],
)
def test_foreign_damaged_and_newer_files_are_refused(changes: dict[str, object], sentence: str, tmp_path: Path) -> None:
    place = tmp_path / "prompt.json"
    place.write_text(json.dumps(json.loads(V1.read_text()) | changes))
    with pytest.raises(FormatError, match=sentence):
        LabelClassifier.load(place)


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="can't be read"):
        LabelClassifier.load(tmp_path / "none.json")
    (tmp_path / "cut.json").write_text("{")
    with pytest.raises(FormatError, match="no JSON"):
        LabelClassifier.load(tmp_path / "cut.json")
