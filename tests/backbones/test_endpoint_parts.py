from __future__ import annotations

import numpy as np
from tests.serve.made import QUICK, served, serving, tiny

from clipwright.backbones.endpoint_client import EndpointClient
from clipwright.backbones.endpoint_parts import Question, ask_in_parts
from clipwright.core.http import HttpClient

TEXTS = Question(
    "/embed/texts",
    lambda part: {"texts": part},
    "features",
    (128,),
    costs=("texts",),
    once=(("prompts", 1),),
)


def test_items_are_asked_once_in_parts_and_come_back_in_their_order() -> None:
    with serving(served()) as watched, HttpClient(watched.url, patience=QUICK) as http:
        client = EndpointClient(http)
        items = ["d", "a", "c", "a", "b"]
        found = ask_in_parts(client, TEXTS, items, 3)
        np.testing.assert_allclose(found, tiny().texts(items).numpy(), atol=1e-5)
        assert sorted(tuple(values["texts"]) for _, values in watched.asked) == [("a", "b", "c"), ("d",)]
        assert (client.spent.texts, client.spent.prompts, client.spent.cached) == (4, 2, 0)
        np.testing.assert_array_equal(ask_in_parts(client, TEXTS, items[::-1], 3), found[::-1])
        assert len(watched.asked) == 2
        assert client.spent.cached == 2
        assert ask_in_parts(client, TEXTS, [], 3).shape == (0, 128)
