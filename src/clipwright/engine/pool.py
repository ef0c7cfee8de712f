"""One function over many tasks, in order, ahead of the consumer: in threads, then in worker processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, TypeVar, cast

from clipwright.core.errors import ClipwrightError
from clipwright.engine import wire

Task = TypeVar("Task")
Result = TypeVar("Result")

_PIPE = 1 << 20  # bytes that a pipe holds, where the system lets us choose


class WorkerError(ClipwrightError):
    """A worker process died."""


def cpu_count() -> int:
    """Processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


class _InWorkerError(Exception):
    """Where in a worker an error arose."""


class _Worker:
    """A process that calls one function; see `clipwright.engine.worker`."""

    def __init__(self, function: list[wire.Buffer]) -> None:
        paths = [path or str(os.getcwd()) for path in sys.path]  # noqa: PTH109 - one word suffices
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        own_group: dict[str, Any] = {"process_group": 0} if os.name == "posix" else {}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "clipwright.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            pipesize=_PIPE,
            env={**os.environ, **threads, "PYTHONPATH": os.pathsep.join(paths)},
            **own_group,  # Ctrl-C goes to the parent alone, which then closes the workers
        )
        self.function = function

    def start(self) -> None:
        """Send the function and wait until the worker has imported what it needs."""
        assert self.process.stdin is not None  # noqa: S101 - a pipe
        assert self.process.stdout is not None  # noqa: S101 - a pipe
        wire.send(self.process.stdin, self.function)
        wire.receive(self.process.stdout)

    def call(self, task: Any) -> Any:
        """The function's value for `task`.

        Raises:
            WorkerError: the process died.
        """
        assert self.process.stdin is not None  # noqa: S101 - a pipe
        assert self.process.stdout is not None  # noqa: S101 - a pipe
        try:
            wire.send(self.process.stdin, wire.pack(task))
            value, trace = wire.receive(self.process.stdout)
        except (EOFError, OSError) as error:
            code = self.process.wait()
            cause = f"was stopped by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise WorkerError(
                f"a worker process {cause} (often for lack of memory): run the same command again, with fewer workers "
                "if it happens twice; what is already finished is kept."
            ) from error
        if trace:
            raise value from _InWorkerError(trace)
        return value

    def stop(self) -> None:
        """Stop the process at once; it holds nothing worth keeping."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Close the pipes, once nobody reads them any more."""
        for stream in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                if stream is not None:
                    stream.close()


class _Workers:
    """Worker processes that come up in the background; `take` gives None until one is ready and free."""

    def __init__(self, function: Callable[[Any], Any], count: int) -> None:
        self.free: deque[_Worker] = deque()
        self.all: list[_Worker] = []
        self.starters: list[threading.Thread] = []
        self.lock = threading.Lock()
        self.closed = False
        if not count or not sys.executable or getattr(function, "__module__", "") == "__main__":
            return
        try:
            message = wire.pack(function)
        except wire.WireError:
            return  # threads can still call it
        for _ in range(count):
            starter = threading.Thread(target=self._start, args=(message,), daemon=True)
            self.starters.append(starter)
            starter.start()

    def _start(self, message: list[wire.Buffer]) -> None:
        with self.lock:
            if self.closed:
                return
            try:
                worker = _Worker(message)
            except OSError:
                return  # no more processes allowed: the threads go on
            self.all.append(worker)
        with suppress(EOFError, OSError):  # a worker that can't import the function leaves the work to threads
            worker.start()
            self.free.append(worker)

    def take(self) -> _Worker | None:
        """A worker that is ready and free, or None."""
        try:
            return self.free.pop()
        except IndexError:
            return None

    def stop(self) -> None:
        """Stop all workers, also those still starting; whoever waits for one gets an error."""
        with self.lock:
            self.closed = True
        for worker in self.all:
            worker.stop()
        for starter in self.starters:
            starter.join()

    def close(self) -> None:
        """Close the pipes of stopped workers."""
        for worker in self.all:
            worker.close()


class _Call(Generic[Task, Result]):
    """Calls the function in a worker process if one is free, else here."""

    def __init__(self, function: Callable[[Task], Result], workers: _Workers) -> None:
        self.function = function
        self.workers = workers

    def __call__(self, task: Task) -> Result:
        worker = self.workers.take()
        if worker is None:
            return self.function(task)
        value = worker.call(task)
        self.workers.free.append(worker)
        return cast("Result", value)


def ordered(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    workers: int,
    ahead: int,
    processes: bool = False,
) -> Iterator[Result]:
    """Yield ``function(task)`` for each task, in order, working ahead while the consumer is busy.

    Threads start at once. Worker processes take over from them when they have started, so that short jobs don't wait
    for imports; they are plain child processes (no fork, no need for a ``__main__`` guard) which end with this one.

    Args:
        function: what to call; for processes it must be able to travel (`clipwright.engine.wire`), else threads do
            all the work.
        tasks: drawn lazily, at most `ahead` beyond what was consumed.
        workers: how many calls run at a time; 0 runs everything in the consumer's own thread.
        ahead: how many results may wait or be in the making.
        processes: whether to start worker processes.

    Raises:
        WorkerError: a worker process died.
    """
    if workers <= 0:
        yield from map(function, tasks)
        return
    pool = _Workers(function, workers if processes else 0)
    call = _Call(function, pool)
    threads = ThreadPoolExecutor(workers, thread_name_prefix="clipwright")
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(threads.submit(call, task))
            if len(waiting) >= max(ahead, 1):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        pool.stop()
        threads.shutdown(wait=True, cancel_futures=True)
        pool.close()
