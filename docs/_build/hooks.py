"""What mkdocs builds besides the pages: the reference of the command line, from the code; the list of method pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cli_reference import reference  # mkdocs puts the folder of a hook on the path while it loads it
from mkdocs.structure.files import File, Files


def on_config(config: Any) -> Any:
    """Put every page of docs/methods in the place of ``methods/*``."""
    docs = Path(config["docs_dir"])
    pages = sorted(docs.glob("methods/*.md"), key=lambda p: (p.stem != "index", p.stem))
    for entry in config["nav"]:
        for title, target in entry.items():
            if target == "methods/*":
                entry[title] = [f"methods/{page.name}" for page in pages]
    config["nav"] = [entry for entry in config["nav"] if next(iter(entry.values()))]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the generated page."""
    files.append(File.generated(config, "cli.md", content=reference()))
    return files
