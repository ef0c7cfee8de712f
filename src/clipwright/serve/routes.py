"""The routes of a served backbone: what each takes, needs and answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clipwright.serve.fields import Fields
from clipwright.serve.served import Served
from clipwright.task import Access

Values = dict[str, Any]
Work = Callable[[], Values]
"""What the model has to do; called in its own thread."""


def _list(items: Values) -> Values:
    return {"type": "array", "items": items, "minItems": 1}


_TEXT, _NUMBER, _BYTE = {"type": "string"}, {"type": "number"}, {"type": "integer", "minimum": 0, "maximum": 255}
SCHEMAS: dict[str, Values] = {
    "pixels": {
        **_list(_list(_list(_list({"type": "integer", "minimum": 0, "maximum": 255})))),
        "title": "(b, 3, H, W)",
    },
    "images": {**_list({"type": "string", "format": "byte"}), "title": "image files in base64"},
    "handles": {**_list(_TEXT), "title": "as POST /images answers them"},
    "names": {**_list(_TEXT), "title": "C class names"},
    "templates": {**_list(_TEXT), "title": "sentences with one {}; by default 'a photo of a {}.'"},
    "contexts": {**_list(_list(_list(_NUMBER))), "title": "(P, m, d) soft prompts"},
    "texts": {**_list(_TEXT), "title": "T texts"},
    "words": {**_TEXT, "title": "such as 'a photo of a'"},
}
"""JSON schemas of the fields."""


@dataclass(frozen=True)
class Route:
    """One POST route.

    Attributes:
        path: below the address.
        summary: half a line.
        fields: what it takes.
        required: those of the fields that must be there.
        answers: what it answers, half a line.
        prepare: checks access, reads the fields, and returns the model's work.
    """

    path: str
    summary: str
    fields: tuple[str, ...]
    required: tuple[str, ...]
    answers: str
    prepare: Callable[[Served, Fields], Work]


def _images(served: Served, fields: Fields) -> Work:
    pixels = fields.pixels(served.backbone.preprocess)
    return lambda: {"handles": served.add_images(pixels)}


def _scoring(served: Served, fields: Fields, needs: Access) -> Callable[[], Any]:
    soft = fields.has("contexts")
    served.require(needs, *([Access.SOFT_PROMPT] if soft else []))
    handles, names = fields.handles(), fields.names()
    templates, contexts = ([], fields.contexts()) if soft else (fields.templates(), None)
    return lambda: served.scores(handles, names, templates, contexts)


def _scores(served: Served, fields: Fields) -> Work:
    work = _scoring(served, fields, Access.SCORES)
    return lambda: {"scores": work()}


def _labels(served: Served, fields: Fields) -> Work:
    work = _scoring(served, fields, Access.LABELS)
    return lambda: {"labels": work().argmax(-1)}


def _embed_images(served: Served, fields: Fields) -> Work:
    served.require(Access.FEATURES)
    if fields.has("handles"):
        handles = fields.handles(served.limits.images)
        return lambda: {"features": served.image_features(handles)}
    pixels = fields.pixels(served.backbone.preprocess)
    return lambda: {"features": served.image_features(served.add_images(pixels))}


def _embed_texts(served: Served, fields: Fields) -> Work:
    served.require(Access.FEATURES)
    texts = fields.texts("texts")
    return lambda: {"features": served.text_features(texts)}


def _embed_prompts(served: Served, fields: Fields) -> Work:
    served.require(Access.SOFT_PROMPT, Access.FEATURES)
    names, contexts = fields.names(), fields.contexts()
    return lambda: {"features": served.prompt_features(names, contexts).numpy()}


def _embed_words(served: Served, fields: Fields) -> Work:
    served.require(Access.SOFT_PROMPT)
    words = fields.words()
    return lambda: {"context": served.context(words)}


_SCORED = ("handles", "names", "templates", "contexts")
ROUTES = (
    Route("/images", "Send images once; any access will do.", ("pixels", "images"), (), "handles: b texts", _images),
    Route(
        "/scores", "Class scores; needs access to scores.", _SCORED, ("handles", "names"), "scores: (P, n, C)", _scores
    ),
    Route(
        "/labels", "The best class; needs access to labels.", _SCORED, ("handles", "names"), "labels: (P, n)", _labels
    ),
    Route(
        "/embed/images",
        "Image features; needs access to features.",
        ("handles", "pixels", "images"),
        (),
        "features: (n, D)",
        _embed_images,
    ),
    Route(
        "/embed/texts",
        "Text features; needs access to features.",
        ("texts",),
        ("texts",),
        "features: (T, D)",
        _embed_texts,
    ),
    Route(
        "/embed/prompts",
        "Text features under soft prompts; needs access to soft_prompt and features.",
        ("names", "contexts"),
        ("names", "contexts"),
        "features: (P, C, D)",
        _embed_prompts,
    ),
    Route(
        "/embed/words",
        "Token embeddings; needs access to soft_prompt.",
        ("words",),
        ("words",),
        "context: (m, d)",
        _embed_words,
    ),
)
"""All POST routes."""
