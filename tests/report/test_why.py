"""Which texts decided, as the page tells it."""

from __future__ import annotations

import numpy as np
import torch

from clipwright.report.page import Page, Part
from clipwright.report.render import render
from clipwright.report.why import has_texts, reasons
from clipwright.task import Features, TextFeatures

NAMES = ("<script>alert(1)</script>", 'dog "rex"')
ROWS = torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.1, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
TEXT = TextFeatures(
    ROWS,
    torch.tensor([0, 0, 1, 1]),
    kind=("template", "attribute", "template", "attribute"),
    texts=("a photo of <script>", "has <b>whiskers</b>", "a photo of a dog", "barks"),
)
IMAGES = Features(torch.tensor([[1.0, 0.1, 0.0], [0.1, 1.0, 0.9], [0.6, 0.5, 0.0]]), ids=("a", "b", "c<i>"))


def test_by_class_and_by_image() -> None:
    by_class, by_image = reasons(
        TEXT,
        IMAGES,
        np.array([0, 1, 0]),
        np.array([0.9, 0.8, 0.5]),
        NAMES,
        labels=np.array([0, 1, 1]),
    )
    assert [r.named for r in by_class] == list(NAMES)
    assert by_class[0].under == "2 images"
    assert by_class[0].against == NAMES[1]
    assert {e.kind for e in by_class[0].spoke_for} == {"template", "attribute"}
    assert by_image[0].under == "c<i>"  # the least certain one first
    assert by_image[0].truth == NAMES[1]
    lead = sum(e.share for e in by_image[0].spoke_for)
    assert abs(lead - by_image[0].lead) < 1e-6  # the texts of the named class share out its lead
    assert by_class[1].spoke_for[0].text == "barks"


def test_only_where_more_is_known_than_names() -> None:
    assert has_texts(TEXT)
    assert not has_texts(None)
    assert not has_texts(TextFeatures(ROWS[:2], torch.tensor([0, 1])))


def test_the_page_escapes_what_texts_say() -> None:
    why = reasons(TEXT, IMAGES, np.array([0, 1, 0]), np.array([0.9, 0.8, 0.5]), NAMES)
    html = render(Page(title="t", subtitle="s", parts=(Part(why_classes=why[0], why_images=why[1]),)))
    assert "Why: what the texts say" in html
    assert "&lt;b&gt;whiskers&lt;/b&gt;" in html
    assert "<b>whiskers" not in html
    assert "<script>alert" not in html
