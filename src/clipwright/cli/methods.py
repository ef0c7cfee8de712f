"""``clipwright methods``."""

from __future__ import annotations

from typing import Any

from clipwright.cli.options import Config, Debug, Json, Quiet, Seed, verb_app

app = verb_app()


@app.command()
def methods(
    *, seed: Seed = 0, config: Config = None, as_json: Json = False, quiet: Quiet = False, debug: Debug = False
) -> None:
    """List the methods, what each needs of data and of the model, and the hyper-parameters that --set takes.

    \b
    Examples:
      clipwright methods
      clipwright methods --json
    """
    from clipwright.cli.output import say, show_json, table

    found = _describe()
    if as_json:
        show_json(found)
        return
    rows = [[m["name"], ", ".join(m["needs"]) or "-", ", ".join(m["access"]), m["summary"]] for m in found]
    say(table(["method", "needs", "access", "what it does"], rows))
    say("Needs are data. Access is what the model behind the images must grant, as an endpoint says in its /info.")
    say()
    for m in found:
        values = ", ".join(f"{name}={value!r}" for name, value in m["hyper_parameters"].items())
        say(f"{m['name']}: --set {values}" if values else f"{m['name']}: no hyper-parameters")


def _describe() -> list[dict[str, Any]]:
    from clipwright import methods as catalogue
    from clipwright.protocol.auto import NAME, configured

    found = []
    for name in (NAME, *catalogue.names()):
        method = configured(name)
        wants = method.requires()
        found.append(
            {
                "name": name,
                "title": method.title,
                "summary": method.summary,
                "paper": method.paper,
                "needs": sorted(str(n) for n in wants.needs),
                "optional": sorted(str(n) for n in wants.optional),
                "access": sorted(str(a) for a in wants.access),
                "hyper_parameters": method.hyper_parameters(),
            }
        )
    return found
