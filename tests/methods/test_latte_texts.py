"""Texts as rows of one table of tokens: equal ones once, cut at the longest, missing ones marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tests.methods.latte_lookup import made_task

from clipwright.core.errors import NeedsError
from clipwright.core.tensors import unit_rows
from clipwright.methods.latte_texts import Found, Texts, TokenTable, captions_of
from clipwright.task import Features, Task, TextFeatures


class Words:
    """A tower that cuts tokens at the longest text, one token a letter."""

    def tokens(self, texts: Sequence[str]) -> torch.Tensor:
        longest = max(len(text) for text in texts)
        return torch.tensor([[*map(ord, text), *([0] * (longest - len(text)))] for text in texts])


def words() -> Any:
    return Words()


def test_equal_texts_share_a_row_and_tokens_are_cut() -> None:
    table = TokenTable(words(), ["ab", "abcd", "ab", "x"])
    assert list(table.texts) == ["ab", "abcd", "x"]
    assert table.rows(["x", "ab", "ab", "none"]).tolist() == [2, 0, 0, -1]
    for chosen in ([0, 2], [2], [1, 2]):
        expected = words().tokens([list(table.texts)[i] for i in chosen])
        assert torch.equal(table(torch.tensor(chosen)), expected)


def some() -> Texts:
    task = Task(
        ("a", "b", "c"),
        TextFeatures(torch.eye(3)[[0, 1, 2, 0]], torch.tensor([0, 1, 2, 0]), texts=("A", "B", "C", "AA")),
    )
    groups = TextFeatures(torch.eye(3)[[0, 0, 0, 0]], torch.tensor([2, 0, 2, 0]), texts=("g2", "g0", "A", ""))
    return Texts.of(task, words(), ["one", "", "A", "one"], groups, n=4)


def test_whose_texts_are_whose() -> None:
    texts = some()
    names = list(texts.table.texts)
    assert names == ["A", "B", "C", "AA", "one", "g0", "g2"]
    assert texts.captions.tolist() == [4, -1, 0, 4]
    assert [names[i] for i in texts.pool] == ["g0", "g2", "A"]
    assert texts.counts.tolist() == [1, 0, 2]
    assert texts.kinds == ["class texts", "image captions", "group captions"]
    draws = torch.tensor([0.99, 0.0, 0.49, 0.5, 0.999999])
    assert texts.groups(torch.tensor([0, 1, 2, 2, 2]), draws).tolist() == [5, -1, 6, 0, 0]
    assert texts.needed(torch.tensor([0, 2]), texts.captions, torch.tensor([-1, 6])).tolist() == [0, 2, 3, 4, 6]


def test_prompts_of_a_class_are_averaged() -> None:
    texts, rows = some(), torch.tensor([0, 2, 3, 4])
    embeddings = torch.randn(4, 3, dtype=torch.float64, generator=torch.manual_seed(0))
    found = Found(rows, embeddings)
    unit = unit_rows(embeddings)
    assert torch.equal(found(torch.tensor([4, 0, 4])), unit[[3, 0, 3]])
    made = found.class_texts(texts, torch.tensor([2, 0, 0]))
    torch.testing.assert_close(made[0], unit_rows(unit[[0, 2]].mean(0)))
    torch.testing.assert_close(made[2], unit[1])
    assert not made[1].any()


def test_what_is_missing() -> None:
    task = made_task()
    bare = Texts.of(task, task.access, None, None, n=23)  # type: ignore[arg-type] # a lookup tower
    assert bare.kinds == ["class texts"]
    assert bare.groups(torch.tensor([1, 2]), torch.zeros(2)).tolist() == [-1, -1]
    assert captions_of(Features(torch.zeros(2, 3))) is None
    assert captions_of(Features(torch.zeros(2, 3), caption_texts=("", ""))) is None
    with pytest.raises(NeedsError, match="the texts of the captions"):
        captions_of(Features(torch.zeros(2, 3), captions=torch.ones(2, 3)))
