from __future__ import annotations

import socket
import sys

import httpx
import pytest
from tests.serve.made import served

from clipwright.core.errors import NeedsError, UsageError
from clipwright.serve.app import make_app
from clipwright.serve.running import HttpServer, is_local, require_extra


def test_it_answers_once_it_is_entered_and_no_more_once_it_is_left() -> None:
    with HttpServer(make_app(served()), port=0) as server:
        assert server.port > 0
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert httpx.get(f"{server.url}/info", trust_env=False).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/info", trust_env=False)


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"127.0.0.1 port {port} can't be bound .*: choose another with --host"):
            HttpServer(None, port=port)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "256.1.1.1", "a" * 300])
def test_an_address_that_is_none(host: str) -> None:
    with pytest.raises(UsageError, match="can't be bound"):
        HttpServer(None, host=host, port=0)


def test_addresses_to_show() -> None:
    for host, shown in (("0.0.0.0", "127.0.0.1"), ("localhost", "localhost")):  # noqa: S104 - what is tested
        server = HttpServer(make_app(served()), host=host, port=0)
        assert server.url == f"http://{shown}:{server.port}"
        server._socket.close()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6() -> None:
    try:
        server = HttpServer(make_app(served()), host="::1", port=0)
    except UsageError:
        pytest.skip("no IPv6 here")
    with server:
        assert server.url == f"http://[::1]:{server.port}"
        assert httpx.get(f"{server.url}/info", trust_env=False).status_code == 200


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - what is tested
        ("192.168.1.2", False),
        ("example.org", False),
    ],
)
def test_who_can_reach_an_address(host: str, local: bool) -> None:
    assert is_local(host) == local


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    require_extra()
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(NeedsError, match=r"serving needs fastapi and uvicorn: install clipwright\[serve\]"):
        require_extra()
