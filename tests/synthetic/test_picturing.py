"""Making what is missing: the same image whatever the batch, the part or the kill; full disks and blocked classes."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from clipwright.core.atomic import DiskFullError
from clipwright.core.errors import ClipwrightError, UsageError
from clipwright.core.rng import generator
from clipwright.data import open_data
from clipwright.data.generated import Generated, read_manifest
from clipwright.synthetic.generators import BLOCKED, Picture, Renderer, Request
from clipwright.synthetic.picture_folder import PictureFolder
from clipwright.synthetic.picture_prompts import read_subjects
from clipwright.synthetic.picturing import Outcome, Plan, duration, estimate, fill, size, trial

NAMES = ["seven", "star", "Q"]


@dataclass
class Dice:
    """Images of noise that follow from prompt, seed and (as a GPU's last bits do) from the size of the batch."""

    batch_size: int = 4
    independent: bool = True
    blocked: tuple[str, ...] = ()
    lucky: bool = False
    asked: list[Request] = field(default_factory=list)
    name: str = "dice"
    model: str = "dice-1"
    save_size: int = 6

    def check(self, class_names: Sequence[str]) -> None:
        pass

    def prepare(self) -> None:
        pass

    def settings(self) -> dict[str, Any]:
        return {"generator": self.name}

    def make(self, requests: Sequence[Request]) -> Iterator[tuple[int, Picture]]:
        self.asked += requests
        for number in reversed(range(len(requests))):  # whichever order they come in
            request = requests[number]
            key = (request.prompt, 0 if self.independent else len(requests))
            noise = generator(request.seed, *key).integers(0, 256, (6, 6, 3)).astype(np.uint8)
            unlucky = request.class_name in self.blocked and not (self.lucky and request.seed % 2)
            yield number, Picture(None, BLOCKED) if unlucky else Picture(Image.fromarray(noise))


def plan_of(maker: Any, names: Sequence[str] = NAMES, **options: Any) -> Plan:
    return Plan(read_subjects(names), maker, **{"per_class": 5, "save_size": maker.save_size, **options})


def run(plan: Plan, root: Path, **options: Any) -> Outcome:
    return fill(plan, PictureFolder(root, plan.about, shard=plan.shard), quiet=True, **options)


def images(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*.png"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    outcome = run(plan_of(Renderer()), root)
    assert (outcome.made, outcome.there, outcome.blocked.total()) == (15, 0, 0)
    return root


def test_every_class_grows_and_labels_are_right(whole: Path) -> None:
    assert open_data(whole).counts().tolist() == [5, 5, 5]
    assert open_data(whole).class_names == tuple(NAMES)
    rows = read_manifest(whole)
    assert len({row["seed"] for row in rows}) == 15
    assert set(rows[0]) >= {"path", "class_id", "class", "prompt", "seed", "model", "settings", "sha256"}
    order = [unit.class_index for batch in plan_of(Renderer()).batches() for unit in batch]
    assert order == [0, 1, 2] * 5


def test_neither_batch_nor_part_nor_other_classes_change_an_image(whole: Path, tmp_path: Path) -> None:
    class Small(Renderer):
        batch_size = 2

    for part in (1, 2):
        run(plan_of(Small(), shard=(part, 2)), tmp_path / f"{part}")
        shutil.copytree(tmp_path / f"{part}", tmp_path / "both", dirs_exist_ok=True)
    assert images(tmp_path / "both") == images(whole)
    assert not set(images(tmp_path / "1")) & set(images(tmp_path / "2"))
    assert run(plan_of(Small()), tmp_path / "both").made == 0
    run(plan_of(Renderer(), ["heart", "seven"], per_class=1), tmp_path / "other")
    first, second = (
        Image.open(root) for root in (tmp_path / "other/001-seven/000000.png", whole / "000-seven/000000.png")
    )
    assert first.tobytes() == second.tobytes()


def test_only_what_is_missing_is_made(whole: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(whole, tmp_path / "copy"))
    (root / "001-star/000002.png").unlink()
    (root / "002-q/000004.png").write_bytes(images(whole)["002-q/000004.png"][:-9])
    (root / "000-seven/000000.png").write_bytes(b"")
    outcome = run(plan_of(Renderer()), root)
    assert (outcome.made, outcome.there) == (3, 12)
    assert images(root) == images(whole)
    assert run(plan_of(Renderer(), per_class=6), root).made == 3


def test_batches_that_hang_together_are_made_whole(tmp_path: Path) -> None:
    run(plan_of(Dice(independent=False)), tmp_path / "a")
    before = images(tmp_path / "a")
    (tmp_path / "a" / "000-seven/000000.png").unlink()
    maker = Dice(independent=False)
    assert run(plan_of(maker), tmp_path / "a").made == 1
    assert images(tmp_path / "a") == before
    assert len(maker.asked) == 4
    for part in (1, 2):
        run(plan_of(Dice(independent=False), shard=(part, 2)), tmp_path / "b")
    assert images(tmp_path / "b") == before


class Killed(PictureFolder):
    """Kills its process at the nth row, before or after the row is written."""

    def __init__(self, root: Path, about: Generated, left: int, after: bool) -> None:
        super().__init__(root, about)
        self.left, self.after = left, after

    def _append(self, path: str, identity: dict[str, Any], outcome: dict[str, Any]) -> None:
        self.left -= 1
        if not self.left and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        super()._append(path, identity, outcome)
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)


def _killed_run(root: Path, left: int, after: bool) -> None:
    plan = plan_of(Renderer())
    fill(plan, Killed(root, plan.about, left, after), quiet=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forking beside threads, which none of this uses
def test_killed_and_continued_equals_uninterrupted_and_nothing_is_made_twice(whole: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for left, after in ((1, False), (3, True), (4, False)):
        process = context.Process(target=_killed_run, args=(tmp_path, left, after))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    with (tmp_path / "manifest.jsonl").open("ab") as stream:
        stream.write(b'{"event": "made", "path": "000-sev')  # and a line torn by the kill
    there = images(tmp_path)
    assert {path: images(whole)[path] for path in there} == there  # every file whole
    outcome = run(plan_of(Renderer()), tmp_path)
    assert outcome.there == len(there)
    assert outcome.made == 15 - len(there)
    assert images(tmp_path) == images(whole)
    paths = [row["path"] for row in read_manifest(tmp_path)]
    assert len(set(paths)) == len(paths) == 15
    text = (tmp_path / "manifest.jsonl").read_text()
    assert text.count('"event": "made", "index"') == 15  # one row for each image: none was made twice
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_disk_that_fills_up_loses_nothing(whole: Path, tmp_path: Path) -> None:
    plan = plan_of(Renderer())
    folder = PictureFolder(tmp_path, plan.about)
    (tmp_path / "manifest.jsonl").symlink_to("/dev/full")
    with pytest.raises(DiskFullError, match="already finished is kept"):
        fill(plan, folder, quiet=True)
    assert len(images(tmp_path)) == 1
    (tmp_path / "manifest.jsonl").unlink()
    assert run(plan, tmp_path).there == 1
    assert images(tmp_path) == images(whole)


def test_a_disk_that_can_not_hold_it_is_refused_with_the_figures(tmp_path: Path) -> None:
    plan = plan_of(Dice(), per_class=10_000, save_size=1_000_000)
    said: list[str] = []
    with pytest.raises(DiskFullError, match=r"30,000 images to make need up to \d+ TiB, .* has [\d.]+ \w+ free"):
        run(plan, tmp_path, tell=said.append)
    assert said[0].startswith("30,000 images to make: at most ")
    assert images(tmp_path) == {}
    guess = estimate(plan_of(Renderer()), 15, 15, tmp_path)
    assert sum(map(len, images(tmp_path).values())) <= guess.bytes < 15 * 15_000


def test_the_estimate_is_no_less_than_what_the_images_take(whole: Path) -> None:
    taken = sum(path.stat().st_blocks * 512 for path in whole.rglob("*") if path.is_file())
    assert taken <= estimate(plan_of(Renderer()), 15, 15, whole).bytes


def test_a_blocked_class_is_recorded_others_go_on_and_luck_counts(tmp_path: Path) -> None:
    maker = Dice(blocked=("star",))
    outcome = run(plan_of(maker, retries=2), tmp_path / "a")
    assert (outcome.made, dict(outcome.blocked)) == (10, {"star": 5})
    assert len(maker.asked) == 10 + 3 * 5
    assert len({r.seed for r in maker.asked}) == 25
    rows = [row for row in read_manifest(tmp_path / "a") if row["status"] == "blocked"]
    assert {(row["class"], row["attempt"], row["reason"]) for row in rows} == {("star", 2, BLOCKED)}
    again = Dice(blocked=("star",))
    assert run(plan_of(again, retries=2), tmp_path / "a").blocked.total() == 5
    assert again.asked == []  # the same seeds would be blocked again
    data = open_data(tmp_path / "a")
    assert data.counts().tolist() == [5, 0, 5]
    assert any("blocked 5 generated images ('star')" in note for note in data.notes)
    run(plan_of(Dice(blocked=("star",), lucky=True), retries=20), tmp_path / "b")
    assert open_data(tmp_path / "b").counts().tolist() == [5, 5, 5]
    assert max(row["attempt"] for row in read_manifest(tmp_path / "b")) > 0


def test_what_came_before_a_failure_is_kept(tmp_path: Path) -> None:
    class Breaking(Dice):
        def make(self, requests: Sequence[Request]) -> Iterator[tuple[int, Picture]]:
            yield from list(super().make(requests))[:2]
            raise ClipwrightError("the server went away.")

    with pytest.raises(ClipwrightError, match="went away"):
        run(plan_of(Breaking()), tmp_path)
    assert len(images(tmp_path)) == 2
    assert run(plan_of(Dice()), tmp_path).there == 2


@pytest.mark.parametrize("names", [["only"], ["a/b", "../../x", "<script>alert(1)</script>", "x" * 5000, "."]])
def test_strange_names_and_a_single_class(tmp_path: Path, names: list[str]) -> None:
    run(plan_of(Dice(), names, per_class=2), tmp_path)
    data = open_data(tmp_path)
    assert data.class_names == tuple(names)
    assert data.counts().tolist() == [2] * len(names)
    assert {p.relative_to(tmp_path).parts[0][:4] for p in tmp_path.rglob("*.png")} == {
        f"{i:03d}-" for i in range(len(names))
    }


def test_parts_that_share_a_folder_end_with_one_table(whole: Path, tmp_path: Path) -> None:
    plans = [plan_of(Renderer(), shard=(part, 2)) for part in (1, 2)]
    folders = [PictureFolder(tmp_path, plan.about, shard=plan.shard) for plan in plans]  # both begin before either ends
    for plan, folder in zip(plans, folders, strict=True):
        fill(plan, folder, quiet=True)
    assert images(tmp_path) == images(whole)
    assert pq.read_table(tmp_path / "manifest.parquet").num_rows == 15
    assert {p.name for p in tmp_path.glob("*.jsonl")} == {"manifest-1of2.jsonl", "manifest-2of2.jsonl"}


def test_time_and_space_for_people(tmp_path: Path) -> None:
    assert [size(n) for n in (0, 900, 2048, 5_000_000, 3 << 40)] == ["0 B", "900 B", "2.0 KiB", "4.8 MiB", "3.0 TiB"]
    assert [duration(s) for s in (0.2, 61, 7325)] == ["0:00", "1:01", "2:02:05"]
    plan = plan_of(Renderer())
    assert trial(plan, [], 0) is None
    seconds = trial(plan, plan.batches(), 15)
    assert seconds is not None
    assert seconds > 0
    assert trial(plan_of(Dice(name="endpoint")), plan.batches(), 15) is None  # an image would cost money
    said: list[str] = []
    run(plan_of(Dice()), tmp_path, tell=said.append)
    assert said[1].startswith("The first 4 images took 0:0")


@pytest.mark.parametrize("options", [{"per_class": 0}, {"save_size": 0}, {"retries": -1}])
def test_numbers_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="must be positive"):
        plan_of(Dice(), **options)
