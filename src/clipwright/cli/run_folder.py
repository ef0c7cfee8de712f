"""A run's folder: the resolved config, a log and metrics that are flushed as it goes."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from clipwright.cli.failures import sentence
from clipwright.cli.options import ABOUT
from clipwright.cli.output import json_text, safe
from clipwright.core.atomic import disk_errors, write_bytes
from clipwright.core.errors import UsageError
from clipwright.core.journal import Journal

CONFIG, LOG, METRICS = "config.json", "log.txt", "metrics.jsonl"


class RunFolder:
    """The folder of one run, open while it runs.

    Args:
        folder: where the run writes.
        config: the resolved config of this run.
        overwrite: whether the traces of a run with another config may be replaced.
        free: options that may differ between a run and its continuation, because they don't change the result.
        products: files that the run ends with; `overwrite` removes those of the run before.
        shard: ``I/N``; where N isn't 1, others may work in the folder, and `overwrite` is refused unless it is empty.

    Attributes:
        resumed: whether an earlier run with the same config was found.
        finished: the metrics that the earlier run ended with, or None where it didn't end.

    Raises:
        UsageError: the folder holds something else, or a run with another config, and `overwrite` is false.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        *,
        overwrite: bool = False,
        free: tuple[str, ...] = (),
        products: tuple[str, ...] = (),
        shard: str = "1/1",
    ) -> None:
        self.folder = folder
        self.config = dict(config)
        self.resumed = False
        self.finished: dict[str, Any] | None = None
        self._start = time.monotonic()
        if overwrite and not shard.strip().endswith("/1"):
            self._spare_others()
        self._claim(overwrite, ("out", *free), products)
        self._handler = _Handler(self)

    def _claim(self, overwrite: bool, free: tuple[str, ...], products: tuple[str, ...]) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"--out {self.folder} is a file: give a folder.")
        overwrite = overwrite or self._came_to_nothing()
        before = None if overwrite else _read(self.folder / CONFIG)
        if overwrite:
            for name in (*products, METRICS, LOG, CONFIG):
                (self.folder / name).unlink(missing_ok=True)
        elif before is not None:
            if difference := _difference(before, self.config, free):
                raise UsageError(
                    f"--out {self.folder} holds a run with another {difference}: "
                    "choose another folder, or give --overwrite."
                )
            self.resumed = True
            ends = [row for row in Journal(self.folder / METRICS).rows() if row.get("event") == "finished"]
            self.finished = ends[-1] if ends else None
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise UsageError(
                f"--out {self.folder} is not empty and holds no run of this verb: "
                "choose another folder, or give --overwrite to write into it."
            )
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        if before != self.config:  # a finished run may lie where nothing can be written
            write_bytes(self.folder / CONFIG, (json_text(self.config, indent=2) + "\n").encode())

    def _spare_others(self) -> None:
        """Refuse where one of several parts would remove what there is."""
        if self.folder.is_dir() and any(self.folder.iterdir()) and not self._came_to_nothing():
            raise UsageError(
                f"--overwrite with --shard would remove what other parts made in {self.folder}: name another folder, "
                "or delete that one before the parts start."
            )

    def _came_to_nothing(self) -> bool:
        """Whether all that is here are the traces of a run that failed before it made anything, as after a typo."""
        if not self.folder.is_dir() or {p.name for p in self.folder.iterdir()} != {CONFIG, LOG, METRICS}:
            return False
        rows = Journal(self.folder / METRICS).rows()
        return bool(rows) and rows[-1].get("event") == "failed" and _read(self.folder / CONFIG) is not None

    def __enter__(self) -> Self:
        logger = logging.getLogger("clipwright")
        logger.addHandler(self._handler)
        self._level = logger.level
        logger.setLevel(logging.INFO)
        state = "continued" if self.resumed else "started"
        self.log(f"clipwright {self.config.get('clipwright')} {self.config.get('verb')}: {state}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logger = logging.getLogger("clipwright")
        logger.removeHandler(self._handler)
        logger.setLevel(self._level)
        if isinstance(error, KeyboardInterrupt):
            self.log("interrupted")
        elif error is not None:
            self.log(f"failed: {sentence(error)}")
            self.metric("failed", reason=sentence(error))

    def log(self, text: str) -> None:
        """Append a line to log.txt."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        path = self.folder / LOG
        with disk_errors(path), path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(f"{stamp} {safe(text)}\n")

    def tell(self, text: str, *, quiet: bool = False) -> None:
        """Append a line to log.txt and show it on standard error."""
        self.log(text)
        if not quiet:
            sys.stderr.write(safe(text) + "\n")
            sys.stderr.flush()

    def metric(self, event: str, **values: Any) -> None:
        """Append a row to metrics.jsonl; another process sees it at once."""
        self._append({"event": event, "seconds": round(time.monotonic() - self._start, 3), **values})

    def _append(self, row: dict[str, Any], *, sync: bool = False) -> None:
        path = self.folder / METRICS
        line = (json_text(row) + "\n").encode()
        with disk_errors(path), path.open("ab+") as stream:
            if stream.seek(0, os.SEEK_END) and not _ends_a_line(stream):
                line = b"\n" + line  # a kill tore the line before
            stream.write(line)
            stream.flush()
            if sync:
                os.fsync(stream.fileno())

    def finish(self, **values: Any) -> None:
        """Record for good that the run is done; the same command run again then has nothing to do."""
        self._append({"event": "finished", "seconds": round(time.monotonic() - self._start, 3), **values}, sync=True)
        self.log("finished")


class _Handler(logging.Handler):
    """Sends what the package logs to the run's folder; ``extra={"metrics": {...}}`` makes a row of metrics."""

    def __init__(self, run: RunFolder) -> None:
        super().__init__(logging.INFO)
        self._run = run

    def emit(self, record: logging.LogRecord) -> None:
        self._run.log(record.getMessage())
        metrics = getattr(record, "metrics", None)
        if isinstance(metrics, dict):
            event = str(metrics.get("event", record.name.removeprefix("clipwright.")))
            self._run.metric(event, **{k: v for k, v in metrics.items() if k not in {"event", "seconds"}})


def _ends_a_line(stream: BinaryIO) -> bool:
    stream.seek(-1, os.SEEK_END)
    return stream.read(1) == b"\n"


def _read(path: Path) -> dict[str, Any] | None:
    """The config of an earlier run, or None."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and "verb" in value else None


def _difference(before: Mapping[str, Any], now: Mapping[str, Any], free: tuple[str, ...]) -> str | None:
    """The first option in which two configs differ, in words, or None."""
    if before.get("verb") != now.get("verb"):
        return f"verb ({before.get('verb')}, now {now.get('verb')})"
    plain = json.loads(json_text(now))
    for key in [*plain, *(k for k in before if k not in plain)]:
        if key not in ABOUT and key not in free and before.get(key) != plain.get(key):
            return f"{key} ({json_text(before.get(key))}, now {json_text(plain.get(key))})"
    return None


@contextmanager
def maybe_run(folder: Path | None, config: Mapping[str, Any], **options: Any) -> Iterator[RunFolder | None]:
    """A run's folder (`options` as for `RunFolder`) where one was asked for, else None."""
    if folder is None:
        yield None
        return
    with RunFolder(folder, config, **options) as run:
        yield run
