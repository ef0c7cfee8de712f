"""A small ``expert_knowledge`` folder as CODER releases it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

CLASSES = ["red_fox", "cat", "dog"]
ATTRIBUTES = [["a bushy tail", "pointed ears"], ["whiskers"], []]
SIMILAR = [["coyote"], ["lynx", "None"], ["wolf"]]
SYNONYMS = [{"syno": ["Vulpes vulpes"]}, {"syno": [], "cls": "cat"}, {"syno": ["hound", None]}]
PAIRS = {"red_fox": {"dog": ["an orange coat"]}, "dog": {"red_fox": ["a collar", "many colours"]}}


@pytest.fixture
def knowledge(tmp_path: Path) -> Path:
    """Four folders and, beside them, CODER's list of the classes; two kinds are pickles."""
    folder = tmp_path / "expert_knowledge"
    for name in ("attribute", "simile_class", "synonym", "ovo_attribute"):
        (folder / name).mkdir(parents=True)
    (folder / "attribute" / "small.pkl").write_bytes(pickle.dumps(ATTRIBUTES))
    (folder / "simile_class" / "small.pkl").write_bytes(pickle.dumps(SIMILAR, protocol=0))
    (folder / "synonym" / "small.json").write_text(json.dumps(SYNONYMS))
    (folder / "ovo_attribute" / "small.json").write_text(json.dumps(PAIRS))
    names = tmp_path / "datasets" / "class_name"
    names.mkdir(parents=True)
    (names / "small.txt").write_text("\n".join(CLASSES))
    return folder
