"""Running the application: a port, a thread or the whole process, and a clean end."""

from __future__ import annotations

import ipaddress
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from clipwright.core.errors import NeedsError, UsageError

if TYPE_CHECKING:
    import uvicorn

LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_PATIENCE = 5  # seconds that requests in flight get at the end
_CONNECTIONS = 64  # at a time; more are answered 503 and come again


class HttpServer:
    """An application on a port. As a context manager it runs in a thread; `run` takes the whole process.

    Args:
        app: any ASGI application.
        host: address to bind.
        port: port to bind; 0 takes a free one.

    Raises:
        UsageError: the address or port can't be had.
        NeedsError: uvicorn isn't installed.
    """

    def __init__(self, app: Any, host: str = "127.0.0.1", port: int = 8000) -> None:
        self._socket = bound(host, port)
        self.host, self.port = host, int(self._socket.getsockname()[1])
        self._server = _uvicorn(app)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http://{f'[{name}]' if ':' in name and '[' not in name else name}:{self.port}"

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Answer until SIGINT, SIGTERM or `stop`; requests in flight get a few seconds.

        Args:
            ready: called once requests are answered.
        """
        server = self._server
        start = server.startup

        async def startup(sockets: list[socket.socket] | None = None) -> None:
            await start(sockets)
            ready()

        server.startup = startup  # type: ignore[method-assign] # uvicorn has no other way to say that it is ready
        with _signals(server):
            server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Make `run` return."""
        self._server.should_exit = True

    def __enter__(self) -> Self:
        started = threading.Event()
        self._thread = threading.Thread(target=self.run, args=(started.set,), daemon=True, name="http")
        self._thread.start()
        while not started.wait(0.05) and self._thread.is_alive():
            pass
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join(2 * _PATIENCE)


def bound(host: str, port: int) -> socket.socket:
    """A socket bound to an address.

    Raises:
        UsageError: it can't be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"{host} port {port} can't be bound ({why}): choose another with --host or --port; 0 takes a free port."
        ) from error


def is_local(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve_backbone(
    backbone: str,
    *,
    access: Sequence[str] | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    max_batch: int = 256,
    max_mb: int = 64,
    max_images: int = 1_000_000,
    store: Path | None = None,
    device: str | None = None,
) -> tuple[HttpServer, dict[str, Any]]:
    """Load a backbone and put it on a port.

    Args:
        backbone: its name.
        access: what is granted; by default scores, and soft prompts where the model takes them.
        host: address to bind.
        port: port to bind; 0 takes a free one.
        token: bearer token that requests must carry, or None.
        max_batch: images per upload and prompts per request.
        max_mb: MiB of a body.
        max_images: images that are remembered.
        store: folder where features are kept for the next start, or None.
        device: where the model runs.

    Returns:
        The server, not yet running, and what ``/info`` will say.

    Raises:
        NeedsError: the ``serve`` extra isn't installed, or the model can't do what is granted.
        UsageError: the address, a limit or the access can't be used.
        BackboneError: the model can't be loaded.
    """
    require_extra()
    from clipwright.backbones import resolve
    from clipwright.serve.app import make_app
    from clipwright.serve.limits import Limits
    from clipwright.serve.served import Served, read_access

    limits = Limits.of(max_batch=max_batch, max_mb=max_mb, max_images=max_images)
    bound(host, port).close()  # said before a large model is loaded
    granted = None if access is None else read_access(access)
    served = Served(resolve(backbone, device=device).load(), granted, limits, store)
    names = LOCAL_NAMES | {host} if is_local(host) else frozenset[str]()
    return HttpServer(make_app(served, token=token, hosts=names), host, port), served.info()


def require_extra() -> None:
    """Refuse to serve without the packages that do.

    Raises:
        NeedsError: says what to install.
    """
    try:
        import fastapi
        import uvicorn
    except ImportError as error:
        raise NeedsError("serving needs fastapi and uvicorn: install clipwright[serve].") from error
    del fastapi, uvicorn


def _uvicorn(app: Any) -> uvicorn.Server:
    require_extra()
    import uvicorn

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        ws="none",
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_PATIENCE,
    )
    return uvicorn.Server(config)


@contextmanager
def _signals(server: uvicorn.Server) -> Iterator[None]:
    """SIGINT and SIGTERM end the server and nothing else; uvicorn's own handling would raise them again."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        server.force_exit = server.should_exit  # asked twice: don't wait
        server.should_exit = True

    server.handle_exit = end  # type: ignore[method-assign, assignment] # what uvicorn installs while it runs
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
