from __future__ import annotations

from pathlib import Path

import pytest

from clipwright.backbones import resolve
from clipwright.backbones.base import BackboneRef
from clipwright.core.errors import UsageError
from clipwright.synthetic.captioners import CaptionEndpoint, LocalCaptioner, PhraseCaptioner, choose_captioner
from clipwright.synthetic.endpoint import Endpoint

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")


def tiny() -> BackboneRef:
    return resolve("tiny")


def test_each_name_gives_its_captioner(tmp_path: Path) -> None:
    first = choose_captioner("phrases", {"model": None}, backbone=tiny, class_names=["red"])
    assert isinstance(first, PhraseCaptioner)
    assert first.class_names == ("red",)
    second = choose_captioner(
        "transformers", {"model": str(tmp_path), "batch_size": 3}, backbone=tiny, view="anyres", device="cpu"
    )
    assert isinstance(second, LocalCaptioner)
    assert (second.batch_size, second.view, second.device) == (3, "anyres", "cpu")
    third = choose_captioner(
        "endpoint", {"endpoint": Endpoint("http://127.0.0.1:1", "m"), "max_tokens": 9}, backbone=tiny
    )
    assert isinstance(third, CaptionEndpoint)
    assert (third.model, third.max_tokens) == ("m", 9)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("oracle", {}, "no captioner 'oracle': choose phrases, transformers, endpoint"),
        ("phrases", {"batch_size": 3}, "--captioner phrases takes no --batch-size"),
        ("phrases", {"endpoint": 1}, "--captioner phrases takes no --base-url"),
        ("endpoint", {"dtype": "fp16"}, "--captioner endpoint takes no --dtype"),
        ("endpoint", {}, "needs --base-url and --model"),
        ("transformers", {}, "needs --model"),
    ],
)
def test_what_does_not_belong_is_refused(name: str, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        choose_captioner(name, options, backbone=tiny)
