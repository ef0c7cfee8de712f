"""What captions are wanted: images and groups, what each is known by, and which of them aren't there yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from typing import Any

from PIL import Image

from clipwright.core.progress import progress
from clipwright.data.dataset import Dataset, ImageReader, UnreadableImageError
from clipwright.engine import cpu_count
from clipwright.engine.partition import Shard, part_of
from clipwright.engine.pool import ordered
from clipwright.synthetic.caption_groups import Group
from clipwright.synthetic.caption_prompts import CaptionPrompts
from clipwright.synthetic.caption_store import CaptionFolder, caption_key
from clipwright.synthetic.captioners.base import Captioner, Job
from clipwright.synthetic.captions import GROUP, IMAGE, Row
from clipwright.synthetic.collage import View

_READERS = 8  # files hashed at a time
_NOTED = 512  # images whose contents are written down together


@dataclass(frozen=True)
class Unit:
    """One caption that isn't there yet.

    Attributes:
        key: what it is known by.
        job: what the captioner is given.
        row: what the journal says of it besides.
        image_id: the image, or nothing for a group.
    """

    key: str
    job: Job
    row: Row
    image_id: str = ""


@dataclass(frozen=True)
class Files:
    """The images of a data set, by id.

    Attributes:
        dataset: rows that captions are wanted of.
        reader: reads them.
    """

    dataset: Dataset
    reader: ImageReader

    @cached_property
    def ids(self) -> list[str]:
        """n identifiers."""
        return self.dataset.ids

    @cached_property
    def _stamps(self) -> dict[str, tuple[str, int, int]]:
        columns = (self.dataset.table[name].to_pylist() for name in ("source", "size", "mtime_ns"))
        return dict(zip(self.ids, zip(*columns, strict=True), strict=True))

    def stamp(self, name: str) -> tuple[str, int, int]:
        """Source, size and time of change of an image."""
        return self._stamps[name]

    def image(self, name: str) -> Image.Image:
        """An image, decoded.

        Raises:
            UnreadableImageError: it can't be.
        """
        return self.reader.read(self.stamp(name)[0]).image

    def content(self, name: str) -> str | UnreadableImageError:
        """SHA-256 of an image's bytes, without decoding where the reader can, or why there is none."""
        source = self.stamp(name)[0]
        hashed: Callable[[str], str] | None = getattr(self.reader, "content", None)
        try:
            return self.reader.read(source).content if hashed is None else hashed(source)
        except UnreadableImageError as error:
            return error


