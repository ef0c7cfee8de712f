from __future__ import annotations

from collections import Counter

import pytest

from clipwright.synthetic.phrases import about, cleaned, usable


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("- a long tail.", "a long tail"),
        ("  3) four   legs ", "four legs"),
        ("12. wings", "wings"),
        ('"round ears"', "round ears"),
        ("a\ntwo\tline\u200b phrase;", "a two line phrase"),
        ("4 legs", "4 legs"),
        ("-5 degrees", "-5 degrees"),
    ],
)
def test_phrases_are_cleaned(raw: str, clean: str) -> None:
    assert cleaned(raw) == clean
    assert cleaned(clean) == clean


def test_sentences_keep_their_full_stop() -> None:
    assert cleaned("* A cat has whiskers. ", sentence=True) == "A cat has whiskers."


def test_what_is_no_phrase_is_dropped_and_counted() -> None:
    dropped: Counter[str] = Counter()
    given = [
        "tail",
        "Tail.",
        None,
        "None",
        "a photo of None",
        "n/a",
        "",
        "...",
        "x" * 500,
        "see http://a.b",
        "<|im_end|>",
    ]
    assert usable([*given, "Tiger cat", "none of the above stripes"], names=["tiger_cat"], dropped=dropped) == [
        "tail",
        "none of the above stripes",
    ]
    assert dropped == {"repeated": 1, "empty or None": 6, "too long": 1, "markup": 2, "name of a class": 1}


def test_longer_texts_may_be_sentences() -> None:
    dropped: Counter[str] = Counter()
    assert usable(["y" * 300], sentence=True, dropped=dropped) == ["y" * 300]
    assert not usable(["y" * 401], sentence=True, dropped=dropped)


def test_an_answer_must_be_about_the_class_that_was_asked_for() -> None:
    assert about("Tiger-Cat", "tiger_cat") is None
    assert about('"tiger cat"', "tiger cat") is None
    assert about("lion", "tiger cat") is not None
