"""A script that answers clipwright's own requests about classes as a well-behaved model would."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tests.synthetic.scripted import Response, asked, said

_NAME = re.compile(r"The (?:first )?class is (\"(?:[^\"\\]|\\.)*\")")
_RIVAL = re.compile(r"the second class is (\"(?:[^\"\\]|\\.)*\")")


def names_in(request: Mapping[str, Any]) -> tuple[str, str]:
    """The class and the rival that a request is about; the rival is empty where there is none."""
    text = asked(request)
    first, second = _NAME.search(text), _RIVAL.search(text)
    if first is None:  # a repair: the question stands two messages before
        text = request["messages"][1]["content"]
        first, second = _NAME.search(text), _RIVAL.search(text)
    assert first is not None
    return json.loads(first[1]), json.loads(second[1]) if second else ""


def phrases_about(name: str, count: int, word: str) -> list[str]:
    return [f"{word} {number} of {len(name)} letters" for number in range(count)]


class Expert:
    """Answers attribute, synonym, description, descriptor and one-vs-one requests; look-alikes as given."""

    def __init__(self, look_alikes: Sequence[Sequence[str]] = (("twin one", "twin two"),)) -> None:
        self.look_alikes = look_alikes
        self.rounds: dict[str, int] = {}

    def __call__(self, request: dict[str, Any], number: int) -> Response:
        del number
        name, rival = names_in(request)
        text = request["messages"][1]["content"]
        if rival:
            value: dict[str, Any] = {
                "first_name": name,
                "second_name": rival,
                "first": [f"feature of {len(name)}", "shared feature", name],
                "second": ["shared feature", f"feature of {len(rival)} letters"],
            }
        else:
            value = {"name": name, "phrases": self._phrases(name, text), "mood": "helpful"}
        return said(json.dumps(value))

    def _phrases(self, name: str, text: str) -> list[str]:
        if "mistaken" in text:
            at = self.rounds.get(name, 0)
            self.rounds[name] = at + 1
            return list(self.look_alikes[min(at, len(self.look_alikes) - 1)])
        if "sentences" in text:
            return [f"A photo of {name} number {number}, {text[60:90]}." for number in range(2)]
        if "exactly the same thing" in text:
            return [f"{name} by another name", name, "None"]
        return phrases_about(name, 3, "often part" if "settle" in text else "part")