@dataclass(frozen=True)
class Work:
    """All that one run may have to do.

    Attributes:
        files: the images.
        captioner: writes the captions.
        view: how it is shown them.
        prompts: what it is asked.
        class_names: C names.
        taken_for: class index by image id; empty where nothing needs it.
        groups: of all classes.
        shard: (I, N), the part that is done here.
        images: whether captions of single images are wanted.
    """

    files: Files
    captioner: Captioner
    view: View
    prompts: CaptionPrompts
    class_names: tuple[str, ...]
    taken_for: Mapping[str, int]
    groups: tuple[Group, ...]
    shard: Shard = (1, 1)
    images: bool = True

    @cached_property
    def my_images(self) -> list[str]:
        """Ids of this part's images."""
        ids = self.files.ids
        return [ids[i] for i in part_of(ids, self.shard)] if self.images else []

    @cached_property
    def my_groups(self) -> list[Group]:
        """This part's groups."""
        keys = [f"{g.number:09d} {g.class_index:09d}" for g in self.groups]
        return [self.groups[i] for i in part_of(keys, self.shard)]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """JSON of everything but the images that decides a caption."""
        found = self.captioner.settings()
        if not self.captioner.asks:
            return found
        return {**found, **self._shown, "prompt": self.prompts.image, "group_prompt": self.prompts.group}

    @property
    def _shown(self) -> dict[str, Any]:
        return {"view": self.view.name, "side": self.view.side} if self.captioner.asks else {}

    def prompt_of(self, name: str) -> str:
        """What is asked about an image; nothing where the captioner isn't asked."""
        number = self.taken_for.get(name, -1)
        said = self.prompts.of_image(self.class_names[number] if number >= 0 else None)
        return said if self.captioner.asks else ""

    def group_prompt_of(self, group: Group) -> str:
        """What is asked about a group."""
        return self.prompts.of_group(self.class_names[group.class_index]) if self.captioner.asks else ""

    def key(self, contents: Sequence[str], prompt: str) -> str:
        """What a caption of these images is known by."""
        return caption_key(contents, prompt, self._shown, self._decides)

    @cached_property
    def _decides(self) -> dict[str, Any]:
        return self.captioner.settings()

    def lacking(self, folder: CaptionFolder, *, quiet: bool) -> list[Unit]:
        """Captions of this part that a folder lacks, each once; what is found out about images is written down.

        Files whose size and time of change are those of an earlier run aren't read again, and none is decoded.
        """
        members = [name for group in self.my_groups for name in group.members]
        contents = self._contents(folder, dict.fromkeys([*self.my_images, *members]), quiet=quiet)
        units: dict[str, Unit] = {}
        for name in self.my_images:
            if name not in contents:
                continue
            prompt = self.prompt_of(name)
            key = self.key([contents[name]], prompt)
            if not folder.is_known(key) and key not in units:
                units[key] = Unit(
                    key, self._job([name], [contents[name]], prompt), {"kind": IMAGE, "prompt": prompt}, name
                )
        keys: dict[Group, str] = {}
        for group in self.my_groups:
            if any(name not in contents for name in group.members):
                continue  # it stays missing: a member can't be read
            prompt, of = self.group_prompt_of(group), [contents[name] for name in group.members]
            keys[group] = key = self.key(of, prompt)
            if not folder.is_known(key) and key not in units:
                units[key] = Unit(key, self._job(group.members, of, prompt), {"kind": GROUP, "prompt": prompt})
        folder.note_groups(keys)
        return list(units.values())

    def there(self, folder: CaptionFolder) -> int:
        """How many of this part's images and groups have a caption."""
        keys = [str(folder.rows.images.get(name, {}).get("key")) for name in self.my_images]
        keys += [folder.rows.key_of(group) for group in self.my_groups]
        return sum(map(folder.is_known, keys))

    def _job(self, names: Sequence[str], contents: Sequence[str], prompt: str) -> Job:
        return Job(prompt, tuple(contents), partial(_nth, self.files, tuple(names)), self.view)

    def _contents(self, folder: CaptionFolder, names: Iterable[str], *, quiet: bool) -> dict[str, str]:
        """SHA-256 by id of the images that can be read; new ones, and why others can't be, are written down."""
        mine = set(self.my_images)
        found: dict[str, str] = {}
        fresh: list[str] = []
        noted: list[Row] = []
        for name in names:
            _, size, mtime = self.files.stamp(name)
            known = folder.content(name, size, mtime)
            if known is None:
                fresh.append(name)
                continue
            found[name] = known
            if name in mine:
                noted.append(self._row(name, known))
        folder.note_images(noted)
        hashes = ordered(self.files.content, fresh, workers=min(cpu_count(), _READERS), ahead=4 * _READERS)
        pairs = zip(fresh, hashes, strict=True)
        with progress("look at images", len(fresh), quiet=quiet) as advance:
            while part := list(islice(pairs, _NOTED)):
                found.update((name, content) for name, content in part if isinstance(content, str))
                folder.note_images(self._row(name, content) for name, content in part if name in mine)
                advance(len(part))
        return found

    def _row(self, name: str, content: str | UnreadableImageError) -> Row:
        _, size, mtime = self.files.stamp(name)
        row: Row = {"id": name, "size": size, "mtime_ns": mtime}
        if not isinstance(content, str):
            return {**row, "problem": str(content) or "unreadable"}
        return {**row, "content": content, "key": self.key([content], self.prompt_of(name))}


def _nth(files: Files, names: tuple[str, ...], number: int) -> Image.Image:
    return files.image(names[number])


def rows_of(units: Sequence[Unit], said: Iterable[tuple[int, Any]], line: Callable[[str], str]) -> Iterator[Row]:
    """Journal rows of finished captions; those that failed are left out."""
    for number, one in said:
        if not one.problem:
            unit = units[number]
            more = {"answered_by": line(one.model)[:200]} if one.model else {}
            yield {**unit.row, "key": unit.key, "text": line(one.text), "finish": one.finish, **more}
