"""Addresses of servers, as users type them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from clipwright.core.errors import UsageError

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
"""Hosts that are this machine."""

_HOST = re.compile(r"[A-Za-z0-9_.-]+|[0-9a-fA-F:.]+")
_PATH = re.compile(r"(/[A-Za-z0-9_.~%-]+)*")


@dataclass(frozen=True)
class Address:
    """Where a server answers.

    Attributes:
        text: ``http://HOST:PORT/PATH`` without a slash at the end.
        host: without brackets.
        secure: whether it is https.
    """

    text: str
    host: str
    secure: bool

    @property
    def local(self) -> bool:
        """Whether it is this machine."""
        return self.host in LOCAL


def check_address(text: str) -> Address:
    """Read the address of a server.

    Raises:
        UsageError: it is none, or holds a user name or password, which would stand in messages and files.
    """
    text = text.strip().rstrip("/")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port  # an impossible port is noticed here
    except ValueError:
        parts, host = urlsplit(""), ""
    if "@" in parts.netloc:
        raise UsageError("the address of a server must hold no user name and no password: give a token instead.")
    good = parts.scheme in {"http", "https"} and _HOST.fullmatch(host) and _PATH.fullmatch(parts.path)
    if not good or parts.query or parts.fragment or not text.isprintable() or text.endswith(":"):
        raise UsageError(f"{text!r} is no address of a server: write http://HOST:PORT or https://HOST.")
    return Address(f"{parts.scheme}://{parts.netloc}{parts.path}", host, parts.scheme == "https")
