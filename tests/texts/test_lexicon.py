from __future__ import annotations

from clipwright.texts.lexicon import Sense, singulars, spellings


class Words:
    """A lexicon of two irregular plurals."""

    name = "two words"

    def senses(self, word: str) -> list[Sense]:
        return []

    def irregular(self, word: str) -> tuple[str, ...]:
        return {"mice": ("mouse",), "geese": ("goose",)}.get(word, ())


def test_singulars() -> None:
    for plural, single in (
        ("dogs", "dog"), ("churches", "church"), ("boxes", "box"), ("bushes", "bush"), ("firemen", "fireman"),
        ("cherries", "cherry"), ("gases", "gas"), ("field mice", "field mouse"), ("big geese", "big goose"),
    ):  # fmt: skip
        assert single in singulars(plural, Words())
    for single in ("bass", "ox", "s", "sheep"):
        assert singulars(single, Words()) == ()


def test_spellings_are_likeliest_first() -> None:
    found = list(dict.fromkeys(spellings("T_shirt", Words())))
    assert found == ["T shirt", "T-shirt", "Tshirt"]
    assert list(spellings("t-shirt", Words()))[:3] == ["t-shirt", "t shirt", "tshirt"]
    assert next(iter(spellings("crane (bird)", Words()))) == "crane (bird)"
    assert "crane" in spellings("crane (bird)", Words())
    assert "mouse" in spellings("mice", Words())
