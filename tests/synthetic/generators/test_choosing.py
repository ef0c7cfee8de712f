"""Options that don't belong to a generator are refused."""

from __future__ import annotations

from typing import Any

import pytest

from clipwright.core.errors import UsageError
from clipwright.synthetic.endpoint import Endpoint
from clipwright.synthetic.generators import ImagesEndpoint, Renderer
from clipwright.synthetic.generators.choosing import choose_generator

NOTHING: dict[str, Any] = {"model": None, "steps": None, "negative": "", "device": "cpu"}


def test_each_name_gives_its_generator() -> None:
    assert isinstance(choose_generator("renderer", NOTHING), Renderer)
    made = choose_generator("endpoint", {"endpoint": Endpoint("http://127.0.0.1:9/v1", "m"), "size": 256})
    assert isinstance(made, ImagesEndpoint)
    assert made.settings() == {"generator": "endpoint", "model": "m", "size": 256, "negative_prompt": ""}


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("renderer", {"steps": 5}, "takes no --steps"),
        ("renderer", {"endpoint": Endpoint("http://127.0.0.1:9/v1", "m")}, "takes no --base-url"),
        ("diffusers", {}, "needs --model"),
        ("diffusers", {"model": "owner/name"}, "needs --revision"),
        ("diffusers", {"model": "./nowhere"}, "no folder and no OWNER/NAME"),
        ("diffusers", {"model": "a/b/c", "revision": "x"}, "no folder and no OWNER/NAME"),
        ("diffusers", {"model": ".", "revision": "x"}, "is a folder"),
        ("diffusers", {"model": ".", "size": 100}, "multiple of 8"),
        ("diffusers", {"model": ".", "safety": "maybe"}, "drop or off"),
        ("endpoint", {}, "needs --base-url"),
        ("endpoint", {"guidance": 3.0}, "takes no --guidance"),
        ("camera", {}, "there is no generator 'camera'"),
    ],
)
def test_what_does_not_belong_or_is_missing_is_refused(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        choose_generator(name, options)
