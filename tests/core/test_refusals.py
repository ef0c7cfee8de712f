from __future__ import annotations

import pytest

from clipwright.core.refusals import refusal


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (
            b'{"error": {"code": "access", "message": "no", "granted": ["scores"]}}',
            ("access", "no", {"granted": ["scores"]}),
        ),
        (b'{"error": "no"}', ("", "no", {})),
        (b'{"detail": "Not Found"}', ("", "Not Found", {})),
        (b'{"message": "no"}', ("", "no", {})),
        (b'{"error": {"code": 7, "message": ["no"]}}', ("", "", {})),
        (b"<html>", ("", "", {})),
        (b"[1]", ("", "", {})),
        (b'{"error": 3}', ("", "", {})),
        (b"[" * 100_000, ("", "", {})),
        (b"\xff", ("", "", {})),
    ],
)
def test_whatever_a_server_says(body: bytes, wanted: tuple[str, str, dict[str, object]]) -> None:
    assert refusal(body) == wanted
