"""What each style of drawing promises, beyond the pinned bytes of its data set."""

import hashlib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from training.glyphs.__main__ import FONTS

from clipwright.assets import datasets
from clipwright.assets.datasets import coloured, glyphs, letters, poster, raster, sketch, stipple
from clipwright.assets.datasets.distance import UNIT, distance
from clipwright.assets.renderer import outlines
from clipwright.core.errors import DataError

GLYPHS = "6944c42ebeedd3b302b7c0c34e1ae521ec927eda31b9a1a3e80bf38b7acf373f"


def test_stored_glyphs_are_the_ones_whose_making_is_described() -> None:
    content = (files("clipwright.assets.datasets") / "glyphs.npz").read_bytes()
    assert hashlib.sha256(content).hexdigest() == GLYPHS
    assert len(content) < 400_000
    masks = glyphs.characters()
    assert masks.shape == (len(glyphs.FACES), len(glyphs.CHARACTERS), glyphs.SIZE, glyphs.SIZE)
    assert [len(glyphs.variants(name)) for name in ("4", "X", "star")] == [12, 11, 6]
    # Every glyph fills INK of the mask along its longer side.
    for name in glyphs.CHARACTERS:
        used = glyphs.variants(name)
        longer = np.maximum((used.max(1) > 0).sum(1), (used.max(2) > 0).sum(1))
        assert np.abs(longer - glyphs.INK * glyphs.SIZE).max() <= 1


def test_no_two_faces_draw_alike() -> None:
    masks = glyphs.characters().astype(np.int64)
    apart = [np.abs(a - b).mean() / 255 for i, a in enumerate(masks) for b in masks[:i]]
    assert min(apart) > 0.05


def test_shapes_have_the_classes_of_shapes() -> None:
    for name in ("shapes-sketch", "shapes-stipple"):
        assert datasets.load(name).class_names == datasets.load("shapes").class_names
        assert np.array_equal(datasets.load(name).labels, datasets.load("shapes").labels)
    assert len(datasets.load("shapes-colour").class_names) == len(coloured.COLOURS) * len(outlines.SHAPES)


@pytest.mark.parametrize("name", ["7", "Q", "heart"])
def test_a_poster_depends_on_its_seed_alone(name: str) -> None:
    alone = poster.draw(name, 5)
    assert alone.shape == (32, 32, 3)
    assert np.array_equal(poster.draw_many(["0", name, "star"], [1, 5, 9])[1], alone)
    assert not np.array_equal(poster.draw(name, 6), alone)


@pytest.mark.parametrize("name", ["q", "10", "", "house"])
def test_what_cannot_be_drawn(name: str) -> None:
    with pytest.raises(DataError, match="choose a digit, a capital letter or circle"):
        poster.draw(name, 0)


def test_pictures_of_a_batch_do_not_depend_on_each_other() -> None:
    seeds = list(range(140))  # more than a chunk
    names = [outlines.SHAPES[i % 14] for i in seeds]
    for draw in (sketch.draw_many, stipple.draw_many):
        assert np.array_equal(draw(names, seeds)[[3, 139]], draw([names[3], names[139]], [3, 139]))
    many = letters.draw_many([i % 26 for i in seeds], seeds)
    assert np.array_equal(many[[139]], letters.draw_many([139 % 26], [139]))


def test_distance_agrees_with_the_circle() -> None:
    one = np.ones(1)
    found = distance(["circle"], 0.5 * one, size=0.8 * one, angle=0 * one, x=0 * one, y=0 * one)[0] / UNIT
    axis = np.arange(32) - 15.5
    expected = np.hypot(axis, axis[:, None]) - 0.85 * 0.8 * 16
    assert np.abs(found - expected).max() < 0.75


def test_an_unturned_figure_is_where_it_is_put() -> None:
    plane = np.zeros((1, 48, 48), dtype=np.uint8)
    plane[:, 5:43, 15:33] = 255  # 38 high, 18 wide
    one = np.ones(1)
    ink = raster.place(plane, size=0.5 * one, angle=0 * one, x=0.25 * one, y=-0.25 * one, ink=38 / 48)[0]
    rows, columns = np.flatnonzero(ink.max(1) > 127), np.flatnonzero(ink.max(0) > 127)
    assert (rows[0], rows[-1]) == (4, 19)
    assert 15 <= columns[0] <= 17
    assert 22 <= columns[-1] <= 24
    wide = raster.place(plane, size=0.5 * one, angle=0 * one, x=0 * one, y=0 * one, ink=38 / 48, wide=38 / 18 * one)[0]
    assert abs(int(wide[16].sum()) - int(wide[:, 16].sum())) <= 255


def test_smooth_goes_through_its_lattice_and_blur_keeps_flat_areas() -> None:
    lattice = np.array([[[0, 255], [128, 64]]], dtype=np.int64)
    grown = raster.smooth(lattice)[0]
    assert np.abs(grown[[0, 0, -1, -1], [0, -1, 0, -1]] - [0, 255, 128, 64]).max() <= 1
    flat = np.full((1, 32, 32), 77, dtype=np.int64)
    assert np.array_equal(raster.blur(flat), flat)
    assert np.array_equal(raster.fatten(flat), flat)


def test_tones_are_as_bright_as_asked() -> None:
    rgb = raster.colour(np.linspace(0, 1, 12), np.full(12, 0.9), np.ones(12))
    for want in (0.1, 0.5, 0.9):
        bright = raster.toned(rgb, np.full(12, want)) @ np.array([5, 9, 2]) / (16 * 255)
        assert np.abs(bright - want).max() < 0.02
    assert raster.colour(np.array([0.0, 1 / 3]), np.ones(2), np.ones(2)).tolist() == [[255, 0, 0], [0, 255, 0]]


def test_figures_of_every_colour_stand_out() -> None:
    data = datasets.load("shapes-colour")
    image = data.images.astype(np.int64)
    corner = image[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean(1)
    apart = np.abs(image - corner[:, None, None]).max(-1).reshape(len(image), -1)
    assert np.quantile(apart, 0.95, axis=1).min() > 50


def test_the_page_shows_every_set_and_names_every_face() -> None:
    docs = Path(__file__).parents[3] / "docs"
    page = (docs / "datasets.md").read_text(encoding="utf-8")
    for name in datasets.names():
        data = datasets.load(name)
        row = f"| `{name}` | {len(data.class_names)} | {len(data.rows('train')):,} | {len(data.rows('test')):,} |"
        assert row in page
        assert f"images/sheets/{name}.png" in page
        assert (docs / "images" / "sheets" / f"{name}.png").stat().st_size < 150_000
    for face, (_, package) in zip(glyphs.FACES, FONTS, strict=True):
        assert f"| {face.name} | {face.look} | {face.copyright} | {face.licence} | `{package}` |" in page
