"""The reference of the command line as Markdown, written from the commands themselves."""

from __future__ import annotations

import sys
from typing import Any

from clipwright.cli.app import HELP, VERBS, command
from clipwright.cli.options import MEANWHILE

INTRODUCTION = """# Command line

This page is made from the code. `clipwright VERB --help` shows the same on a terminal.

Results go to standard output, everything else to standard error. The exit code is 0 for success, 2 for bad usage, 1 for
failure and 130 when interrupted. A failure is one sentence that says what to do; `--debug` adds the traceback.

`--config FILE` reads options from a JSON or TOML table: keys are the long names of options and arguments, with `_` or
`-`; flags win; an unknown key is refused. `set` may be a table of its own. A run's folder holds the resolved
`config.json`, which is itself a valid `--config`, `log.txt` and `metrics.jsonl`, both written as the run goes. The same
command on an existing `--out` goes on with it; another command is refused, unless `--overwrite` is given.
"""


def reference() -> str:
    """All verbs with their arguments and options."""
    parts = [INTRODUCTION, "```text\n" + HELP.split("\b\nExamples:\n")[1].replace("  clipwright", "clipwright") + "```\n"]
    for verb in VERBS:
        made = command(verb)
        parts.append(f"## {verb}\n")
        if hasattr(made, "commands"):
            parts.append(_text(made.help))
            for name, inner in made.commands.items():
                parts += [f"### {verb} {name}\n", *_command(f"{verb} {name}", inner)]
        else:
            parts += _command(verb, made)
    return "\n".join(parts)


def _command(path: str, made: Any) -> list[str]:
    context = made.make_context(path, [], resilient_parsing=True)
    usage = " ".join(["clipwright", path, *(piece for p in made.params for piece in _usage(p)), "[OPTIONS]"])
    prose, _, examples = made.help.partition("\b\n")
    lines = [_text(prose), f"```text\n{usage}\n```\n"]
    commands = [line.strip() for line in examples.splitlines() if line.strip().startswith("clipwright")]
    if commands:
        lines.append("```bash\n" + "\n".join(commands) + "\n```\n")
    lines += ["| option | what it does | |", "|---|---|---|"]
    lines += [_row(param, context) for param in made.params]
    return [*lines, ""]


def _usage(param: Any) -> list[str]:
    if param.param_type_name != "argument":
        return []
    name = param.metavar or param.name.upper()
    return [name + ("..." if param.nargs == -1 else "")]


def _row(param: Any, context: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (param.opts if param.param_type_name == "option" else _usage(param)))
    default = param.get_default(context)
    notes = []
    if param.required:
        notes.append("required")
    elif default is not None and default is not False and default != () and param.name not in MEANWHILE:
        notes.append(f"default `{default.value if hasattr(default, 'value') else default}`")
    choices = getattr(param.type_descriptor, "choices", None) if hasattr(param, "type_descriptor") else None
    if choices:
        notes.append("one of " + ", ".join(f"`{getattr(c, 'value', c)}`" for c in choices))
    metavar = f" `{param.metavar}`" if param.metavar and param.param_type_name == "option" else ""
    return f"| {names}{metavar} | {_text(param.help).strip()} | {'; '.join(notes)} |".replace("auto|NAME", "auto\\|NAME")


def _text(help_text: str) -> str:
    """Help as Markdown: names of places and patterns must not read as markup."""
    text = help_text.split("\b\n")[0]
    return text.strip().replace("<", "&lt;").replace("*", "\\*").replace("{}", "`{}`") + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
