"""Working ahead in threads and worker processes."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped] # it has no annotations
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipwright.engine import WorkerError, cpu_count, ordered
from clipwright.engine.pool import _Worker
from clipwright.engine.wire import pack

_HELPERS = '''
import os, signal, sys, time
import numpy as np
from clipwright.engine import WorkerError, ordered

def where(parent):
    """The process this ran in; slow here, so that the workers get their share."""
    if os.getpid() == parent:
        time.sleep(0.05)
    return os.getpid()

def double(x):
    return 2 * x

def die(parent):
    if os.getpid() == parent:
        time.sleep(0.02)
        return 0
    os.kill(os.getpid(), signal.SIGKILL)

class Odd(Exception):
    def __init__(self, a, b):
        super().__init__(a + b)

def fail(task):
    parent, odd = task
    if os.getpid() == parent:
        time.sleep(0.02)
        return 0
    raise Odd("it ", "failed") if odd else ValueError("it failed")
'''


@pytest.fixture
def run(tmp_path: Path) -> object:
    """Run a program that can import the helpers above; its last line is JSON."""
    (tmp_path / "helpers.py").write_text(_HELPERS)

    def run_program(text: str) -> object:
        program = tmp_path / "program.py"
        program.write_text(f"import json, helpers\nfrom helpers import *\n{text}\n")
        done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run_program


@given(st.lists(st.integers(-50, 50), max_size=30), st.integers(0, 4), st.integers(1, 9))
def test_results_come_in_order(values: list[int], workers: int, ahead: int) -> None:
    assert list(ordered(abs, values, workers=workers, ahead=ahead)) == [abs(v) for v in values]


def test_tasks_are_drawn_lazily() -> None:
    drawn = []

    def tasks() -> Iterator[int]:
        for i in range(100):
            drawn.append(i)
            yield i

    results = ordered(abs, tasks(), workers=2, ahead=5)
    assert next(results) == 0
    assert len(drawn) <= 6
    results.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("clipwright")]


def test_errors_arrive_and_nothing_is_left_behind() -> None:
    with pytest.raises(ValueError, match="math domain"):
        list(ordered(math.sqrt, [4.0, -1.0, 9.0], workers=2, ahead=3))
    assert not [t for t in threading.enumerate() if t.name.startswith("clipwright")]


def test_interrupt_in_the_consumer_stops_everything() -> None:
    results = ordered(abs, iter(int, 1), workers=2, ahead=4, processes=True)
    for _ in range(3):
        next(results)
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt)  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("clipwright")]
    assert not psutil.Process().children()


def test_a_worker_answers_with_large_arrays_and_errors() -> None:
    worker = _Worker(pack(np.negative))
    try:
        worker.start()
        large = np.arange(3_000_000, dtype=np.float32).reshape(3, -1)
        assert np.array_equal(worker.call(large), -large)
        assert worker.call(large).flags.writeable
        with pytest.raises(RuntimeError, match="did not contain a loop") as caught:
            worker.call("text")
        assert "in _answer" in str(caught.value.__cause__)
        assert worker.call(np.float64(2.0)) == -2.0
    finally:
        worker.stop()
        worker.close()


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_dead_worker_is_one_sentence() -> None:
    worker = _Worker(pack(abs))
    worker.start()
    worker.process.send_signal(signal.SIGKILL)
    with pytest.raises(WorkerError, match=r"stopped by signal 9 \(often for lack of memory\): run the same command"):
        worker.call(1)
    worker.close()


@pytest.mark.slow
def test_processes_take_over_without_a_main_guard(run: object) -> None:
    found = run(  # type: ignore[operator]
        "me = os.getpid()\n"
        "seen = list(ordered(where, [me] * 400, workers=2, ahead=6, processes=True))\n"
        "print(json.dumps([me in seen, len(set(seen)), len(seen)]))"
    )
    assert found == [True, 3, 400]


@pytest.mark.slow
def test_functions_of_the_main_program_run_in_threads(run: object) -> None:
    found = run(  # type: ignore[operator]
        "def mine(x):\n    return os.getpid()\n"
        "print(json.dumps(len(set(ordered(mine, range(50), workers=2, ahead=4, processes=True)))))"
    )
    assert found == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_worker_that_dies_at_work_ends_the_job(run: object) -> None:
    found = run(  # type: ignore[operator]
        "try:\n    list(ordered(die, [os.getpid()] * 1000, workers=2, ahead=6, processes=True))\n"
        "except WorkerError as error:\n    print(json.dumps(str(error)))"
    )
    assert "was stopped by signal 9" in str(found)


@pytest.mark.slow
def test_errors_of_any_kind_come_back_from_workers(run: object) -> None:
    found = run(  # type: ignore[operator]
        "said = []\n"
        "for odd in (True, False):\n"
        "    tasks = [(os.getpid(), odd)] * 1000\n"
        "    try:\n        list(ordered(fail, tasks, workers=1, ahead=2, processes=True))\n"
        "    except Exception as error:\n        said.append(str(error))\n"
        "print(json.dumps(said))"
    )
    assert found == ["Odd: it failed", "it failed"]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_no_worker_outlives_a_killed_parent(tmp_path: Path) -> None:
    program = (
        "import itertools, time\nfrom clipwright.engine import ordered\n"
        "for _ in ordered(time.sleep, itertools.repeat(0.01), workers=2, ahead=4, processes=True):\n"
        "    print('.', flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        workers: list[psutil.Process] = []
        while len(workers) < 2:
            parent.stdout.readline()
            workers = psutil.Process(parent.pid).children()
        parent.kill()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_ends_parent_and_workers(tmp_path: Path) -> None:
    program = (
        "import itertools, time\nfrom clipwright.engine import ordered\n"
        "try:\n"
        "    for _ in ordered(time.sleep, itertools.repeat(0.01), workers=2, ahead=4, processes=True):\n"
        "        print('.', flush=True)\n"
        "except KeyboardInterrupt:\n    print('clean', flush=True)"
    )
    arguments = [sys.executable, "-c", program]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0) as parent:
        assert parent.stdout is not None
        workers: list[psutil.Process] = []
        while len(workers) < 2:
            parent.stdout.readline()
            workers = psutil.Process(parent.pid).children()
        os.killpg(parent.pid, signal.SIGINT)
        out, err = parent.communicate(timeout=60)
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
    assert out.decode().splitlines()[-1] == "clean"
    assert err == b""
    assert parent.returncode == 0


def test_processors_are_counted() -> None:
    assert 1 <= cpu_count() <= (os.cpu_count() or 1)
