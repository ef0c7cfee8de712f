"""Small banks, miniature lexicons and the embedded model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clipwright.backbones import resolve
from clipwright.backbones.base import Backbone
from clipwright.texts import Row, TextBank

LICENCE = "  1 A licence that begins with spaces.\n  2 WordNet 3.9 Copyright 2099 by nobody.\n"

# offset-free lines of a data file: (lexicographer file, lemmas, gloss)
SYNSETS = {
    "writer": ("18", ["Crane", "Stephen_Crane"], "a writer of novels"),
    "machine": ("06", ["crane", "derrick"], 'lifts and moves heavy objects; "the crane lifted it"'),
    "bird": ("05", ["crane", "wading_crane"], "large long-necked wading bird of marshes"),
    "heron": ("05", ["heron", "Ardea"], "grey or white wading bird with a long neck"),
    "stork": ("05", ["stork", "Ardea"], "large mostly Old World wading bird"),
    "mouse": ("05", ["mouse", "small_rodent"], "any of numerous small rodents"),
    "tshirt": ("06", ["T-shirt", "tee_shirt"], "a close-fitting pullover shirt"),
    "church": ("06", ["church", "church_building"], "a place for worship"),
}
INDEX = {
    "crane": ["writer", "machine", "bird"],
    "heron": ["heron"],
    "stork": ["stork"],
    "mouse": ["mouse"],
    "t-shirt": ["tshirt"],
    "church": ["church"],
}


def write_wndb(folder: Path) -> Path:
    """A WNDB folder of a few nouns, with true byte offsets."""
    folder.mkdir(parents=True, exist_ok=True)
    data, offsets = LICENCE.encode(), {}
    for key, (number, lemmas, gloss) in SYNSETS.items():
        offsets[key] = len(data)
        words = " ".join(f"{lemma} 0" for lemma in lemmas)
        line = f"{len(data):08d} {number} n {len(lemmas):02x} {words} 001 @ 00000001 n 0000 | {gloss}  \n"
        data += line.encode()
    (folder / "data.noun").write_bytes(data)
    lines = [
        f"{word} n {len(keys)} 2 @ ~ {len(keys)} 1 {' '.join(f'{offsets[key]:08d}' for key in keys)}  \n"
        for word, keys in sorted(INDEX.items())
    ]
    (folder / "index.noun").write_text(LICENCE + "".join(lines), encoding="utf-8")
    (folder / "noun.exc").write_text("mice mouse\n", encoding="utf-8")
    return folder


@pytest.fixture
def wndb(tmp_path: Path) -> Path:
    return write_wndb(tmp_path / "dict")


@pytest.fixture(scope="session")
def tiny() -> Iterator[Backbone]:
    with pytest.warns(UserWarning, match="digits"):
        yield resolve("tiny", device="cpu").load()


@pytest.fixture
def bank() -> TextBank:
    """Two classes, every kind."""
    origin = {"source": "by hand", "model": "nobody", "date": "2026-11-25", "prompt_hash": "ab12"}
    rows = [
        Row("", "template", "a photo of one {}."),
        Row("red_fox", "name", "red fox", **origin),
        Row("red_fox", "attribute", "a bushy tail", **origin),
        Row("red_fox", "analogue", "a coyote", **origin),
        Row("red_fox", "synonym", "Vulpes_vulpes", **origin),
        Row("red_fox", "one-vs-one", "pointed ears", "cat", **origin),
        Row("cat", "description", "A cat has whiskers.", **origin),
        Row("cat", "caption", "a cat on a mat", **origin),
        Row("cat", "one-vs-one", "round pupils {}", "red_fox", **origin),
    ]
    return TextBank(("red_fox", "cat"), tuple(rows))
