from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from clipwright.cli.run_folder import CONFIG, LOG, METRICS, RunFolder, maybe_run
from clipwright.core.errors import DataError, UsageError
from clipwright.core.progress import progress


def config(**changes: Any) -> dict[str, Any]:
    return {"clipwright": "1", "verb": "fit", "data": "digits", "seed": 0, "device": None, **changes}


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def test_a_run_leaves_config_log_and_metrics(tmp_path: Path) -> None:
    out = tmp_path / "a" / "run"
    with RunFolder(out, config()) as run:
        assert not run.resumed
        run.tell("half way\x1b", quiet=True)
        assert "half way\\x1b" in (out / LOG).read_text()  # there before the run ends
        run.metric("epoch", epoch=1, loss=0.5)
        assert rows(out)[0]["loss"] == 0.5
        run.finish(summary={"top1": 0.9})
    assert json.loads((out / CONFIG).read_text()) == config()
    assert [row["event"] for row in rows(out)] == ["epoch", "finished"]
    assert all(row["seconds"] >= 0 for row in rows(out))


def test_what_the_package_logs_reaches_the_folder_and_only_while_it_runs(tmp_path: Path) -> None:
    logger = logging.getLogger("clipwright.training.loop")
    with RunFolder(tmp_path, config()):
        logger.info("epoch %d", 3, extra={"metrics": {"loss": 0.25}})
        with progress("extract", 4, quiet=True) as advance:
            advance(4)
    logger.info("after")
    assert "epoch 3" in (tmp_path / LOG).read_text()
    assert "after" not in (tmp_path / LOG).read_text()
    found = rows(tmp_path)
    assert (found[0]["event"], found[0]["loss"]) == ("training.loop", 0.25)
    assert (found[1]["event"], found[1]["done"], found[1]["total"]) == ("progress", 4, 4)


def test_the_same_run_is_resumed_and_knows_whether_it_was_finished(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RunFolder(tmp_path, config()):
        raise KeyboardInterrupt
    with RunFolder(tmp_path, config(device="cpu"), free=("device",)) as again:
        assert again.resumed
        assert again.finished is None
        again.finish(summary=1)
    with RunFolder(tmp_path, config(clipwright="2", device="cpu", out="/elsewhere")) as third:
        assert third.finished is not None
        assert third.finished["summary"] == 1
    assert "interrupted" in (tmp_path / LOG).read_text()


def test_a_line_torn_by_a_kill_is_closed_off(tmp_path: Path) -> None:
    with RunFolder(tmp_path, config()) as run:
        run.metric("epoch", loss=0.5)
    with (tmp_path / METRICS).open("a") as stream:
        stream.write('{"event": "fin')
    with RunFolder(tmp_path, config()) as run:
        assert run.finished is None
        run.finish(summary={"b": 1, "a": 2})
    last = (tmp_path / METRICS).read_text().splitlines()
    assert len(last) == 3
    assert list(json.loads(last[2])["summary"]) == ["b", "a"]


def test_another_run_is_refused_and_named_unless_overwritten(tmp_path: Path) -> None:
    with RunFolder(tmp_path, config()) as run:
        run.finish()
    (tmp_path / "own notes.md").write_text("keep me")
    with pytest.raises(UsageError, match=r"another seed \(0, now 1\).*--overwrite"):
        RunFolder(tmp_path, config(seed=1))
    with pytest.raises(UsageError, match=r"another verb \(fit, now demo\)"):
        RunFolder(tmp_path, config(verb="demo"))
    with RunFolder(tmp_path, config(seed=1), overwrite=True) as run:
        assert run.finished is None
        assert not (tmp_path / METRICS).exists()
    assert (tmp_path / "own notes.md").read_text() == "keep me"
    assert json.loads((tmp_path / CONFIG).read_text())["seed"] == 1


def test_a_failure_that_made_nothing_does_not_block_the_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError), RunFolder(tmp_path, config(data="typo")):
        raise DataError("there is no typo.")
    assert not RunFolder(tmp_path, config()).resumed
    (tmp_path / "shard").write_text("work")
    with pytest.raises(DataError), RunFolder(tmp_path, config()):
        raise DataError("later.")
    with pytest.raises(UsageError, match="another data"):
        RunFolder(tmp_path, config(data="else"))


def test_folders_of_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"x")
    with pytest.raises(UsageError, match="not empty"):
        RunFolder(tmp_path, config())
    with pytest.raises(UsageError, match="is a file"):
        RunFolder(tmp_path / "photo.png", config())
    assert [p.name for p in tmp_path.iterdir()] == ["photo.png"]


def test_a_failure_is_logged_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError), RunFolder(tmp_path, config()):
        raise DataError("no image\nat all.")
    assert (tmp_path / LOG).read_text().splitlines()[-1].endswith("failed: no image at all.")


def test_no_folder_no_run(tmp_path: Path) -> None:
    with maybe_run(None, config()) as run:
        assert run is None
    with maybe_run(tmp_path, config()) as run:
        assert run is not None
