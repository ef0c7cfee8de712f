"""The root command, and the manners that every verb shares."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

from clipwright import __version__
from clipwright.cli import main
from clipwright.cli.app import HELP, VERBS, command, root, run

COMMANDS: dict[str, Any] = {verb: command(verb) for verb in VERBS if verb != "cache"}
COMMANDS |= {f"cache {name}": made for name, made in command("cache").commands.items()}


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for verb, line in VERBS.items():
        assert re.search(rf"^  {verb} +{re.escape(line)}$", out, flags=re.M)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"clipwright {__version__}\n"


def test_no_verb_shows_help_and_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "Usage: clipwright" in capsys.readouterr().err


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_has_the_manners(verb: str) -> None:
    flags = {flag for param in COMMANDS[verb].params for flag in param.opts}
    assert {"--config", "--seed", "--json", "--debug", "--quiet"} <= flags
    assert all(getattr(param, "help", None) for param in COMMANDS[verb].params), "an option without a help text"
    if "--out" in flags:
        assert "--overwrite" in flags


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_help_has_examples_that_parse(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*verb.split(), "--help"]) == 0
    examples = [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("    clipwright ")]
    assert examples
    for example in examples:
        _, *arguments = shlex.split(example.split(" > ")[0])
        made = COMMANDS[verb]
        made.make_context(verb, arguments[len(verb.split()) :])  # raises where the example is wrong


def test_examples_of_the_root_name_verbs() -> None:
    verbs = re.findall(r"^  clipwright (\w+)", HELP, flags=re.M)
    assert len(verbs) >= 3
    assert set(verbs) <= set(VERBS)


def test_the_root_offers_completion() -> None:
    assert {"--install-completion", "--show-completion"} <= {f for p in root().params for f in p.opts}
