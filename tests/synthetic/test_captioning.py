"""Captioning from end to end: shards, kills, servers that go away, full disks, broken and repeated images."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.synthetic.captioners.test_transformers_ import needs_transformers
from tests.synthetic.captioners.tiny_llava import SIDE, build_llava
from tests.synthetic.painter import COLOURS
from tests.synthetic.scripted import Response, ScriptedServer, failed, said
from tests.synthetic.viewer import caption, guesses, photos, viewer

from clipwright.core.atomic import DiskFullError
from clipwright.core.errors import DataError, UsageError
from clipwright.data import open_data
from clipwright.data.dataset import Dataset
from clipwright.synthetic import captioning
from clipwright.synthetic.caption_store import CaptionFolder
from clipwright.synthetic.captioning import CaptionRun, caption_images
from clipwright.synthetic.captions import Captions, read_captions
from clipwright.synthetic.endpoint import Endpoint, Prices
from clipwright.synthetic.transport import EndpointError

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No answer is known before a test begins."""
    monkeypatch.setenv("CLIPWRIGHT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def by_server(dataset: Dataset, out: Path, url: str, **options: Any) -> CaptionRun:
    asked: dict[str, Any] = {"captioner": "endpoint", "size": 24, "groups": 3, "quiet": True}
    asked |= {"endpoint": Endpoint(url, "viewer", concurrency=2, attempts=2), "taken_for": lambda: guesses(dataset)}
    return caption_images(dataset, out, **{**asked, **options})


def content(captions: Captions) -> Any:
    return dict(captions.images), captions.groups, captions.ids, captions.class_names, captions.settings


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return photos(tmp_path / "photos")


def test_images_and_groups_are_captioned_once_and_read_back(data: Dataset, tmp_path: Path) -> None:
    out, told = tmp_path / "out", list[str]()
    with ScriptedServer(viewer) as server:
        done = by_server(data, out, server.base_url, tell=told.append)
        assert len(server.requests) == 12 + 9
        prompts = {r["messages"][0]["content"][1]["text"] for r in server.requests}
        again = by_server(data, out, server.base_url, taken_for=None)  # nothing needs it any more
        assert len(server.requests) == 21
    assert done.captions is not None
    assert prompts == {done.captions.settings["prompt"], done.captions.settings["group_prompt"]}
    assert told == ["21 captions to write, of 21 images and groups."]
    assert (done.summary["made"], done.summary["there"], done.warnings) == (21, 0, ())
    assert (again.summary["made"], again.summary["there"]) == (0, 21)
    found = read_captions(out)
    assert found == done.captions == again.captions
    for name in data.ids:
        text = found.text(name)
        assert text is not None
        assert text.startswith(name.split("-")[0])
    for name in COLOURS:
        texts = found.group_texts(name)
        assert len(texts) == 3
        assert all(text.startswith(f"all {name}") for text in texts)
    for entry in found.groups:
        assert {guesses(data)[member] for member in entry.group.members} == {entry.group.class_index}
    table = pq.read_table(out / "captions.parquet").to_pylist()
    assert [row["kind"] for row in table] == ["image"] * 12 + ["group"] * 9
    assert all(row["text"] and row["date"] and row["answered_by"] == "scripted-2026" for row in table)
    for journal in out.glob("journal*.jsonl"):
        journal.unlink()
    assert content(read_captions(out)) == content(found)  # the table alone will do


def test_no_label_is_asked_for_or_written(tmp_path: Path) -> None:
    images = photos(tmp_path / "photos", each=3)
    labelled = images._with_labels(np.array([0, 1, 2] * 3))  # wrong ones: they would show
    with ScriptedServer(viewer) as server:
        one = by_server(images, tmp_path / "a", server.base_url)
        two = by_server(labelled, tmp_path / "b", server.base_url)
    assert content(one.captions) == content(two.captions)  # type: ignore[arg-type]
    assert "label" not in pq.read_table(tmp_path / "b" / "captions.parquet").column_names
    files = [p.read_text() for p in (tmp_path / "b").glob("*.json*")]
    assert not any("label" in text for text in files)


@pytest.mark.parametrize("together", [True, False])
def test_two_parts_equal_one_run(
    data: Dataset, tmp_path: Path, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(viewer) as server:
        whole = by_server(data, tmp_path / "whole", server.base_url)
        monkeypatch.setenv("CLIPWRIGHT_HOME", str(tmp_path / "other machine"))
        parts = [tmp_path / ("both" if together else str(i)) for i in (1, 2)]
        outcomes = [by_server(data, out, server.base_url, shard=f"{i}/2") for i, out in enumerate(parts, 1)]
        assert [o.summary["made"] for o in outcomes] == [6 + 5, 6 + 4]
        assert "other parts are still to come" in outcomes[0].warnings[0]
        for out in parts:
            shutil.copytree(out, tmp_path / "merged", dirs_exist_ok=True)
        asked = len(server.requests)
        merged = by_server(data, tmp_path / "merged", server.base_url)
    assert content(read_captions(parts[1] if together else tmp_path / "merged")) == content(whole.captions)  # type: ignore[arg-type]
    assert merged.summary["made"] == 0
    assert len(server.requests) == asked == 2 * 21
    assert (outcomes[1].captions == whole.captions) is together


def test_a_captioner_that_dies_midway_goes_on_where_it_was(data: Dataset, tmp_path: Path) -> None:
    def dying(request: dict[str, Any], number: int) -> Response:
        return viewer(request, number) if number < 8 else failed(500)

    options: dict[str, Any] = {"endpoint": None}
    with ScriptedServer(dying) as server:
        options["endpoint"] = Endpoint(server.base_url, "viewer", concurrency=1, attempts=1)
        with pytest.raises(EndpointError, match="what was answered so far is kept"):
            by_server(data, tmp_path / "out", server.base_url, **options)
    kept = read_captions(tmp_path / "out")
    assert 7 <= len(kept.images) <= 8
    assert len(kept.missing) == 12 - len(kept.images)
    assert len(kept.missing_groups) == 9
    assert kept.classes_without_groups == list(COLOURS)
    with ScriptedServer(viewer) as server:
        done = by_server(data, tmp_path / "out", server.base_url)
        assert len(server.requests) == 21 - 8
        whole = by_server(data, tmp_path / "whole", server.base_url)
    assert content(done.captions) == content(whole.captions)  # type: ignore[arg-type]


class Killed(CaptionFolder):
    """Kills its process at the nth answer, before or after it is written."""

    left, after = 1, False

    def keep(self, captions: Iterable[dict[str, Any]]) -> None:
        rows = list(captions)
        Killed.left -= 1
        if not Killed.left and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        super().keep(rows)
        if not Killed.left:
            os.kill(os.getpid(), signal.SIGKILL)


def _killed(data: Dataset, out: Path, url: str, left: int, after: bool) -> None:
    Killed.left, Killed.after = left, after
    setattr(captioning, "CaptionFolder", Killed)  # noqa: B010 - in a process of its own
    by_server(data, out, url)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forking beside threads, which hold nothing
def test_killed_and_continued_equals_uninterrupted(data: Dataset, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    out = tmp_path / "out"
    with ScriptedServer(viewer) as server:
        for left, after in ((3, False), (4, True), (2, True)):
            process = context.Process(target=_killed, args=(data, out, server.base_url, left, after))
            process.start()
            process.join()
            assert process.exitcode == -signal.SIGKILL
        with (out / "journal.jsonl").open("ab") as stream:
            stream.write(b'{"event": "caption", "key": "ab')  # and a line torn by the kill
        before = read_captions(out)
        assert len(before.images) == 2 + 4 + 2
        done = by_server(data, out, server.base_url)
        # What was in flight at a kill (two at a time, and one that waited to be written) may be asked again.
        assert 21 <= len(server.requests) <= 21 + 3 * 3
        whole = by_server(data, tmp_path / "whole", server.base_url)
    assert done.summary["there"] == 8
    assert {name: before.images[name] for name in before.images}.items() <= done.captions.images.items()  # type: ignore[union-attr]
    assert content(done.captions) == content(whole.captions)  # type: ignore[arg-type]
    keys = [
        json.loads(line)["key"]
        for line in (out / "journal.jsonl").open()
        if '"event": "caption"' in line and line.endswith("}\n")
    ]
    assert len(keys) == len(set(keys)) == 21
    assert not list(out.rglob("*.tmp"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_loses_nothing_that_counted(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    kept = CaptionFolder.keep
    left = [5]

    def keep(self: CaptionFolder, captions: Iterable[dict[str, Any]]) -> None:
        left[0] -= 1
        if left[0] == 0:  # the disk fills up
            (out / "journal.jsonl").rename(out / "aside")
            (out / "journal.jsonl").symlink_to("/dev/full")
        kept(self, captions)

    monkeypatch.setattr(CaptionFolder, "keep", keep)
    with ScriptedServer(viewer) as server:
        with pytest.raises(DiskFullError, match="already finished is kept"):
            by_server(data, out, server.base_url)
        (out / "journal.jsonl").unlink()
        (out / "aside").rename(out / "journal.jsonl")
        assert len(read_captions(out).images) == 4
        done = by_server(data, out, server.base_url)
        assert done.summary["there"] == 4
        assert len(server.requests) == 21  # those that were answered and not written are in the ledger of answers


def test_unreadable_images_are_listed_and_others_go_on(data: Dataset, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    (root / "red-0.png").write_bytes((root / "red-0.png").read_bytes()[:200])  # cut short
    (root / "red-1.png").unlink()
    (root / "green-0.png").write_bytes(b"")
    taken = {name: number for name, number in guesses(data).items() if name not in {"red-0.png", "green-0.png"}}
    with ScriptedServer(viewer) as server:
        done = by_server(data, tmp_path / "out", server.base_url, taken_for=lambda: taken)
        assert done.captions is not None
        assert done.captions.missing == ["green-0.png", "red-0.png", "red-1.png"]
        assert set(done.captions.problems) == set(done.captions.missing)
        assert [row["id"] for row in done.summary["missing"]] == done.captions.missing
        assert "damaged or cut short" in done.captions.problems["red-0.png"]
        assert "3 images can't be captioned" in done.warnings[0]
        assert done.summary["there"] == 0
        lost = [e for e in done.captions.groups if "red-1.png" in e.group.members]
        assert all(entry.caption is None for entry in lost)
        assert done.summary["missing_groups"] == [entry.group.id for entry in lost]
        photos(root)  # the disk is back
        back = by_server(photos(root), tmp_path / "out", server.base_url, taken_for=lambda: taken)
    assert back.captions is not None
    assert back.captions.missing == []
    assert back.captions.missing_groups == []
    assert back.summary["made"] == 3 + len(lost)


def test_copies_are_captioned_once_and_ids_must_be_unique(data: Dataset, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "photos" / "red-0.png", tmp_path / "photos" / "red-9.png")
    more = photos(tmp_path / "photos")
    with ScriptedServer(viewer) as server:
        done = by_server(more, tmp_path / "out", server.base_url, groups=0)
        assert len(server.requests) == 12
        assert done.captions is not None
        assert done.captions.text("red-9.png") == done.captions.text("red-0.png")
        with pytest.raises(DataError, match=r"'blue-1.png' is the id of several images"):
            by_server(data.take([0, 1, 1]), tmp_path / "b", server.base_url, groups=0)


def test_a_changed_image_is_captioned_again_and_a_new_one_is_added(data: Dataset, tmp_path: Path) -> None:
    with ScriptedServer(viewer) as server:
        first = by_server(data, tmp_path / "out", server.base_url).captions
        Image.new("RGB", (9, 9), COLOURS["green"]).save(tmp_path / "photos" / "red-0.png")
        Image.new("RGB", (9, 9), COLOURS["blue"]).save(tmp_path / "photos" / "blue-7.png")
        done = by_server(open_data(tmp_path / "photos", list(COLOURS)), tmp_path / "out", server.base_url)
    assert done.captions is not None
    assert str(done.captions.text("red-0.png")).startswith("green")
    assert str(done.captions.text("blue-7.png")).startswith("blue")
    assert first is not None
    old = {(entry.group.class_index, *entry.group.members) for entry in first.groups}
    now = [(entry.group.class_index, *entry.group.members) for entry in done.captions.groups]
    assert any("blue-7.png" in group for group in now)
    fresh = [group for group in now if group not in old or "red-0.png" in group]
    assert done.summary["made"] == 2 + len(fresh) < 2 + len(now)


def test_a_folder_with_nothing_but_its_table_keeps_its_captions(data: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with ScriptedServer(viewer) as server:
        first = by_server(data, out, server.base_url).captions
        for journal in out.glob("*.jsonl"):
            journal.unlink()
        Image.new("RGB", (9, 9), COLOURS["blue"]).save(tmp_path / "photos" / "blue-7.png")
        done = by_server(open_data(tmp_path / "photos", list(COLOURS)), out, server.base_url)
    assert first is not None
    assert done.captions is not None
    assert all(done.captions.text(name) == first.text(name) for name in first.ids)
    assert done.captions.missing == []


def test_captions_of_images_stay_where_groups_alone_are_asked_for(data: Dataset, tmp_path: Path) -> None:
    with ScriptedServer(viewer) as server:
        first = by_server(data, tmp_path / "out", server.base_url).captions
        done = by_server(data, tmp_path / "out", server.base_url, images=False, groups=4)
    assert first is not None
    assert done.captions is not None
    assert dict(done.captions.images) == dict(first.images)
    assert len(done.captions.groups) > len(first.groups)


def test_a_picture_that_is_refused_ends_nothing(data: Dataset, tmp_path: Path) -> None:
    def script(request: dict[str, Any], number: int) -> Response:
        text = caption(request)
        return failed(400, "this picture is against our policy") if text.startswith("red") else viewer(request, number)

    with ScriptedServer(script) as server:
        done = by_server(data, tmp_path / "out", server.base_url, groups=0)
    assert done.captions is not None
    assert done.captions.missing == [f"red-{i}.png" for i in range(4)]
    assert "against our policy" in done.captions.problems["red-0.png"]
    with ScriptedServer(viewer) as server:  # asked again, and the others not
        again = by_server(data, tmp_path / "out", server.base_url, groups=0)
        assert len(server.requests) == 4
    assert again.captions is not None
    assert again.captions.missing == []


def test_a_server_that_refuses_everything_is_told(tmp_path: Path) -> None:
    many = photos(tmp_path / "photos")
    script = ScriptedServer(lambda request, number: failed(400, "no pictures here"))
    with script as server, pytest.raises(EndpointError, match="no pictures here"):
        by_server(many, tmp_path / "out", server.base_url, groups=0)


def test_empty_and_truncated_captions_are_flagged(data: Dataset, tmp_path: Path) -> None:
    def script(request: dict[str, Any], _: int) -> Response:
        text = caption(request)
        if text.startswith("red"):
            return said(" \n ")
        return said(text + "\x1b[31m\n and more", finish="length" if text.startswith("blue") else "stop")

    with ScriptedServer(script) as server:
        done = by_server(data, tmp_path / "out", server.base_url, groups=0)
    assert done.captions is not None
    assert done.captions.flagged("empty") == [f"red-{i}.png" for i in range(4)]
    assert done.captions.flagged("truncated") == [f"blue-{i}.png" for i in range(4)]
    assert done.captions.text("red-0.png") is None
    assert done.captions.missing == []
    assert "\x1b" not in str(done.captions.text("green-0.png"))
    assert [w.split(":")[0] for w in done.warnings] == ["4 captions are empty", "4 captions are truncated"]


def test_a_prompt_may_name_the_likely_class(data: Dataset, tmp_path: Path) -> None:
    with ScriptedServer(viewer) as server:
        by_server(data, tmp_path / "out", server.base_url, groups=0, prompt="What of the {class} one?")
        texts = {r["messages"][0]["content"][1]["text"] for r in server.requests}
        assert texts == {f"What of the {name} one?" for name in COLOURS}
        with pytest.raises(UsageError, match="need what each image is taken for"):
            by_server(data, tmp_path / "b", server.base_url, groups=0, prompt="{class}?", taken_for=None)


def test_groups_alone_more_of_them_and_other_draws(data: Dataset, tmp_path: Path) -> None:
    with ScriptedServer(viewer) as server:
        out = tmp_path / "out"
        few = by_server(data, out, server.base_url, groups=1, images=False)
        assert few.captions is not None
        assert (few.captions.ids, len(few.captions.groups), len(server.requests)) == ((), 3, 3)
        more = by_server(data, out, server.base_url, groups="all", images=False)
        assert more.captions is not None
        assert len(more.captions.groups) == 12
        assert (more.summary["there"], len(server.requests)) == (3, 12)
        other = by_server(data, out, server.base_url, groups=1, images=False, n_images=2, taken_by="another model")
        assert other.captions is not None
        assert {len(e.group.members) for e in other.captions.groups} == {2}


def test_other_settings_need_another_folder_or_overwrite(data: Dataset, tmp_path: Path) -> None:
    with ScriptedServer(viewer) as server:
        out, url = tmp_path / "out", server.base_url
        by_server(data, out, url)
        with pytest.raises(UsageError, match=r"holds captions by other settings \(side: 24, now 30\)"):
            by_server(data, out, url, size=30)
        with pytest.raises(UsageError, match=r"by other settings \(prompt: "):
            by_server(data, out, url, prompt="Why?")
        renamed = replace(data, class_names=("crimson", *data.class_names[1:]))
        with pytest.raises(UsageError, match="of other classes"):
            by_server(renamed, out, url, taken_for=dict)
        done = by_server(data, out, url, prompt="Why?", overwrite=True)
        assert done.summary["made"] == 21
        assert read_captions(out).settings["prompt"] == "Why?"


def test_a_dry_run_sends_and_writes_nothing(data: Dataset, tmp_path: Path) -> None:
    endpoint = Endpoint("http://127.0.0.1:1/v1", "viewer", prices=Prices(1.0, 2.0))
    told = by_server(
        data, tmp_path / "out", "http://127.0.0.1:1", endpoint=endpoint, dry_run=True, taken_for=None
    ).summary
    assert (told["images"], told["groups_at_most"], told["captions_at_most"]) == (12, 9, 21)
    assert told["cost"] == pytest.approx((told["prompt_tokens"] + 2 * told["completion_tokens"]) / 1e6, abs=1e-6)
    assert not (tmp_path / "out").exists()
    with ScriptedServer(viewer) as server:
        by_server(data, tmp_path / "out", server.base_url)
    told = by_server(data, tmp_path / "out", "http://127.0.0.1:1", endpoint=endpoint, dry_run=True).summary
    assert (told["there"], told["captions_at_most"]) == (21, 0)


def test_what_cannot_be_captioned_is_refused(data: Dataset, tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", image_features=np.eye(2, 3), labels=np.arange(2), class_names=np.array(["a", "b"]))
    with pytest.raises(DataError, match="without images"):
        caption_images(tmp_path / "b.npz", tmp_path / "out")
    with pytest.raises(UsageError, match="--groups must be all or at least 0"):
        by_server(data, tmp_path / "out", "http://127.0.0.1:1", groups=-1)
    with pytest.raises(UsageError, match="view must be"):
        by_server(data, tmp_path / "out", "http://127.0.0.1:1", view="squint")


@needs_transformers
@pytest.mark.slow
def test_a_local_model_captions_in_two_parts_as_in_one(data: Dataset, tmp_path: Path) -> None:
    model = build_llava(tmp_path / "llava")

    def run(out: str, **options: Any) -> CaptionRun:
        more: dict[str, Any] = {"taken_for": lambda: guesses(data), "groups": 2, "quiet": True, "device": "cpu"}
        more |= {"model": str(model), "max_tokens": 6, "batch_size": 5}
        return caption_images(data, tmp_path / out, captioner="transformers", **{**more, **options})

    whole = run("whole")
    assert whole.captions is not None
    assert whole.captions.settings["side"] == SIDE
    assert len({caption.text for caption in whole.captions.images.values()}) > 3
    for part in (1, 2):
        run("parts", shard=(part, 2), batch_size=2)
    assert content(read_captions(tmp_path / "parts")) == content(whole.captions)
    assert run("parts", shard="1/2").summary["made"] == 0


@pytest.mark.slow
def test_phrases_need_nothing_but_the_backbone(tmp_path: Path) -> None:
    def run(out: str, **options: Any) -> CaptionRun:
        return caption_images(
            "shapes", tmp_path / out, backbone="tiny", taken_for=lambda: {f"{i:04d}": i % 14 for i in range(1680)},
            groups=2, quiet=True, **options,
        )  # fmt: skip

    whole = run("whole")
    assert whole.captions is not None
    assert len(whole.captions.images) == len(whole.captions.ids)
    assert len(set(whole.captions.images.values())) > 100
    threads = [threading.Thread(target=run, args=("parts",), kwargs={"shard": (i, 2)}) for i in (1, 2)]
    for thread in threads:  # at the same time, in one folder
        thread.start()
    for thread in threads:
        thread.join()
    assert content(read_captions(tmp_path / "parts")) == content(whole.captions)
