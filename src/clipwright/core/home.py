"""Where clipwright keeps what it may rebuild: CLIPWRIGHT_HOME, by default the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The cache folder: ``$CLIPWRIGHT_HOME``, else ``$XDG_CACHE_HOME/clipwright``, else ``~/.cache/clipwright``."""
    if chosen := os.environ.get("CLIPWRIGHT_HOME"):
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "clipwright"
