from __future__ import annotations

from pathlib import Path

from clipwright.core.home import home
from clipwright.synthetic.ledger import Ledger, question_key

ROW = {"model": "m", "date": "2026-11-25", "text": "red ⚐", "finish": "stop", "prompt_tokens": 3}


def test_keys_follow_what_was_asked() -> None:
    messages = [{"role": "user", "content": "a"}]
    key = question_key("m", messages, {"temperature": 0})
    assert key == question_key("m", [{"content": "a", "role": "user"}], {"temperature": 0})
    others = [
        question_key("n", messages, {"temperature": 0}),
        question_key("m", [*messages, *messages], {"temperature": 0}),
        question_key("m", messages, {"temperature": 1}),
    ]
    assert len({key, *others}) == 4


def test_answers_stay_and_the_journal_tells_their_cost(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.get("ab12") is None
    ledger.put("ab12", ROW)
    assert Ledger(tmp_path).get("ab12") == {"format": 1, **ROW}
    assert ledger.journal.rows() == [{"key": "ab12", **{k: v for k, v in ROW.items() if k != "text"}}]


def test_a_damaged_answer_counts_as_none(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.put("ab12", ROW)
    (place,) = [p for p in tmp_path.rglob("ab12*") if p.is_file()]
    place.write_bytes(place.read_bytes()[:-3])
    assert ledger.get("ab12") is None
    ledger.put("ab12", ROW)
    assert ledger.get("ab12") is not None


def test_answers_lie_below_the_home_folder() -> None:
    Ledger().put("ab12", ROW)
    assert (home() / "chat" / "journal.jsonl").is_file()
