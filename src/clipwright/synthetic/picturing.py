"""Making the images that a folder lacks: which ones, with which seeds, and what they will cost in time and space."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clipwright.core.atomic import DiskFullError, write_bytes
from clipwright.core.errors import UsageError
from clipwright.core.progress import progress
from clipwright.core.rng import generator as numbers
from clipwright.data.generated import BLOCKED, Generated
from clipwright.engine.partition import Shard, part_of
from clipwright.synthetic.generators.base import ImageGenerator, Picture, Request
from clipwright.synthetic.picture_folder import PictureFolder, folder_names, png_bytes
from clipwright.synthetic.picture_prompts import Subjects

_BLOCK = 4096  # bytes that file systems give out at a time
_OVERHEAD = 3072  # of a PNG file, and of its rows in the journal and in the table


@dataclass(frozen=True)
class Unit:
    """One image: the class it shows, and which of the class's images it is."""

    class_index: int
    index: int


@dataclass(frozen=True)
class Estimate:
    """What a run is about to do.

    Attributes:
        total: images of this part of the work.
        missing: of these, how many aren't there yet.
        bytes: about the most that they take on disk.
        free: bytes that the disk has left.
        seconds: how long they take, or None where nobody tried.
    """

    total: int
    missing: int
    bytes: int
    free: int
    seconds: float | None = None

    def sentence(self) -> str:
        """What a user wants to know before it starts."""
        there = f" ({self.total - self.missing:,} of {self.total:,} are there)" if self.missing < self.total else ""
        time_ = "" if self.seconds is None else f", about {duration(self.seconds)}"
        return f"{self.missing:,} images to make{there}: at most {size(self.bytes)} of {size(self.free)} free{time_}."


