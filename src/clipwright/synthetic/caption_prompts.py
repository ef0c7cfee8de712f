"""What a captioner is asked about an image and about a group, by the kind of data or in the user's own words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from clipwright.core.errors import UsageError
from clipwright.core.spelling import clean_name

DEFAULT_KIND = "photos"
CLASS = "{class}"
_FILE = "caption_prompts.json"
_LONGEST = 4000  # characters of one's own prompt


@dataclass(frozen=True)
class CaptionPrompts:
    """What is asked about images and groups.

    Attributes:
        image: about one image; ``{class}`` stands for the class that it is taken for.
        group: about a group; ``{class}`` likewise.
    """

    image: str
    group: str

    @property
    def names_classes(self) -> bool:
        """Whether the prompt of an image says the class that it is taken for."""
        return CLASS in self.image

    def of_image(self, class_name: str | None) -> str:
        """The prompt of an image; where the class isn't known, nothing stands for it."""
        return _said(self.image, class_name)

    def of_group(self, class_name: str) -> str:
        """The prompt of a group."""
        return _said(self.group, class_name)


def _said(prompt: str, class_name: str | None) -> str:
    name = "" if class_name is None else clean_name(class_name)
    return " ".join(prompt.replace(CLASS, name).split()) if CLASS in prompt else prompt


def kinds() -> tuple[str, ...]:
    """Kinds of data that there is a wording for."""
    return tuple(_table()["kinds"])


def kind_of(data: str) -> str:
    """The kind of a data set by its name, ``photos`` where it isn't known."""
    found: dict[str, str] = _table()["data"]
    return found.get(data.removeprefix("benchmark:"), DEFAULT_KIND)


def read_prompts(
    data: str, *, kind: str | None = None, image: str | Path | None = None, group: str | Path | None = None
) -> CaptionPrompts:
    """The prompts for a data set.

    Args:
        data: its name, which says the kind where none is given.
        kind: one of `kinds`.
        image: in place of the kind's prompt about an image: a text, or a file that holds one.
        group: in place of the one about a group.

    Raises:
        UsageError: no such kind, or a prompt that is empty, too long or can't be read.
    """
    table = _table()
    chosen = kind or kind_of(data)
    if chosen not in table["kinds"]:
        raise UsageError(f"there is no kind of data {chosen!r}: choose {', '.join(kinds())}, or give --prompt.")
    slots: dict[str, str] = table["kinds"][chosen]
    made = [_own(image, "--prompt"), _own(group, "--group-prompt")]
    # Not str.format: {class} inside a slot stays for later.
    for number, name in enumerate(("image", "group")):
        if made[number] is None:
            text: str = table[name]
            for slot, words in slots.items():
                text = text.replace("{" + slot + "}", words)
            made[number] = text
    return CaptionPrompts(str(made[0]), str(made[1]))


def _own(given: str | Path | None, option: str) -> str | None:
    """The user's prompt, from the words themselves or from the file they name."""
    if given is None:
        return None
    text = str(given)
    path = Path(text).expanduser()
    try:
        is_file = len(text) < 1000 and path.is_file()
    except (OSError, ValueError):
        is_file = False
    if is_file or isinstance(given, Path):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise UsageError(
                f"{option} {path} can't be read ({reason}): give a text, or a file that holds one."
            ) from None
    text = text.strip()
    if not text or len(text) > _LONGEST:
        raise UsageError(f"{option} must have 1 to {_LONGEST:,} characters; it has {len(text):,}.")
    return text


@cache
def _table() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((files(__package__) / _FILE).read_text(encoding="utf-8"))
    return found
