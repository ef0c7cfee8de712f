import numpy as np
import pytest
from training.tiny import captions

from clipwright.assets import tiny
from clipwright.assets.renderer import atlas, scenes


@pytest.fixture(scope="module")
def batch() -> scenes.Scenes:
    return scenes.sample(atlas.build(1, hands=1, forms=1), 600, seed=1, step=0)


def _scene(noun: str, **fields: str) -> list[int]:
    """A row of a table of scenes by words."""
    words = {"medium": "handwritten", "colour": "red", "background": "white", "texture": "plain", "size": "large"}
    words |= fields
    columns = (atlas.MEDIA, tuple(scenes.COLOURS), tuple(scenes.COLOURS), scenes.TEXTURES, scenes.SIZES)
    return [atlas.NOUNS.index(noun), *(c.index(w) for c, w in zip(columns, words.values(), strict=True))]


def test_equal_seeds_write_equal_captions(batch: scenes.Scenes) -> None:
    first, again = captions.write(batch, seed=4, step=7), captions.write(batch, seed=4, step=7)
    assert first.texts == again.texts
    assert first.texts != captions.write(batch, seed=4, step=8).texts


def test_captions_are_varied_short_and_good_english(batch: scenes.Scenes) -> None:
    texts = captions.write(batch, seed=4, step=0).texts
    assert len(set(texts)) > 0.7 * len(texts)
    assert not any(bad in f"{text} " for text in texts for bad in (" a orange", " an one", "  ", " an white"))
    lengths = (tiny.tokenizer()(texts) > 0).sum(1)
    assert int(lengths.max()) <= tiny.CONTEXT_LENGTH
    assert float(np.mean(lengths.numpy() == tiny.CONTEXT_LENGTH)) < 0.05


def test_a_caption_says_only_what_is_there(batch: scenes.Scenes) -> None:
    written = captions.write(batch, seed=4, step=0)
    mentioned = written.said >= 0
    assert np.array_equal(written.said[mentioned], batch.table[mentioned])
    assert 0.9 < mentioned[:, 0].mean() < 1
    for text, said in zip(written.texts, written.said, strict=True):
        assert (" background" in text) == (said[3] >= 0)


def test_a_caption_is_true_of_its_own_image(batch: scenes.Scenes) -> None:
    written = captions.write(batch, seed=4, step=0)
    assert captions.conflicts(written, batch).diagonal().all()


def test_conflicts_are_the_images_a_caption_is_true_of() -> None:
    rows = [
        _scene("7", colour="red"),
        _scene("7", colour="blue"),
        _scene("0", colour="red"),
        _scene("O", colour="red"),
        _scene("star", medium="drawn", colour="red"),
    ]
    table = np.array(rows)
    images = scenes.Scenes(np.zeros(len(table), dtype=np.int64), table)
    said = np.full((4, 6), -1, dtype=np.int64)
    said[0, 0] = table[0, 0]  # "seven"
    said[1, [0, 2]] = table[0, [0, 2]]  # "red seven"
    said[2, 2] = table[0, 2]  # "red digit"
    said[3, 0] = table[2, 0]  # "zero", which the letter O looks like
    kind = np.zeros(4, dtype=np.int64)
    found = captions.conflicts(captions.Captions(["", "", "", ""], said, kind), images)
    assert found.astype(int).tolist() == [[1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [1, 0, 1, 0, 0], [0, 0, 1, 1, 0]]
