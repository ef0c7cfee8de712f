import numpy as np
import pytest
import torch

from clipwright.assets.renderer import atlas, compose, scenes, strokes


@pytest.fixture(scope="module")
def masks() -> atlas.Atlas:
    return atlas.build(3, hands=2, forms=2)


def test_atlas_shows_every_noun(masks: atlas.Atlas) -> None:
    assert masks.masks.shape[1:] == (atlas.SIZE, atlas.SIZE)
    assert masks.masks.dtype == np.uint8
    assert set(masks.noun.tolist()) == set(range(len(atlas.NOUNS)))
    ink = masks.masks.astype(float).mean((1, 2)) / 255
    assert ink.min() > 0.01
    assert ink.max() < 0.7
    # A margin is left, so that turning the drawing doesn't cut it off.
    made = masks.masks[masks.medium < 2]
    assert made[:, 0].max() == 0
    assert made[:, -1].max() == 0


def test_hand_is_unsteady_but_repeatable() -> None:
    options = {"form": 1, "shake": 0.05, "pen": 0.06, "size": 40}
    first = strokes.draw("4", seed=1, **options)  # type: ignore[arg-type]  # a dict of mixed numbers
    assert np.array_equal(first, strokes.draw("4", seed=1, **options))  # type: ignore[arg-type]  # the same
    assert not np.array_equal(first, strokes.draw("4", seed=2, **options))  # type: ignore[arg-type]  # the same


def test_a_batch_depends_on_seed_and_step_alone(masks: atlas.Atlas) -> None:
    renderer = compose.Renderer(masks, seed=9)
    late = renderer(scenes.sample(masks, 16, seed=9, step=5), 5)
    renderer(scenes.sample(masks, 16, seed=9, step=6), 6)
    again = compose.Renderer(masks, seed=9)(scenes.sample(masks, 16, seed=9, step=5), 5)
    assert torch.equal(late, again)
    assert late.shape == (16, 3, 32, 32)
    assert late.min() >= 0
    assert late.max() <= 1
    assert compose.to_uint8(late).shape == (16, 32, 32, 3)


def test_scenes_keep_their_promises(masks: atlas.Atlas) -> None:
    batch = scenes.sample(masks, 4000, seed=1, step=0)
    noun, medium, colour, background, texture, size, weight, quality = batch.table.T
    assert np.array_equal(masks.noun[batch.mask], noun)
    assert np.array_equal(masks.medium[batch.mask], medium)
    assert not scenes.held_out(colour, noun).any()
    rgb = np.array(list(scenes.COLOURS.values()), dtype=float)
    assert np.linalg.norm(rgb[colour] - rgb[background], axis=1).min() > 100
    assert set(noun.tolist()) == set(range(len(atlas.NOUNS)))
    assert set(texture.tolist()) == set(range(len(scenes.TEXTURES)))
    assert set(size.tolist()) == set(range(len(scenes.SIZES)))
    assert set(weight[noun < 36].tolist()) == set(range(len(scenes.WEIGHTS)))
    assert set(quality.tolist()) == set(range(len(scenes.QUALITIES)))


def test_one_pair_in_nine_is_held_out() -> None:
    colour, noun = np.meshgrid(np.arange(12), np.arange(len(atlas.NOUNS)))
    flags = scenes.held_out(colour, noun)
    assert not flags[:36].any()
    assert flags[36:].mean() == pytest.approx(1 / 9, abs=0.02)
