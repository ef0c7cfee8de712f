"""The structured error in the body of an answer that is no success."""

from __future__ import annotations

import json
from typing import Any


def refusal(body: bytes) -> tuple[str, str, dict[str, Any]]:
    """What a server says of its refusal.

    Understood are ``{"error": {"code", "message", ...}}``, ``{"error": "message"}``, ``{"detail": "message"}`` and
    ``{"message": "message"}``.

    Args:
        body: of the answer, from a stranger.

    Returns:
        code, message and what else stands beside them; empty where the body is none of these.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return "", "", {}
    if not isinstance(value, dict):
        return "", "", {}
    error = value.get("error", value)
    if isinstance(error, str):
        return "", error, {}
    if not isinstance(error, dict):
        return "", "", {}
    message = error.get("message") or error.get("detail")
    code = error.get("code")
    others = {k: v for k, v in error.items() if k not in {"code", "message", "detail"}}
    return code if isinstance(code, str) else "", message if isinstance(message, str) else "", others
