"""One self-contained page: what was found, how sure it is, what was run."""

from clipwright.report.comparison import comparison_page
from clipwright.report.fit_page import fit_page
from clipwright.report.page import Page
from clipwright.report.render import render, write

__all__ = ["Page", "comparison_page", "fit_page", "render", "write"]
