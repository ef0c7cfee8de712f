"""Texts by the part they play, and what tells two classes apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipwright.core.errors import DataError
from clipwright.methods.coder_texts import first_kind, pair_vectors, prompts, text_blocks
from clipwright.task import TextFeatures

KINDS = ("name", "template", "attribute", "analogue", "synonym", "description", "caption")


def some(kinds: list[str], classes: list[int], rivals: list[int] | None = None, dim: int = 5) -> TextFeatures:
    x = np.random.default_rng(0).standard_normal((len(kinds), dim))
    return TextFeatures(
        torch.from_numpy(x), torch.tensor(classes), tuple(kinds), None if rivals is None else torch.tensor(rivals)
    )


def unit(text: TextFeatures) -> np.ndarray:
    x = text.x.numpy()
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


def score(text: TextFeatures, x: np.ndarray, c: int, kinds: tuple[str, ...]) -> float:
    """Stage 1 of one class and one unit row, in words: the mean over described texts and the nearest name."""
    rows, of = unit(text), [i for i in range(len(text)) if text.classes[i] == c]
    name = [i for i in of if text.kind[i] == "name"] or [i for i in of if text.kind[i] == "template"]
    parts = [x @ rows[i] for i in of if text.kind[i] in {"attribute", "analogue", "description"} & set(kinds)]
    nearest = [x @ rows[i] for i in of if text.kind[i] == "synonym" and "synonym" in kinds]
    if name:
        mean = rows[name].sum(0)
        nearest.append(x @ mean / np.linalg.norm(mean))
    return float(np.mean([*parts, max(nearest)] if nearest else parts))


@given(st.integers(1, 4), st.integers(0, 14), st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_scores_are_those_in_words(C: int, more: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = [str(rng.choice(KINDS[:2])) for _ in range(C)] + [str(k) for k in rng.choice(KINDS, more)]
    text = some(kinds, [*range(C), *rng.integers(0, C, more).tolist()])
    x = rng.standard_normal((3, 5))
    wanted = ("attribute", "analogue", "description", "synonym")
    found = text_blocks(text, wanted, torch.float64).head(1.0)(torch.from_numpy(x))
    rows = x / np.linalg.norm(x, axis=1, keepdims=True)
    expected = [[score(text, row, c, wanted) for c in range(C)] for row in rows]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_without_synonyms_it_is_one_linear_classifier() -> None:
    text = some(["name", "attribute", "analogue", "name", "attribute"], [0, 0, 0, 1, 1])
    x, rows = torch.randn(4, 5, dtype=torch.float64), unit(text)
    weight = torch.from_numpy(np.stack([rows[:3].mean(0), rows[3:].mean(0)]))
    found = text_blocks(text, ("attribute", "analogue"), torch.float64).head(10.0)(x)
    torch.testing.assert_close(found, 10 * torch.nn.functional.normalize(x, dim=1) @ weight.T)


def test_one_vs_one_texts_speak_of_no_class_alone() -> None:
    text = some(["name", "name", "attribute"], [0, 1, 0], [-1, -1, 1])
    assert len(text_blocks(text, ("attribute",), torch.float64).described) == 0
    with pytest.raises(DataError, match="class 1 has no text that CODER reads"):
        text_blocks(some(["name", "caption"], [0, 1]), (), torch.float64)


def test_names_come_before_templates_and_templates_before_names() -> None:
    text = some(["template", "name", "template", "attribute", "name"], [0, 0, 1, 2, 3])
    assert first_kind(text, ("name", "template")).tolist() == [False, True, True, False, True]
    assert prompts(text).classes.tolist() == [0, 1, 2, 3]
    assert prompts(text).kind == ("template", "template", "attribute", "name")


def one_vs_one() -> TextFeatures:
    """Pairs (0, 1) both ways, (0, 2) one way, (2, 1) both ways."""
    pairs = [(0, 1), (0, 1), (1, 0), (0, 2), (2, 1), (1, 2), (2, 1)]
    names = ["name"] * 3 + ["one-vs-one"] * len(pairs)
    return some(names, [0, 1, 2, *(a for a, _ in pairs)], [-1] * 3 + [b for _, b in pairs])


def test_pair_vectors_are_differences_of_means() -> None:
    text = one_vs_one()
    found, rows = pair_vectors(text, torch.float64), unit(text)
    assert found.pairs.tolist() == [[0, 1], [1, 2]]
    assert found.one_sided == 1
    np.testing.assert_allclose(found.vectors[0], rows[[3, 4]].mean(0) - rows[5], atol=1e-12)
    np.testing.assert_allclose(found.vectors[1], rows[8] - rows[[7, 9]].mean(0), atol=1e-12)


def test_pairs_turned_round_are_the_negative() -> None:
    """Classes in the reverse order: the same pairs, what spoke for the first now speaks for the second."""
    text, turned = one_vs_one(), one_vs_one().of_classes([2, 1, 0])
    here, there = pair_vectors(text, torch.float64), pair_vectors(turned, torch.float64)
    place = {tuple(p): v for p, v in zip(there.pairs.tolist(), there.vectors, strict=True)}
    for (a, b), vector in zip(here.pairs.tolist(), here.vectors, strict=True):
        torch.testing.assert_close(place[2 - b, 2 - a], -vector)
    assert here.one_sided == there.one_sided


def test_no_one_vs_one_texts_are_no_pairs() -> None:
    found = pair_vectors(some(["name", "name"], [0, 1]), torch.float32)
    assert found.pairs.shape == (0, 2)
    assert found.vectors.shape == (0, 5)
    assert found.one_sided == 0
