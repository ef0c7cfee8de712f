"""Extraction: what is stored equals what the model gives, and nothing is computed twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clipwright.backbones.base import ImageFeatures
from clipwright.core.errors import BackboneError, DataError, StoreError, UsageError
from clipwright.core.journal import Journal
from clipwright.data import open_data
from clipwright.data.dataset import Bundle, Dataset
from clipwright.engine.pool import _Worker, _Workers
from clipwright.features import FeatureStore, default_folder, extract
from clipwright.task import Features

Conv = Any  # the ConvRef class of conftest.py, whose module tests can't import


def shard_files(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in (folder / "shards").glob("*.safetensors")}


def computed(folder: Path) -> list[int]:
    return [row["shard"] for row in Journal(folder / "journal.jsonl").rows() if row["event"] == "shard"]


def direct(images: Dataset, ref: Any) -> tuple[list[int], ImageFeatures]:
    """Features of the readable images without any store, in one batch."""
    pixels, rows = [], []
    for row, source in enumerate(images.table["source"].to_pylist()):
        if "broken" not in source:
            assert images.reader is not None
            pixels.append(ref.preprocess.clean(images.reader.read(source).image))
            rows.append(row)
    return rows, ref.load().images(torch.from_numpy(np.stack(pixels)))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_stored_features_are_those_of_the_model(images: Dataset, conv: Conv, tmp_path: Path, workers: int) -> None:
    ref = conv()
    store = extract(images, ref, folder=tmp_path / "s", workers=workers, rows_per_shard=16, batch_size=8, quiet=True)
    rows, expected = direct(images, ref)
    found, kept = store.features_for(images)
    assert store.complete
    assert kept.tolist() == rows == store.readable.tolist()
    torch.testing.assert_close(found.x, expected.x, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.pre_projection, expected.pre_projection, rtol=0, atol=1e-6)
    assert found.labels.tolist() == images.labels[kept].tolist()
    assert found.ids == tuple(images.ids[i] for i in kept)
    assert found.source is not None
    assert found.source(3).size == (60, 45)
    assert store.logit_scale == 50
    torch.testing.assert_close(store.projection, ref.load().projection)


@pytest.mark.slow
def test_worker_processes_give_the_same_store(
    images: Dataset, conv: Conv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"views": 4, "rows_per_shard": 16, "workers": 2, "quiet": True}
    threads = extract(images, conv(), folder=tmp_path / "threads", processes=False, **options)
    seen = []
    take = _Workers.take

    def once_they_are_up(workers: _Workers) -> _Worker | None:
        for starter in workers.starters:
            starter.join()
        seen.append(worker := take(workers))
        return worker

    monkeypatch.setattr(_Workers, "take", once_they_are_up)
    processes = extract(images, conv(), folder=tmp_path / "processes", processes=True, **options)
    assert len(seen) > 10
    assert all(worker is not None for worker in seen)
    first, second = (shard_files(store.folder) for store in (threads, processes))
    assert {name: data for name, (data, _) in first.items()} == {name: data for name, (data, _) in second.items()}
    assert threads.rows.equals(processes.rows)


def test_unreadable_images_are_listed_with_a_reason(images: Dataset, conv: Conv, tmp_path: Path) -> None:
    store = extract(images, conv(), folder=tmp_path / "s", quiet=True)
    assert [name for name, _ in store.problems] == ["ant/0000_broken.jpg", "ant/0001_broken.jpg"]
    assert all(reason for _, reason in store.problems)
    assert len(store.readable) == 50
    contents = store.contents(images)
    assert sum(len(c) == 64 for c in contents) == 50
    with pytest.raises(StoreError, match="couldn't be read"):
        store.features(range(len(store)))


def test_all_unreadable_is_an_error_every_time(conv: Conv, tmp_path: Path, make_images: Callable[..., Path]) -> None:
    (tmp_path / "d" / "ant").mkdir(parents=True)
    broken = open_data(make_images(tmp_path / "d", 0, broken=3))
    for _ in range(2):
        with pytest.raises(DataError, match="none of the 3 images"):
            extract(broken, conv(), folder=tmp_path / "s", quiet=True)


def test_views_depend_on_image_and_number_alone(images: Dataset, conv: Conv, tmp_path: Path) -> None:
    options: dict[str, Any] = {"views": 3, "recipe": "crop(0.08,1)+flip", "seed": 5, "quiet": True}
    one = extract(images, conv(), folder=tmp_path / "a", batch_size=64, workers=2, **options)
    turned = images.take(np.arange(len(images))[::-1])
    other = extract(turned, conv(), folder=tmp_path / "b", batch_size=5, rows_per_shard=4, workers=0, **options)
    first, _ = one.features_for(images)
    second, _ = other.features_for(images)
    assert first.views is not None
    assert first.views.shape == (50, 3, 8)
    torch.testing.assert_close(first.views, second.views, rtol=0, atol=1e-6)
    torch.testing.assert_close(first.x, second.x, rtol=0, atol=1e-6)
    assert not torch.allclose(first.views[:, 0], first.views[:, 1])
    third, _ = extract(images, conv(), folder=tmp_path / "c", **{**options, "seed": 6}).features_for(images)
    assert third.views is not None
    assert not torch.allclose(first.views, third.views)


def test_complete_store_needs_no_weights(images: Dataset, conv: Conv) -> None:
    first = extract(images, conv(), quiet=True)
    again = extract(images, conv(may_load=False), quiet=True)
    assert first.folder == again.folder == default_folder(images, conv())
    assert torch.equal(first.features().x, again.features().x)
    assert default_folder(images, conv(1)) != first.folder
    assert default_folder(images, conv(), views=1) != first.folder
    assert default_folder(images, conv(), dtype="float16") != first.folder
    assert default_folder(images, conv(), seed=3) == first.folder  # without views no seed matters


@pytest.mark.parametrize("damage", ["missing", "cut", "empty", "header", "nonsense"])
def test_only_what_is_missing_is_computed(images: Dataset, conv: Conv, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "s"
    extract(images, conv(), folder=folder, rows_per_shard=8, batch_size=4, quiet=True)
    before = shard_files(folder)
    victim = folder / "shards" / "000003.safetensors"
    data = victim.read_bytes()
    if damage == "missing":
        victim.unlink()
    else:
        new = {"cut": data[:-1], "empty": b"", "header": data[:50], "nonsense": b"x" * len(data)}[damage]
        victim.write_bytes(new)
    assert not FeatureStore.open(folder).complete
    store = extract(images, conv(), folder=folder, quiet=True)
    after = shard_files(folder)
    assert store.complete
    assert sorted(computed(folder)) == sorted([*range(7), 3])
    assert {n: b for n, (b, _) in before.items()} == {n: b for n, (b, _) in after.items()}
    assert all(before[name] == after[name] for name in before if name != victim.name)


def test_interrupted_by_an_error_keeps_what_is_finished(images: Dataset, conv: Conv, tmp_path: Path) -> None:
    ref = conv()
    real, calls = ref.load().images, []

    def fails_later(pixels: torch.Tensor) -> ImageFeatures:
        calls.append(len(pixels))
        if len(calls) > 7:  # the first two find out how long one image takes
            raise KeyboardInterrupt
        return real(pixels)  # type: ignore[no-any-return]

    ref.load().images = fails_later
    with pytest.raises(KeyboardInterrupt):
        extract(images, ref, folder=tmp_path / "s", rows_per_shard=8, batch_size=4, quiet=True)
    partial = FeatureStore.open(tmp_path / "s")
    finished = partial.present()
    assert len(finished) in {2, 3}  # the last shard is a short one, and a run may begin anywhere
    assert [rows.start // 8 for rows, _ in partial.blocks()] == finished
    with pytest.raises(StoreError, match=f"lacks {7 - len(finished)} of 7 shards"):
        partial.features()
    extract(images, conv(), folder=tmp_path / "s", quiet=True)
    assert sorted(computed(tmp_path / "s")) == list(range(7))


def test_parts_merge_to_one_run(images: Dataset, conv: Conv, tmp_path: Path) -> None:
    from clipwright.features import merge

    options: dict[str, Any] = {"views": 2, "rows_per_shard": 8, "batch_size": 8, "quiet": True}
    whole = extract(images, conv(), folder=tmp_path / "whole", **options)
    parts = [extract(images, conv(), folder=tmp_path / f"p{i}", shard=(i, 2), **options) for i in (1, 2)]
    assert not any(part.complete for part in parts)
    assert sorted(k for part in parts for k in part.present()) == list(range(7))
    merged = merge([tmp_path / "p1", tmp_path / "p2"], tmp_path / "merged")
    assert merged.complete
    assert merged.rows.equals(whole.rows)
    same = {n: b for n, (b, _) in shard_files(merged.folder).items()}
    assert same == {n: b for n, (b, _) in shard_files(whole.folder).items()}
    # by hand: copying shard files into any of the parts completes it
    for path in (tmp_path / "p2" / "shards").iterdir():
        shutil.copy(path, tmp_path / "p1" / "shards")
    by_hand = FeatureStore.open(tmp_path / "p1")
    assert by_hand.complete
    assert by_hand.rows.select(["id", "content", "problem"]).equals(whole.rows.select(["id", "content", "problem"]))
    assert torch.equal(by_hand.features().x, whole.features().x)
    extract(images, conv(may_load=False), folder=tmp_path / "p1", **options)


def test_other_models_images_and_views_never_mix(
    images: Dataset, conv: Conv, tmp_path: Path, make_images: Callable[..., Path]
) -> None:
    extract(images, conv(), folder=tmp_path / "s", quiet=True)
    with pytest.raises(StoreError, match="never mix"):
        extract(images, conv(1), folder=tmp_path / "s", quiet=True)
    with pytest.raises(StoreError, match="has views 0, not 2"):
        extract(images, conv(), folder=tmp_path / "s", views=2, quiet=True)
    with pytest.raises(StoreError, match="other images"):
        extract(images.take([0, 1, 2]), conv(), folder=tmp_path / "s", quiet=True)
    changing = make_images(tmp_path / "d", 6)
    extract(open_data(changing), conv(), folder=tmp_path / "t", quiet=True)
    next(changing.rglob("*.jpg")).write_bytes(b"another content")
    with pytest.raises(StoreError, match="1 of 6 images have changed"):
        extract(open_data(changing), conv(), folder=tmp_path / "t", quiet=True)


def test_a_shard_of_another_model_is_refused(images: Dataset, conv: Conv, tmp_path: Path) -> None:
    for seed in (0, 1):
        extract(images, conv(seed), folder=tmp_path / str(seed), rows_per_shard=16, quiet=True)
    shutil.copy(tmp_path / "1/shards/000001.safetensors", tmp_path / "0/shards/000001.safetensors")
    with pytest.raises(StoreError, match="can't be mixed"):
        _ = FeatureStore.open(tmp_path / "0").complete


def test_labels_follow_the_data_set(images: Dataset, conv: Conv, tmp_path: Path) -> None:
    extract(images, conv(), folder=tmp_path / "s", quiet=True)
    column = images.table.schema.get_field_index("label")
    relabelled = images.table.set_column(
        column, images.table.schema.field(column), [np.full(len(images), -1, np.int32)]
    )
    unlabeled = Dataset(images.name, images.class_names, relabelled, images.reader, root=images.root)
    store = extract(unlabeled, conv(may_load=False), folder=tmp_path / "s", quiet=True)
    assert set(store.features().labels.tolist()) == {-1}
    assert set(FeatureStore.open(tmp_path / "s").rows["label"].to_pylist()) == {-1}


def test_float16_is_a_choice_and_recorded(images: Dataset, conv: Conv, tmp_path: Path) -> None:
    exact = extract(images, conv(), folder=tmp_path / "32", quiet=True)
    half = extract(images, conv(), folder=tmp_path / "16", dtype="float16", quiet=True)
    assert (exact.meta.dtype, half.meta.dtype) == ("float32", "float16")
    assert half.features().x.dtype == torch.float32
    assert torch.equal(half.features().x, exact.features().x.half().float())
    assert next(half.blocks())[1].x.dtype == np.float16
    ref = conv()
    ref.load().projection *= 1e7
    with pytest.raises(StoreError, match="float32"):
        extract(images, ref, folder=tmp_path / "over", dtype="float16", quiet=True)
    ref.load().projection *= float("nan")
    with pytest.raises(StoreError, match="NaN"):
        extract(images, ref, folder=tmp_path / "nan", quiet=True)


def test_batches_halve_when_memory_runs_out(images: Dataset, conv: Conv, tmp_path: Path) -> None:
    ref = conv()
    real = ref.load().images
    room = 5

    def small_device(pixels: torch.Tensor) -> ImageFeatures:
        if len(pixels) > room:
            raise torch.OutOfMemoryError("out of memory")
        return real(pixels)  # type: ignore[no-any-return]

    ref.load().images = small_device
    store = extract(images, ref, folder=tmp_path / "s", batch_size=16, quiet=True)
    assert max(ref.load().batches) == 4
    expected = extract(images, conv(), folder=tmp_path / "t", quiet=True)
    torch.testing.assert_close(store.features().x, expected.features().x, rtol=0, atol=1e-6)
    room = 0
    with pytest.raises(BackboneError, match="even one image"):
        extract(images, ref, folder=tmp_path / "u", quiet=True)


def test_bad_arguments_are_refused(images: Dataset, conv: Conv, tmp_path: Path) -> None:
    for options in ({"views": -1}, {"workers": -1}, {"batch_size": 0}, {"rows_per_shard": 0}, {"shard": (3, 2)}):
        with pytest.raises(UsageError):
            extract(images, conv(), folder=tmp_path / "s", **options)
    with pytest.raises(UsageError, match="recipe"):
        extract(images, conv(), folder=tmp_path / "s", views=1, recipe="zoom")
    with pytest.raises(DataError, match="no images"):
        extract(images.take([]), conv(), folder=tmp_path / "s")
    bundle = Dataset("b", ("a",), images.table.slice(0, 2), bundle=Bundle(Features(torch.ones(2, 3))))
    with pytest.raises(UsageError, match="brings its own features"):
        extract(bundle, conv(), folder=tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_progress_says_rate_and_time_left(
    images: Dataset, conv: Conv, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extract(images, conv(), folder=tmp_path / "s")
    assert "extract pictures: 52/52 images" in (said := capsys.readouterr().err)
    assert "/s" in said
    assert "left" in said
    extract(images, conv(), folder=tmp_path / "s")
    assert not capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the embedded model")
def test_embedded_model_and_images(tmp_path: Path) -> None:
    from clipwright.backbones import resolve

    digits = open_data("digits")
    few = digits.take(np.arange(0, len(digits), 40))
    ref = resolve("tiny", device="cpu")
    store = extract(few, ref, folder=tmp_path / "s", views=1, quiet=True)
    found, kept = store.features_for(few)
    assert len(kept) == len(few)
    assert found.views is not None
    pixels = np.stack([ref.preprocess.clean(few.reader.read(s).image) for s in few.table["source"].to_pylist()])  # type: ignore[union-attr]
    expected = ref.load().images(torch.from_numpy(pixels))
    torch.testing.assert_close(found.x, expected.x, rtol=1e-5, atol=1e-5)
    assert found.pre_projection is not None
    assert store.projection is not None
    torch.testing.assert_close(found.x, found.pre_projection @ store.projection, rtol=1e-4, atol=1e-4)
