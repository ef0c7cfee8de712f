"""The page that explains a server's routes: it loads nothing and runs no script."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from clipwright import __version__
from clipwright.serve.routes import ROUTES, SCHEMAS

POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""Content-Security-Policy of the page."""


def explain(about: str, *, address: str, token: bool) -> str:
    """The page as HTML.

    Args:
        about: what is served.
        address: of the server, as the reader called it.
        token: whether requests must carry one.
    """
    loader = PackageLoader("clipwright.serve")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    page = environment.get_template("docs.html.j2")
    return page.render(about=about, address=address, token=token, routes=ROUTES, schemas=SCHEMAS, version=__version__)
