"""The web application: tokens, limits, formats and errors around the routes."""

# No `from __future__ import annotations` here: FastAPI reads the annotations of handlers, whose types are imported
# inside `make_app`, since FastAPI is optional.

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from clipwright import __version__
from clipwright.backbones.agreement import MODEL_HEADER
from clipwright.core.errors import BackboneError, ClipwrightError, NeedsError
from clipwright.core.payload import JSON, NPZ, PayloadError, pack, unpack
from clipwright.serve.explained import POLICY, explain
from clipwright.serve.fields import Fields
from clipwright.serve.refused import Refused, bad
from clipwright.serve.routes import ROUTES, SCHEMAS, Route
from clipwright.serve.served import Served

if TYPE_CHECKING:
    from fastapi import FastAPI

_LOGGER = logging.getLogger(__name__)
_ABOUT = """A vision-language model that answers queries. Images are sent once and then named by handles; what else may
be asked is in `/info`. Bodies and answers are JSON or npz (`Content-Type`, `Accept`)."""


def make_app(served: Served, *, token: str | None = None, hosts: frozenset[str] = frozenset()) -> "FastAPI":
    """Make the application of a served backbone.

    Args:
        served: the model.
        token: what requests must carry as a bearer token, or None.
        hosts: names that requests may call this server by, or none to allow all: a web page that has its own name
            point here is refused.

    Raises:
        ImportError: FastAPI is not installed.
    """
    from fastapi import FastAPI, Request, Response
    from starlette.exceptions import HTTPException

    app = FastAPI(title="clipwright", version=__version__, description=_ABOUT, docs_url=None, redoc_url=None)
    worker = ThreadPoolExecutor(1, thread_name_prefix="model")  # torch works for one request at a time

    def answer(values: Mapping[str, Any], accept: str) -> Response:
        kind = NPZ if NPZ in accept else JSON
        return Response(pack(values, kind), media_type=kind, headers={MODEL_HEADER: served.backbone.digest})

    def guard(request: Request) -> None:
        if hosts and request.url.hostname not in hosts:
            raise Refused(403, "host", "this server is meant for its own machine: ask it as 127.0.0.1 or localhost.")
        check_bearer(request.headers.get("authorization", ""), token)

    async def info(request: Request) -> Response:
        guard(request)
        return answer(served.info(), JSON)

    def handler(route: Route) -> Callable[..., Any]:
        async def handle(request: Request) -> Response:
            guard(request)
            most = served.limits.bytes
            body = await read_body(request.stream(), request.headers.get("content-length"), most)
            kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
            work = await asyncio.to_thread(prepare, served, route, body, kind)
            values = await asyncio.get_running_loop().run_in_executor(worker, work)
            return await asyncio.to_thread(answer, values, request.headers.get("accept", ""))

        return handle

    async def refused(request: Request, error: Exception) -> Response:
        known = as_refused(error)
        headers = {"www-authenticate": "Bearer"} if known.status == 401 else {}
        return Response(pack(known.body(), JSON), known.status, headers=headers, media_type=JSON)

    _add_docs(app, token=token is not None)
    app.add_api_route("/info", info, methods=["GET"], summary="What is served, and what may be asked.")
    for route in ROUTES:
        extra = {"requestBody": request_body(route)}
        description = f"Answers {route.answers}."
        app.add_api_route(
            route.path,
            handler(route),
            methods=["POST"],
            summary=route.summary,
            description=description,
            openapi_extra=extra,
            operation_id=route.path.strip("/").replace("/", "_"),
        )
    for kind_of_error in (ClipwrightError, HTTPException, Exception):
        app.add_exception_handler(kind_of_error, refused)
    return app


def _add_docs(app: "FastAPI", *, token: bool) -> None:
    """Explain the routes to people, at ``/docs``."""
    from fastapi import Request, Response

    async def docs(request: Request) -> Response:
        page = explain(_ABOUT.replace("`", ""), address=str(request.base_url).rstrip("/"), token=token)
        return Response(page, media_type="text/html", headers={"content-security-policy": POLICY})

    app.add_api_route("/docs", docs, methods=["GET"], include_in_schema=False)


def prepare(served: Served, route: Route, body: bytes, kind: str) -> Callable[[], Mapping[str, Any]]:
    """Read a body and make it the model's work.

    Raises:
        Refused: the body can't be read, a field can't be used, or the route is not granted.
    """
    if kind not in {JSON, NPZ}:
        raise Refused(415, "content_type", f"the body must be {JSON} or {NPZ}: say so in Content-Type.")
    try:
        values = unpack(body, kind, most=served.limits.bytes)
    except PayloadError as error:
        raise bad(f"the body {error}.") from error
    fields = Fields(values, served.limits)
    fields.only(*route.fields)
    return route.prepare(served, fields)


async def read_body(stream: AsyncIterator[bytes], length: str | None, most: int) -> bytes:
    """A whole body.

    Raises:
        Refused: it has more than `most` bytes; the rest of it isn't read.
    """
    refusal = Refused(413, "too_large", f"the body has more than the limit of {most:,} bytes: send less at once.")
    if length is not None and length.isdigit() and int(length) > most:
        raise refusal
    parts, size = [], 0
    async for part in stream:
        size += len(part)
        if size > most:
            raise refusal
        parts.append(part)
    return b"".join(parts)


def check_bearer(header: str, token: str | None) -> None:
    """Compare an Authorization header with the token in constant time.

    Raises:
        Refused: there is a token and the header doesn't carry it.
    """
    if token is None:
        return
    scheme, _, given = header.partition(" ")
    same = hmac.compare_digest(given.strip().encode(), token.encode())
    if scheme.lower() != "bearer" or not same:
        raise Refused(401, "token", "the token is missing, wrong or expired: send Authorization: Bearer TOKEN.")


def as_refused(error: Exception) -> Refused:
    """Any failure as a structured error; what nobody foresaw is logged and not shown to the client."""
    if isinstance(error, Refused):
        return error
    status = getattr(error, "status_code", None)
    if isinstance(status, int):  # of the web framework: an unknown path, a wrong method
        return Refused(status, "http", f"{getattr(error, 'detail', 'this is not possible')}: /docs shows the routes.")
    if isinstance(error, NeedsError):
        return Refused(403, "access", str(error))
    if isinstance(error, BackboneError):
        return Refused(507, "model", str(error))
    if isinstance(error, ClipwrightError):
        return bad(str(error))
    _LOGGER.error("a request failed", exc_info=error)
    return Refused(500, "internal", "something went wrong here: the server's log says what.")


def request_body(route: Route) -> dict[str, Any]:
    """OpenAPI's description of a route's body."""
    fields = {name: SCHEMAS[name] for name in route.fields}
    schema = {"type": "object", "properties": fields, "required": list(route.required), "additionalProperties": False}
    binary = {"type": "string", "format": "binary", "title": "the same fields as arrays of an .npz file"}
    return {"required": True, "content": {JSON: {"schema": schema}, NPZ: {"schema": binary}}}
