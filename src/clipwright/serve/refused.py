"""A request that is refused: a status, a code for programs, a sentence for people."""

from __future__ import annotations

from typing import Any

from clipwright.core.errors import ClipwrightError


class Refused(ClipwrightError):  # noqa: N818 - reads as what happens to the request
    """Becomes ``{"error": {"code", "message", ...}}``.

    Args:
        status: HTTP status.
        code: for programs.
        message: one sentence.
        details: what stands beside code and message.
    """

    def __init__(self, status: int, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = details

    def body(self) -> dict[str, Any]:
        """The structured error."""
        return {"error": {"code": self.code, "message": str(self), **self.details}}


def bad(message: str) -> Refused:
    """A request whose fields can't be used."""
    return Refused(422, "bad_request", message)


def too_many(what: str, given: int, most: int) -> Refused:
    """A request that goes over a limit."""
    return Refused(422, "too_many", f"{given:,} {what} at once are more than the limit of {most:,}: send fewer.")