@dataclass(frozen=True)
class Plan:
    """All that is to be made.

    Attributes:
        subjects: classes and prompts.
        maker: makes the images.
        per_class: images of each class.
        seed: of the run.
        save_size: pixels per side of a saved image.
        retries: how many further seeds are tried for an image that a safety filter blocks.
        shard: (I, N), the part that this run does.

    Raises:
        UsageError: a number out of range.
    """

    subjects: Subjects
    maker: ImageGenerator
    per_class: int
    seed: int = 0
    save_size: int = 224
    retries: int = 2
    shard: Shard = (1, 1)

    def __post_init__(self) -> None:
        if self.per_class < 1 or self.save_size < 1 or self.retries < 0:
            raise UsageError("--per-class and --save-size must be positive, --safety-retries at least 0.")

    @property
    def about(self) -> Generated:
        """Classes and settings, as the folder keeps them."""
        names = self.subjects.class_names
        own = {"seed": self.seed, "save_size": self.save_size, "safety_retries": self.retries}
        settings = json.loads(json.dumps({**self.maker.settings(), **own}))
        return Generated(names, self.subjects.prompt_names, folder_names(names), self.subjects.templates, settings)

    def batches(self) -> list[list[Unit]]:
        """The units of this part, in batches: one image of every class after the other, so that all classes grow.

        Where an image's last bits depend on its neighbours, whole batches are dealt out to parts, always the same ones.
        """
        units = [Unit(c, i) for i in range(self.per_class) for c in range(len(self.subjects.class_names))]
        if self.maker.independent:
            mine = part_of([f"{u.index:09d} {u.class_index:09d}" for u in units], self.shard)
            units = [units[number] for number in mine]
        step = self.maker.batch_size
        found = [units[start : start + step] for start in range(0, len(units), step)]
        if self.maker.independent:
            return found
        return [found[number] for number in part_of([f"{n:09d}" for n in range(len(found))], self.shard)]

    def image_seed(self, unit: Unit, attempt: int) -> int:
        """What an image is made from: its class's name, its number, the seed of the run, and how often it was tried."""
        name = self.subjects.class_names[unit.class_index]
        return int(numbers(self.seed, "generate", name, unit.index, attempt).integers(2**31))

    def request(self, unit: Unit, attempt: int = 0) -> Request:
        """What the generator is asked for."""
        name = self.subjects.class_names[unit.class_index]
        return Request(name, self.subjects.prompt(unit.class_index, unit.index), self.image_seed(unit, attempt))

    def identity(self, unit: Unit, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What an image is known by; with it in the manifest, the image isn't made again."""
        return {
            "class_id": unit.class_index,
            "class": self.subjects.class_names[unit.class_index],
            "index": unit.index,
            "prompt": self.subjects.prompt(unit.class_index, unit.index),
            "model": self.maker.model,
            "settings": dict(settings),
        }


@dataclass
class Outcome:
    """What a run made.

    Attributes:
        made: images made now.
        there: images that were there.
        blocked: images that a safety filter blocked, now or before, by class.
        seconds: how long making them took.
    """

    made: int = 0
    there: int = 0
    blocked: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def estimate(plan: Plan, missing: int, total: int, out: Path) -> Estimate:
    """How much space `missing` images take, next to what is left where `out` lies or will lie."""
    each = -(-(plan.save_size**2 * 3 + _OVERHEAD) // _BLOCK) * _BLOCK + _OVERHEAD
    place = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    return Estimate(total, missing, missing * each, shutil.disk_usage(place).free)


def lacking(
    plan: Plan, folder: PictureFolder, settings: Mapping[str, Any], *, adopt: bool = True
) -> tuple[list[list[Unit]], Outcome, int]:
    """Batches with a unit that isn't there yet, what is there, and how many units are missing.

    Files that a killed run left without a row get one, unless `adopt` is false: then nothing is written.
    """
    outcome, batches, missing = Outcome(), [], 0
    for batch in plan.batches():
        paths = [folder.path(u.class_index, u.index) for u in batch]
        known = [folder.has(p, plan.identity(u, settings), adopt=adopt) for u, p in zip(batch, paths, strict=True)]
        left = [u for u, there in zip(batch, known, strict=True) if not there]
        outcome.there += len(batch) - len(left)
        missing += len(left)
        if left:
            batches.append(left if plan.maker.independent else batch)
    return batches, outcome, missing


def trial(plan: Plan, batches: Sequence[Sequence[Unit]], missing: int) -> float | None:
    """Seconds that the missing images take, from making one and throwing it away; None where that costs money.

    It is made twice, and the second time counts. Saving it counts too.
    """
    if not batches or plan.maker.name == "endpoint":
        return None
    request = [plan.request(batches[0][0])]
    start = 0.0
    with TemporaryDirectory() as place:
        for _ in range(2):
            start = time.monotonic()
            for _, picture in plan.maker.make(request):
                if picture.image is not None:
                    write_bytes(Path(place) / "trial.png", png_bytes(picture.image, plan.save_size))
    return (time.monotonic() - start) * missing


def fill(
    plan: Plan,
    folder: PictureFolder,
    *,
    tell: Callable[[str], None] = lambda _: None,
    quiet: bool = False,
) -> Outcome:
    """Make what a folder lacks; a run that is killed loses only what was being made.

    Args:
        plan: what is wanted.
        folder: where it goes.
        tell: is given sentences for the user.
        quiet: show no progress.

    Raises:
        DiskFullError: the disk can't hold the images; what is finished is kept.
        BackboneError, EndpointError: the generator gave up; what is finished is kept.
    """
    settings = folder.about.settings
    batches, outcome, missing = lacking(plan, folder, settings)
    guess = estimate(plan, missing, missing + outcome.there, folder.root)
    if plan.maker.name == "renderer":  # a trial takes no time to speak of; of others, the first batch tells
        guess = replace(guess, seconds=trial(plan, batches, missing))
    tell(guess.sentence())
    if guess.bytes > guess.free:
        raise DiskFullError(
            f"the {missing:,} images to make need up to {size(guess.bytes)}, but the disk that holds {folder.root} has "
            f"{size(guess.free)} free: free some space, ask for fewer (--per-class) or smaller ones (--save-size)."
        )
    if missing:
        plan.maker.prepare()
    start, ended = time.monotonic(), 0
    label = f"generate {len(plan.subjects.class_names)} classes"
    with progress(label, missing, quiet=quiet) as advance:
        for number, batch in enumerate(batches):
            made, blocked = _batch(plan, folder, batch, settings, advance)
            outcome.made += made
            done, ended = made + blocked, ended + made + blocked
            seconds, left = time.monotonic() - start, missing - ended
            if number == 0 and left > 0:
                tell(f"The first {done} images took {duration(seconds)}; about {duration(seconds / done * left)} left.")
    outcome.seconds = time.monotonic() - start
    outcome.blocked = Counter(row["class"] for row in folder.rows if row["status"] == BLOCKED)
    folder.compact()
    return outcome


def _batch(
    plan: Plan,
    folder: PictureFolder,
    batch: Sequence[Unit],
    settings: Mapping[str, Any],
    advance: Callable[[int], None],
) -> tuple[int, int]:
    """Make a batch and keep those of its images that aren't there; returns how many were made, and how many blocked."""
    paths = {unit: folder.path(unit.class_index, unit.index) for unit in batch}
    wanted = {u for u in batch if not folder.has(paths[u], plan.identity(u, settings))}
    made, blocked, todo = 0, 0, list(batch)
    for attempt in range(plan.retries + 1):
        again: list[Unit] = []
        for unit, picture in _made(plan, todo, attempt):
            if picture.image is None and attempt < plan.retries:
                again.append(unit)
                continue
            if unit not in wanted:
                continue
            identity, seed = plan.identity(unit, settings), plan.image_seed(unit, attempt)
            if picture.image is None:
                folder.block(paths[unit], identity, picture.reason, seed=seed, attempt=attempt)
                blocked += 1
            else:
                folder.write(paths[unit], identity, picture.image, seed=seed, attempt=attempt, size=plan.save_size)
                made += 1
            advance(1)
        todo = [unit for unit in todo if unit in set(again)]  # in a fixed order, whatever came first
        if not todo:
            break
    return made, blocked


def _made(plan: Plan, units: Sequence[Unit], attempt: int) -> Iterator[tuple[Unit, Picture]]:
    for number, picture in plan.maker.make([plan.request(unit, attempt) for unit in units]):
        yield units[number], picture


def size(number: int) -> str:
    """Bytes for people, such as ``1.5 GiB``."""
    value, unit = float(number), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """A time for people, such as ``0:05`` or ``2:10:00``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
