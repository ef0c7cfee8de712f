"""From data to features: alignment, views, copies, what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from clipwright.backbones import resolve
from clipwright.core.errors import DataError, UsageError
from clipwright.data import open_data
from clipwright.data.dataset import Dataset, split_array
from clipwright.features import extract
from clipwright.methods import make
from clipwright.protocol.prepare import _beside, add_views, prepare
from clipwright.task import Features, Need


def colour(path: Path, value: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 36), value).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    for i in range(4):
        colour(root / "red" / f"{i}.png", (200 + i, 0, 0))
        colour(root / "blue" / f"{i}.png", (0, 0, 200 + i))
    (root / "blue" / "broken.png").write_bytes(b"no image")
    return root


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_rows_are_aligned_and_the_broken_one_is_listed(folder: Path) -> None:
    prepared = prepare(open_data(folder), resolve("tiny"), quiet=True)
    assert [i for i, _ in prepared.problems] == ["blue/broken.png"]
    assert len(prepared.dataset) == len(prepared.features) == len(prepared.contents) == 8
    assert prepared.features.ids == tuple(prepared.dataset.ids)
    assert prepared.features.labels.tolist() == prepared.dataset.labels.tolist()
    assert prepared.text is not None
    assert prepared.text.n_classes == 2
    assert prepared.projection is not None
    assert prepared.features.pre_projection is not None
    again = prepared.features.pre_projection @ prepared.projection
    torch.testing.assert_close(again, prepared.features.x, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_prompts_say_the_names_that_were_told_apart(folder: Path) -> None:
    (folder / "red").rename(folder / "red (n1)")
    (folder / "blue").rename(folder / "red (n2)")
    colour(folder / "green" / "0.png", (0, 200, 0))
    data = dataclasses.replace(open_data(folder), prompt_names=("green", "red", "red"))
    prepared = prepare(data, resolve("tiny"), templates=["a {}.", "the {}!"], quiet=True)
    assert data.class_names == ("green", "red (n1)", "red (n2)")
    assert prepared.text is not None
    said = sorted(zip(prepared.text.classes.tolist(), prepared.text.texts or (), strict=True))
    assert [text for _, text in said] == ["a green.", "the green!", "a red.", "the red!", "a red.", "the red!"]
    assert [c for c, _ in said] == [0, 0, 1, 1, 2, 2]
    rows = prepared.text.classifier()
    torch.testing.assert_close(rows[1], rows[2], rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_views_belong_to_the_rows_asked_for(folder: Path) -> None:
    prepared = prepare(open_data(folder), resolve("tiny"), quiet=True)
    seen = add_views(prepared, [5, 1], 3, quiet=True)
    views = seen.rows([1, 5]).views
    assert views is not None
    assert views.shape == (2, 3, prepared.features.dim)
    assert seen.rows([1, 2]).views is None
    flipped = seen.rows([5, 1]).views
    assert flipped is not None
    torch.testing.assert_close(flipped, views.flip(0))
    assert "views" in seen.task([1, 5]).supplies()


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_copies_on_both_sides_are_told(tmp_path: Path) -> None:
    colour(tmp_path / "train" / "a" / "0.png", (1, 2, 3))
    colour(tmp_path / "train" / "b" / "0.png", (9, 9, 9))
    colour(tmp_path / "test" / "a" / "7.png", (1, 2, 3))
    colour(tmp_path / "test" / "b" / "8.png", (5, 5, 5))
    prepared = prepare(open_data(tmp_path), resolve("tiny"), quiet=True)
    assert any("exact cop" in note for note in prepared.notes)


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_copies_in_one_pool_are_told(folder: Path) -> None:
    colour(folder / "red" / "copy.png", (200, 0, 0))
    prepared = prepare(open_data(folder), resolve("tiny"), quiet=True)
    assert any("exact copy of another" in note for note in prepared.notes)


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_no_readable_image_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="none of the 2 images"):
        prepare(open_data(tmp_path), resolve("tiny"), quiet=True)


def test_a_bundle_takes_no_backbone(make_dataset: Callable[..., Dataset]) -> None:
    with pytest.raises(UsageError, match="leave out backbone"):
        prepare(make_dataset(), resolve("tiny"))
    with pytest.raises(UsageError, match="no images to augment"):
        add_views(prepare(make_dataset(), None), [0], 2)


def test_a_task_holds_no_other_label(make_dataset: Callable[..., Dataset]) -> None:
    prepared = prepare(make_dataset(), None)
    task = prepared.task([0, 12, 24], unlabeled=np.arange(1, 10))
    assert task.shots == (1, 1, 1)
    assert task.unlabeled is not None
    assert task.unlabeled.y is None


@pytest.fixture
def timm_weights(tmp_path: Path) -> Path:
    timm = pytest.importorskip("timm")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        state = timm.create_model("test_vit", pretrained=False).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "vit.safetensors")
    return tmp_path / "vit.safetensors"


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_a_second_backbone_stands_beside_the_first(folder: Path, tmp_path: Path, timm_weights: Path) -> None:
    second = resolve(f"timm:test_vit@{timm_weights}", device="cpu")
    data, store = open_data(folder), tmp_path / "store"
    prepared = prepare(data, resolve("tiny", device="cpu"), second=second, store=store, quiet=True)
    alone = prepare(data, resolve("tiny", device="cpu"), quiet=True)
    assert prepared.second is second
    assert len(prepared.dataset) == len(prepared.features) == 8
    assert [i for i, _ in prepared.problems] == ["blue/broken.png"]
    torch.testing.assert_close(prepared.features.x, alone.features.x)
    assert prepared.features.second is not None
    assert prepared.text is not None
    assert (store / "meta.json").is_file()
    assert (store / "second" / "meta.json").is_file()
    reader = data.reader
    assert reader is not None
    for row in (0, 7):
        image = reader.read(prepared.dataset.ids[row]).image
        pixels = torch.from_numpy(second.preprocess.clean(image))[None]
        expected = second.load().images(pixels).x[0]
        torch.testing.assert_close(prepared.features.second[row], expected, rtol=1e-4, atol=1e-5)
    assert Need.SECOND in prepared.task([0, 5]).supplies()


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_rows_are_those_that_both_backbones_could_read(folder: Path, tmp_path: Path, timm_weights: Path) -> None:
    """A file that was repaired after the first store had been made is in neither, so that rows stay aligned."""
    second = resolve(f"timm:test_vit@{timm_weights}", device="cpu")
    data, tiny = open_data(folder), resolve("tiny", device="cpu")
    whole = prepare(data, tiny, second=second, quiet=True)
    found = extract(data, second, quiet=True)
    others, also = found.features_for(data)
    lost = dataclasses.replace(whole.features[[0, 2, 3]])
    features, both, _ = _beside(data, second, lost, np.array([0, 2, 3]), (), store=None, quiet=True)
    assert both.tolist() == [0, 2, 3]
    assert features.second is not None
    torch.testing.assert_close(features.second, others.x[[int(np.flatnonzero(also == i)[0]) for i in both]])
    rows = np.arange(len(data))  # as if the first could read the broken one too
    wide = Features(torch.arange(len(data)).float()[:, None], torch.from_numpy(data.labels))
    features, both, problems = _beside(data, second, wide, rows, (("x", "why"),), store=None, quiet=True)
    assert both.tolist() == also.tolist()
    assert features.x[:, 0].tolist() == also.tolist()
    assert dict(problems).keys() == {"blue/broken.png", "x"}


def test_a_backbone_without_a_text_tower_gives_images_alone(folder: Path, timm_weights: Path) -> None:
    ref = resolve(f"timm:test_vit@{timm_weights}", device="cpu")
    prepared = prepare(open_data(folder), ref, quiet=True)
    assert prepared.text is None
    assert prepared.templates == ()
    assert any("has no text tower" in note for note in prepared.notes)
    fitted = make("NearestMean").fit(prepared.task([0, 1, 4, 5]))
    assert fitted(prepared.rows([2, 6])).argmax(1).tolist() == prepared.dataset.labels[[2, 6]].tolist()
    assert not prepare(open_data(folder), ref, texts=False, quiet=True).notes
    with pytest.raises(UsageError, match="has no text tower: leave the templates and texts out"):
        prepare(open_data(folder), ref, templates="a {}.", quiet=True)
    with pytest.raises(UsageError, match="has no text tower: leave the templates and texts out"):
        prepare(open_data(folder), ref, bank="bank.jsonl", quiet=True)


def test_two_backbones_that_cannot_be_paired_are_refused(folder: Path, make_dataset: Callable[..., Dataset]) -> None:
    with pytest.raises(UsageError, match="named as both backbones"):
        prepare(open_data(folder), resolve("tiny"), second=resolve("tiny"), quiet=True)
    with pytest.raises(UsageError, match="leave out backbones"):
        prepare(make_dataset(), None, second=resolve("tiny"))


def test_generated_rows_are_marked(make_dataset: Callable[..., Dataset]) -> None:
    prepared = prepare(make_dataset((2, 2), splits=["train", "generated", "train", "test"]), None)
    assert prepared.rows([0, 1, 2]).is_generated.tolist() == [False, True, False]
    assert prepared.task([0, 1, 2]).labels_per_class == (1, 1)
    assert prepare(make_dataset((2, 2)), None).features.generated is None


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_copies_among_generated_images_are_no_copies_of_labels(folder: Path) -> None:
    data = open_data(folder)
    splits = split_array(["generated" if name.startswith("red") else "" for name in data.ids])
    place = data.table.schema.get_field_index("split")
    colour(folder / "red" / "1.png", (200, 0, 0))  # a copy of another
    data = dataclasses.replace(open_data(folder), table=open_data(folder).table.set_column(place, "split", splits))
    assert not prepare(data, resolve("tiny"), quiet=True).notes
