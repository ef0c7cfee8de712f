"""Where the cache is."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipwright.core.home import home


def test_own_variable_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("CLIPWRIGHT_HOME", str(tmp_path / "own"))
    assert home() == tmp_path / "own"
    monkeypatch.setenv("CLIPWRIGHT_HOME", "~/somewhere")
    assert home() == Path.home() / "somewhere"
    monkeypatch.setenv("CLIPWRIGHT_HOME", "")
    assert home() == tmp_path / "xdg" / "clipwright"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("CLIPWRIGHT_HOME")
    assert home() == Path.home() / ".cache" / "clipwright"
