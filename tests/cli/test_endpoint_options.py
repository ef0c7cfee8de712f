from __future__ import annotations

from typing import Any

import pytest

from clipwright.cli.endpoint_options import FREE, endpoint_of
from clipwright.core.errors import UsageError

DEFAULTS: dict[str, Any] = {
    "api_key_file": None,
    "concurrency": 2,
    "requests_per_minute": 60.0,
    "tokens_per_minute": None,
    "timeout": 5.0,
    "price_prompt": None,
    "price_completion": None,
    "quiet": False,
}


def test_options_make_an_endpoint_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert endpoint_of(None, None, **DEFAULTS) is None
    found = endpoint_of("http://127.0.0.1:1/v1", "m", **DEFAULTS)
    assert found is not None
    assert (found.concurrency, found.requests_per_minute, found.timeout, found.prices) == (2, 60.0, 5.0, None)
    priced = endpoint_of("http://127.0.0.1:1/v1", "m", **{**DEFAULTS, "price_completion": 2.0})
    assert priced is not None
    assert priced.prices is not None
    assert priced.prices.cost(10**6, 10**6) == 2.0
    for half in (("http://127.0.0.1:1/v1", None), (None, "m")):
        with pytest.raises(UsageError, match="belong together"):
            endpoint_of(*half, **DEFAULTS)


def test_a_key_on_its_way_in_the_open_is_told_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    endpoint_of("http://example.org/v1", "m", **DEFAULTS)
    told = capsys.readouterr().err
    assert "unencrypted" in told
    assert "sk-secret" not in told
    endpoint_of("https://example.org/v1", "m", **DEFAULTS)
    assert not capsys.readouterr().err


def test_free_options_are_those_that_change_no_answer() -> None:
    assert "model" not in FREE
    assert {"base_url", "api_key_file", "price_prompt"} <= set(FREE)
