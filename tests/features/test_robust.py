"""Extractions that are killed, run twice at once, or fill the disk still give the store of an undisturbed one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clipwright.features import FeatureStore

pytestmark = pytest.mark.slow

_DRIVER = Path(__file__).parent / "driver.py"
_SHARDS = 50  # 98 images and 2 broken files, 2 rows each


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("robust") / "pictures"


@pytest.fixture(autouse=True)
def _made(pictures: Path, make_images: Callable[..., Path]) -> None:
    if not pictures.exists():
        make_images(pictures, 98, broken=2)


def drive(*arguments: object, before: tuple[str, ...] = ()) -> dict[str, Any]:
    command = [*before, sys.executable, str(_DRIVER), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def assert_equal_stores(one: Path, other: Path) -> None:
    a, b = FeatureStore.open(one), FeatureStore.open(other)
    assert a.complete
    assert b.complete
    assert a.rows.equals(b.rows)
    assert a.meta == b.meta
    names = [sorted(p.name for p in (folder / "shards").glob("*.safetensors")) for folder in (one, other)]
    assert names[0] == names[1]
    assert len(names[0]) == _SHARDS
    for name in names[0]:
        assert (one / "shards" / name).read_bytes() == (other / "shards" / name).read_bytes()


def test_killed_at_ten_random_moments(pictures: Path, tmp_path: Path) -> None:
    found = drive("kill", pictures, tmp_path, 7)
    assert found["landed"] == 10
    assert 0 < found["finished_after_each_kill"][-1] < _SHARDS
    assert found["rewritten"] == []
    assert max(Counter(found["computed"]).values()) == 1  # a kill between file and journal may leave a shard unlogged
    assert_equal_stores(tmp_path / "whole", tmp_path / "killed")


def test_two_writers_on_one_store(pictures: Path, tmp_path: Path) -> None:
    found = drive("pair", pictures, tmp_path)
    assert found["codes"] == [0, 0]
    assert not found["rewritten"]
    assert set(found["computed"]) == set(range(_SHARDS))
    assert_equal_stores(tmp_path / "whole", tmp_path / "pair")


def test_full_disk(pictures: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    unshare = ("unshare", "--mount", "--map-root-user", "--propagation", "private")
    mount = f"mount -t tmpfs -o size=2m tmpfs '{disk}'"
    if not shutil.which("unshare") or subprocess.run([*unshare, "sh", "-c", mount], check=False).returncode:
        pytest.skip("a small disk can't be mounted here")
    found = drive("full", pictures, tmp_path, disk, before=(*unshare, "sh", "-c", f'{mount} && exec "$@"', "sh"))
    assert "is full: free some space" in found["message"]
    assert 0 < found["kept"] < found["total"] == _SHARDS
    assert found["same"]
    assert found["left"] == []
    assert sorted(found["computed"]) == list(range(_SHARDS))
    assert_equal_stores(tmp_path / "whole", tmp_path / "full")
