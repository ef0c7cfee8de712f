from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clipwright.core.errors import UsageError
from clipwright.synthetic.endpoint import Endpoint, Prices, read_api_key


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host/v1", "http://", "http://[::1", "http://h:port/v1", ""])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        Endpoint(url, "m")


def test_passwords_in_addresses_are_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="no user name or password") as caught:
        Endpoint("https://me:hunter2@host/v1", "m")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong", [{"model": " "}, {"concurrency": 0}, {"timeout": 0.0}, {"requests_per_minute": -1.0}, {"attempts": 0}]
)
def test_limits_must_be_positive(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Endpoint(**{"base_url": "http://h/v1", "model": "m", **wrong})


def test_prices() -> None:
    assert Prices(2.0, 8.0).cost(500_000, 250_000) == 3.0
    with pytest.raises(UsageError, match="negative"):
        Prices(-1.0)


def test_a_key_on_its_way_in_the_open_is_noticed() -> None:
    assert Endpoint("http://example.org/v1", "m", api_key="k").is_exposed
    assert not Endpoint("https://example.org/v1", "m", api_key="k").is_exposed
    assert not Endpoint("http://127.0.0.1:1/v1", "m", api_key="k").is_exposed
    assert not Endpoint("http://example.org/v1", "m").is_exposed


def test_keys_come_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert read_api_key() is None
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    assert read_api_key() == "from-environment"
    place = tmp_path / "key"
    place.write_text("from-file\n")
    assert read_api_key(place) == "from-file"
    assert "from-file" not in repr(Endpoint("http://h/v1", "m", api_key=read_api_key(place)))


@pytest.mark.parametrize("content", [b"", b"two words", "schlüssel".encode(), b"\xff\xfe"])
def test_a_file_without_a_key_is_refused_without_showing_it(content: bytes, tmp_path: Path) -> None:
    place = tmp_path / "key"
    place.write_bytes(content)
    with pytest.raises(UsageError, match="--api-key-file") as caught:
        read_api_key(place)
    assert "words" not in str(caught.value).replace("one word of visible", "")


def test_a_missing_key_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read"):
        read_api_key(tmp_path / "none")
