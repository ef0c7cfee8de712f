"""``clipwright datasets``."""

from __future__ import annotations

from typing import Any

from clipwright.cli.options import Config, Debug, Json, Quiet, Seed, verb_app

app = verb_app()


@app.command()
def datasets(
    *, seed: Seed = 0, config: Config = None, as_json: Json = False, quiet: Quiet = False, debug: Debug = False
) -> None:
    """List the embedded data sets, which need no files.

    \b
    Examples:
      clipwright datasets
      clipwright datasets --json
    """
    from clipwright.cli.output import say, show_json, table
    from clipwright.data import datasets as embedded
    from clipwright.data import open_data

    found: list[dict[str, Any]] = []
    for name in embedded():
        data = open_data(str(name))
        found.append({"name": str(name), "images": len(data), "classes": list(data.class_names)})
    if as_json:
        show_json(found)
    else:
        rows = [[d["name"], d["images"], ", ".join(d["classes"])] for d in found]
        say(table(["name", "images", "classes"], rows))
