from __future__ import annotations

import pytest
import torch

from clipwright.backbones import resolve
from clipwright.synthetic.closeness import Closeness
from clipwright.texts import encode_cached

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")


def test_without_a_backbone_spelling_decides() -> None:
    near = Closeness(["Tiger_cat", "lion"])
    assert near.repeats(["tiger-cat", "LION", "tiger", "cat"]) == [True, True, False, False]
    assert near.repeats([]) == []


@pytest.mark.slow
def test_with_a_backbone_the_cosine_decides() -> None:
    names, candidates = ["seven", "zero"], ["7", "circle", "square", "seven", "letter Q"]
    tiny = resolve("tiny")
    said = [f"a photo of a {name}." for name in [*names, *candidates]]
    x = torch.nn.functional.normalize(encode_cached(tiny, said).double(), dim=1)
    cosine = (x[2:] @ x[:2].T).amax(1)
    limit = float(cosine.sort().values[2:4].mean())  # between the third and the fourth
    expected = [c > limit or name == "seven" for c, name in zip(cosine.tolist(), candidates, strict=True)]
    assert Closeness(names, tiny, limit=limit).repeats(candidates) == expected
    assert Closeness(names, tiny, limit=1.1).repeats(candidates) == [False, False, False, True, False]
