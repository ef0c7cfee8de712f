from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
import typer.main

from clipwright.cli.app import run
from clipwright.cli.options import Config, Seed, read_config, resolved, settings, source, verb_app
from clipwright.core.errors import UsageError


@pytest.mark.parametrize(
    ("pairs", "found"),
    [
        ([], {}),
        (["alpha=0.5", "epochs=200", "on=true"], {"alpha": 0.5, "epochs": 200, "on": True}),
        (["rule=raw_mean"], {"rule": "raw_mean"}),
        (["grid=[1, 2]", "text=a=b", "empty="], {"grid": [1, 2], "text": "a=b", "empty": ""}),
    ],
)
def test_settings_are_json_or_text(pairs: list[str], found: dict[str, object]) -> None:
    assert settings(pairs) == found


@pytest.mark.parametrize("pair", ["alpha", "=1", " =1"])
def test_settings_need_a_key_and_a_value(pair: str) -> None:
    with pytest.raises(UsageError, match="key=value"):
        settings([pair])
    with pytest.raises(UsageError, match="twice"):
        settings(["a=1", "a=2"])


def test_sources_that_exist_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    assert source("photos") == str(tmp_path / "photos")
    assert source("digits") == "digits"


seen: list[dict[str, object]] = []
toy = verb_app()


@toy.command()
def toy_verb(
    ctx: typer.Context,
    data: str,
    *,
    set_: list[str] = typer.Option((), "--set"),  # noqa: B008 - typer's older spelling, short in a test
    min_confidence: float = typer.Option(0.0, "--min-confidence"),
    flag: bool = typer.Option(False, "--flag"),
    seed: Seed = 0,
    config: Config = None,
) -> None:
    seen.append(resolved(ctx))


def call(*arguments: str) -> dict[str, object]:
    seen.clear()
    typer.main.get_command(toy).main(list(arguments), prog_name="toy-verb", standalone_mode=False)
    return seen[0]


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_flags_win_over_the_config_and_it_over_defaults(tmp_path: Path) -> None:
    config = write(tmp_path / "c.json", json.dumps({"data": "digits", "min-confidence": 0.5, "flag": True, "seed": 3}))
    got = call("--config", config, "--seed", "4")
    assert (got["data"], got["min_confidence"], got["flag"], got["seed"]) == ("digits", 0.5, True, 4)
    assert call("shapes", "--config", config)["data"] == "shapes"


def test_toml_reads_the_same_as_json(tmp_path: Path) -> None:
    toml = write(tmp_path / "c.toml", 'data = "digits"\nseed = 2\n[set]\nalpha = 0.5\nrule = "raw_mean"\n')
    got = call("--config", toml)
    assert got["set"] == {"alpha": 0.5, "rule": "raw_mean"}
    assert got["seed"] == 2


def test_a_resolved_config_is_a_config(tmp_path: Path) -> None:
    first = call("digits", "--set", "alpha=0.5", "--set", "name=x", "--flag", "--min-confidence", "0.25", "--seed", "9")
    assert call("--config", write(tmp_path / "c.json", json.dumps(first))) == first


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("c.json", '{"sedd": 1}', "unknown key 'sedd': the keys are data, flag, min_confidence, seed, set"),
        ("c.json", '{"config": "x"}', "unknown key 'config'"),
        ("c.json", "[1]", "table of options"),
        ("c.json", "{", "no valid JSON"),
        ("c.toml", "a = ", "no valid TOML"),
        ("c.json", '{"flag": "yes"}', "flag must be true or false"),
        ("c.json", '{"seed": [1]}', "seed must be a number or text"),
        ("c.json", '{"verb": "predict"}', "is for 'clipwright predict'"),
    ],
)
def test_configs_that_cannot_be_meant_are_refused(tmp_path: Path, name: str, text: str, says: str) -> None:
    config = write(tmp_path / name, text)
    with pytest.raises(UsageError, match=says):
        call("digits", "--config", config)


def test_a_missing_config_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_config(tmp_path / "none.json")
    assert run(["datasets", "--config", str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err.startswith("Error: --config")


def test_values_of_a_config_are_checked_like_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write(tmp_path / "c.json", '{"data": "digits", "out": "x", "shots": 0}')
    assert run(["fit", "--config", config]) == 2
    assert "'--shots'" in capsys.readouterr().err
