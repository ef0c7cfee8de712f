"""The page as a file: one file, no script, nothing fetched, every name shown as text."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from clipwright.report.elements import ClassScore, Curve, CurvePoint, Score
from clipwright.report.page import Page, Part
from clipwright.report.render import render, write
from clipwright.report.view import SECTIONS

_VOID = {"meta", "img", "br", "link", "input"}


class Reader(HTMLParser):
    """Collects tags, attributes and text; complains where tags don't nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} repeats an attribute"
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module", params=["one part", "several parts"])
def html(request: pytest.FixtureRequest, hostile_page: Page, hostile_pages: Page) -> str:
    return render(hostile_page if request.param == "one part" else hostile_pages)


def test_tags_nest_and_none_of_them_does_anything(html: str) -> None:
    page = Reader(html)
    assert not {tag for tag, _ in page.tags} & {"script", "iframe", "object", "embed", "link", "form", "base"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag


def test_nothing_is_fetched(html: str) -> None:
    for tag, attributes in Reader(html).tags:
        for name in ("src", "href", "srcset", "xlink:href", "action", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#")), (tag, name, value)
    styles = "".join(re.findall(r"<style>(.*?)</style>", html, re.DOTALL))
    assert "url(" not in styles
    assert "@import" not in styles
    assert "default-src 'none'" in html


def test_hostile_names_are_read_as_they_are_written(html: str) -> None:
    text = Reader(html).text
    assert "<script>alert(1)</script>" in text
    assert '"><img src=x onerror=alert(1)>' in text
    assert "]]> --> {{ 7*7 }} {% raw %}" in text
    assert "cost $x_1^{2}$ and $" in text
    assert "naïve 狗 🐕" in text
    assert "null\ufffd bell\ufffd half\ufffd turn\ufffdder" in text


def test_what_no_escaping_makes_displayable_is_gone(html: str) -> None:
    html.encode()  # would raise for a broken surrogate
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", html)


def test_ids_are_unique_and_all_references_lead_somewhere(html: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids)) > 0
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', html)) <= set(ids)


def test_pictures_of_the_page_are_described_for_those_who_can_t_see_them(html: str) -> None:
    for tag, attributes in Reader(html).tags:
        if tag == "img":
            assert attributes["alt"]
        if tag == "svg":
            assert attributes["role"] == "img"
            assert len(attributes["aria-label"] or "") > 60


def test_charts_take_their_colours_from_the_page_in_light_and_dark(html: str) -> None:
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        assert not re.findall(r"#[0-9a-f]{6}", svg)
        used = set(re.findall(r"var\((--[\w-]+)\)", svg))
        assert {"--series-1", "--muted", "--rule"} <= used
        for variable in used:
            assert html.count(f"{variable}:") >= 2, "one value for light, one for dark"
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_an_empty_page_has_a_title_and_nothing_else() -> None:
    html = render(Page("nothing yet"))
    assert "nothing yet" in html
    assert "<section" not in html
    assert "<svg" not in html
    Reader(html)


def test_one_number_needs_no_chart() -> None:
    part = Part(
        scores=(Score(0, "ZeroShot", 0.8, 0.7, 0.9),), curves=(Curve("ZeroShot", (CurvePoint(0, 0.8, 0.7, 0.9),)),)
    )
    html = render(Page("one", parts=(part,)))
    assert "The number<" in html
    assert "<svg" not in html


def test_many_classes_are_folded_and_the_page_stays_small() -> None:
    classes = tuple(ClassScore(f"class number {i}", i % 50, 50, 0.1, 0.9) for i in range(1000))
    html = render(Page("many", parts=(Part(classes=classes),)))
    assert html.count("<details>") == 1
    assert "The 970 between" in html
    assert len(html.encode()) < 600_000


def test_a_full_page_with_photographs_is_under_1_5_mb(hostile_page: Page, tmp_path: Path) -> None:
    write(tmp_path / "new" / "report.html", hostile_page)
    saved = (tmp_path / "new" / "report.html").read_bytes()
    assert len(saved) < 1_500_000
    assert saved.decode() == render(hostile_page), "the same page renders the same"
    pictures = re.findall(rb"data:image/jpeg;base64,([\w+/=]+)", saved)
    assert len(pictures) == 24 + 7  # of the galleries, and of the contact sheet
    assert base64.b64decode(pictures[0]).startswith(b"\xff\xd8")


def test_headings_go_down_one_level_at_a_time(html: str) -> None:
    levels = [int(tag[1]) for tag, _ in Reader(html).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_every_section_is_there_and_linked_where_there_is_one_part(hostile_page: Page) -> None:
    html = render(hostile_page)
    for slug, title in SECTIONS.items():
        if slug != "grid":
            assert f'<section id="p1-{slug}">' in html
            assert f'<a href="#p1-{slug}">{title}</a>' in html


def test_several_parts_have_an_overview_and_contents(hostile_pages: Page) -> None:
    html = render(hostile_pages)
    for slug in ("accuracy", "numbers", "grid", "gaps", "equal", "picks"):
        assert f'<section id="all-{slug}">' in html
    assert html.count('<details class="part">') == 4, "more than three are folded"
    few = render(replace(hostile_pages, parts=hostile_pages.parts[:3]))
    assert few.count('<details class="part" open>') == 3


def test_the_number_of_skipped_images_counts_those_not_listed(html: str) -> None:
    assert "5 images skipped" in html
    assert "and 3 more" in html
