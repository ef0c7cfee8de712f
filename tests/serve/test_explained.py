"""The page about a server's routes."""

from __future__ import annotations

import re

from clipwright.serve.explained import explain
from clipwright.serve.routes import ROUTES


def test_every_route_and_field_is_explained_and_nothing_is_loaded() -> None:
    page = explain("<b>", address='http://127.0.0.1:9/"><script>', token=True)
    for route in ROUTES:
        assert f"POST {route.path}<" in page
        assert all(f"<code>{name}</code>" in page for name in route.fields)
    assert page.count("Bearer TOKEN") == 2
    assert "Bearer" not in explain("", address="http://127.0.0.1:9", token=False)
    assert "<script" not in page
    assert "<b>" not in page
    assert re.findall(r"(?:src|href)=\"?([^\" >]+)", page) == ["openapi.json"]
