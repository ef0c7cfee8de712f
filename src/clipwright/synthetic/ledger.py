"""Answers of language models that were paid for, by what was asked, and a journal of what each of them cost."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clipwright.core.answers import Answers
from clipwright.core.hashing import digest_json
from clipwright.core.home import home
from clipwright.core.journal import Journal

FOLDER, JOURNAL_FILE = "chat", "journal.jsonl"
_FORMAT = 1


def question_key(model: str, messages: Sequence[Mapping[str, Any]], decoding: Mapping[str, Any]) -> str:
    """What one request is known by: SHA-256 (hex) of the model's name, the messages and how the answer is decoded."""
    return digest_json({"format": _FORMAT, "model": model, "messages": list(messages), "decoding": dict(decoding)})


class Ledger:
    """A folder of paid answers, shared by all runs on this machine; several may write at a time.

    Neither the messages nor the API key are kept: only the answer, the model's name, the date and the tokens.

    Args:
        folder: where they lie; ``chat`` below CLIPWRIGHT_HOME when left out.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or home() / FOLDER
        self.journal = Journal(self.folder / JOURNAL_FILE)
        self._answers = Answers(self.folder)
        self._lock = threading.Lock()

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer kept under a key, or None; a damaged one counts as none."""
        body = self._answers.get(key)
        if body is None:
            return None
        row = json.loads(body)
        whole = isinstance(row, dict) and row.get("format") == _FORMAT and isinstance(row.get("text"), str)
        return row if whole else None

    def put(self, key: str, row: Mapping[str, Any]) -> None:
        """Keep an answer for good, and write its cost into the journal; both are on disk when this returns."""
        body = json.dumps({"format": _FORMAT, **row}, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace")
        self._answers.put(key, body)
        with self._lock:
            self.journal.append({"key": key, **{k: v for k, v in row.items() if k != "text"}})
