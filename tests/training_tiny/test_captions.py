import numpy as np
import pytest
from training.tiny import captions, model, parts

from clipwright.assets.renderer import atlas, scenes


@pytest.fixture(scope="module")
def batch() -> scenes.Scenes:
    return scenes.sample(atlas.build(1, hands=1, forms=1), 600, seed=1, step=0)


def _scene(noun: str, **fields: str) -> list[int]:
    """A row of a table of scenes by words."""
    words = {"medium": "handwritten", "colour": "red", "background": "white", "texture": "plain", "size": "large"}
    words |= {"weight": "medium", "quality": "clear"} | fields
    columns: tuple[tuple[str, ...], ...] = (atlas.MEDIA, tuple(scenes.COLOURS), tuple(scenes.COLOURS))
    columns += (scenes.TEXTURES, scenes.SIZES, scenes.WEIGHTS, scenes.QUALITIES)
    return [atlas.NOUNS.index(noun), *(c.index(w) for c, w in zip(columns, words.values(), strict=True))]


def test_equal_seeds_write_equal_captions(batch: scenes.Scenes) -> None:
    first, again = captions.write(batch, seed=4, step=7), captions.write(batch, seed=4, step=7)
    assert first.texts == again.texts
    assert first.texts != captions.write(batch, seed=4, step=8).texts


def test_captions_are_varied_short_and_good_english(batch: scenes.Scenes) -> None:
    texts = captions.write(batch, seed=4, step=0).texts
    assert len(set(texts)) > 0.7 * len(texts)
    bad = (" a orange", " an one", "  ", " an white", " an uni")
    assert not any(wrong in f"{text} " for text in texts for wrong in bad)
    context = model.CONFIG["model_cfg"]["text_cfg"]["context_length"]
    lengths = (model.tokenizer()(texts) > 0).sum(1)
    assert int(lengths.max()) <= context
    assert float(np.mean(lengths.numpy() == context)) < 0.05


def test_a_caption_says_only_what_is_there(batch: scenes.Scenes) -> None:
    written = captions.write(batch, seed=4, step=0)
    mentioned = written.said >= 0
    assert np.array_equal(written.said[mentioned], batch.table[mentioned])
    assert 0.6 < mentioned[:, 0].mean() < 0.8
    assert mentioned[:, 1:].mean(0).min() > 0.05
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
    said = np.full((4, 8), -1, dtype=np.int64)
    said[1:3, 2] = table[0, 2]  # "red ..."
    allowed = np.zeros((4, len(atlas.NOUNS)), dtype=np.bool_)
    allowed[:2, atlas.NOUNS.index("7")] = True  # "seven", "red seven"
    allowed[2, :10] = True  # "red digit"
    allowed[3, [atlas.NOUNS.index("0"), atlas.NOUNS.index("O")]] = True  # "zero", which the letter O looks like
    found = captions.conflicts(captions.Captions(["", "", "", ""], said, allowed), images)
    assert found.astype(int).tolist() == [[1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [1, 0, 1, 0, 0], [0, 0, 1, 1, 0]]


def test_parts_narrow_down_what_a_caption_may_be_true_of() -> None:
    table = np.tile(_scene("8"), (400, 1))
    written = captions.write(scenes.Scenes(np.zeros(400, dtype=np.int64), table), seed=4, step=0)
    loops = next(i for i, part in enumerate(parts.ATTRIBUTES) if part.name == "two loops")
    rows = [
        i
        for i, text in enumerate(written.texts)
        if any(f"digit with {wording}" in text for wording in parts.trained(loops))
    ]
    assert rows
    for row in rows:
        assert [n for n, ok in zip(atlas.NOUNS, written.allowed[row], strict=True) if ok] == ["8"]


def test_what_a_caption_implies_is_true(batch: scenes.Scenes) -> None:
    written = captions.write(batch, seed=4, step=0)
    implied = captions.implied(written)
    truth = parts.truth()[batch.table[:, 0]]
    assert not ((implied >= 0) & (truth >= 0) & (implied != truth)).any()
    described = written.said[:, 0] < 0
    assert (implied[described] == 1).any(1).mean() > 0.5  # "something with ..." may leave all of it open


def test_no_caption_contains_a_wording_kept_for_development() -> None:
    masks = atlas.build(1, hands=1, forms=1)
    texts = [
        text
        for step in range(5)
        for text in captions.write(scenes.sample(masks, 400, seed=2, step=step), seed=2, step=step).texts
    ]
    kept = {w for a in parts.ATTRIBUTES for w in a.wordings if parts.held_out(w)}
    trained = {w for a in parts.ATTRIBUTES for w in a.wordings if not parts.held_out(w)}
    inside = {k for k in kept if any(k in t for t in trained)}  # "a flat top" may be inside of a longer wording
    found = [k for k in kept - inside for text in texts if f" {k} " in f"{text.removesuffix('.').replace(',', '')} "]
    assert not found
    assert len(kept) > 150
