"""Progress with rate and time left: a bar on a terminal, plain lines elsewhere, silence when asked; always logged."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

_PLAIN_EVERY = 5.0  # seconds between plain lines
_LOGGER = logging.getLogger(__name__)


class Advance(Protocol):
    """Called with the number of units just finished."""

    def __call__(self, count: int = 1, /) -> None:
        """Count `count` more units as done."""


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _nothing() -> str:
    return ""


@contextmanager
def progress(
    label: str, total: int, unit: str = "images", *, quiet: bool = False, meter: Callable[[], str] = _nothing
) -> Iterator[Advance]:
    """Show how a long job gets on, on standard error.

    Args:
        label: what is being done, such as ``"extract digits"``.
        total: how many units there are.
        unit: what a unit is called, in the plural.
        quiet: show nothing.
        meter: says what else counts, such as ``"12 calls, cost 0.03"``; asked whenever progress is shown.

    Yields:
        A function to call with the number of units finished since the last call.
    """
    label = "".join(c if c.isprintable() else "?" for c in label)  # it may hold the name of a stranger's file
    with _shown(label, total, unit, meter, quiet=quiet or total <= 0) as advance:
        yield _logged(advance, label, total, unit)


@contextmanager
def _shown(label: str, total: int, unit: str, meter: Callable[[], str], *, quiet: bool) -> Iterator[Advance]:
    if quiet:
        yield lambda count=1, /: None
    elif sys.stderr.isatty():
        yield from _bar(label, total, unit, meter)
    else:
        yield from _lines(label, total, unit, meter)


def _logged(advance: Advance, label: str, total: int, unit: str) -> Advance:
    """`advance` that also logs, now and then and at the end; a run's folder keeps what is logged."""
    start = last = time.monotonic()
    done = 0

    def counted(count: int = 1, /) -> None:
        nonlocal done, last
        done += count
        advance(count)
        now = time.monotonic()
        if done < total and now - last < _PLAIN_EVERY:
            return
        last = now
        rate = done / max(now - start, 1e-9)
        metrics = {"event": "progress", "label": label, "done": done, "total": total, "unit": unit, "rate": rate}
        _LOGGER.info("%s: %d/%d %s, %.1f/s", label, done, total, unit, rate, extra={"metrics": metrics})

    return counted


def _after_comma(meter: Callable[[], str]) -> str:
    text = meter()
    return f", {text}" if text else ""


def _bar(label: str, total: int, unit: str, meter: Callable[[], str]) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn(
            "{task.completed:.0f}/{task.total:.0f} {task.fields[unit]} {task.fields[rate]}{task.fields[meter]}",
            markup=False,
        ),
        TimeRemainingColumn(),
    )
    start = time.monotonic()
    shared = sys.stdout.isatty()  # else what is printed meanwhile belongs into a file or a pipe, not above the bar
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=shared) as bar:
        task = bar.add_task(label, total=total, unit=unit, rate="", meter="")
        done = 0

        def advance(count: int = 1, /) -> None:
            nonlocal done
            done += count
            rate = done / max(time.monotonic() - start, 1e-9)
            bar.update(task, advance=count, rate=f"{rate:.1f}/s", meter=_after_comma(meter))

        yield advance


def _lines(label: str, total: int, unit: str, meter: Callable[[], str]) -> Iterator[Advance]:
    start = last = time.monotonic()
    done = 0

    def advance(count: int = 1, /) -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if done < total and now - last < _PLAIN_EVERY:
            return
        last = now
        rate = done / max(now - start, 1e-9)
        left = _duration((total - done) / rate) if rate else "?"
        sys.stderr.write(f"{label}: {done}/{total} {unit}, {rate:.1f}/s, {left} left{_after_comma(meter)}\n")
        sys.stderr.flush()

    yield advance
