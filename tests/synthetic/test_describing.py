from __future__ import annotations

from pathlib import Path

import pytest
from tests.synthetic.expert import Expert
from tests.synthetic.scripted import ScriptedServer
from tests.texts.conftest import write_wndb

from clipwright import open_data
from clipwright.core.errors import DataError, UsageError
from clipwright.synthetic.describing import describe_classes
from clipwright.synthetic.endpoint import Endpoint

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")


def test_the_default_kinds_of_an_embedded_set() -> None:
    with ScriptedServer(Expert()) as server:
        made = describe_classes("digits", endpoint=Endpoint(server.base_url, "m"), quiet=True)
    assert made.bank.class_names == open_data("digits").class_names
    assert set(made.bank.counts) == {"attribute", "analogue", "synonym"}


@pytest.mark.slow
def test_a_backbone_finds_pairs_and_filters_look_alikes() -> None:
    with ScriptedServer(Expert([("the letter O", "7")])) as server:
        made = describe_classes(
            "digits",
            endpoint=Endpoint(server.base_url, "m"),
            kinds=["one-vs-one", "analogue"],
            backbone="tiny",
            pairs_per_class=1,
            similarity=-1.0,
            quiet=True,
        )
    assert 5 <= made.summary["pairs"] <= 10
    assert "analogue" not in made.bank.counts  # everything is nearer than -1
    assert made.bank.counts["one-vs-one"] == 2 * made.summary["pairs"]
    with pytest.raises(UsageError, match="--pairs all"):
        describe_classes(["a", "b"], endpoint=Endpoint("http://127.0.0.1:1/v1", "m"), kinds=["one-vs-one"])


def test_banks_are_merged_without_a_model(tmp_path: Path) -> None:
    with ScriptedServer(Expert()) as server:
        endpoint = Endpoint(server.base_url, "m")
        whole = describe_classes(["a", "b", "c"], endpoint=endpoint, quiet=True)
        for part in (1, 2):
            made = describe_classes(["a", "b", "c"], endpoint=endpoint, shard=f"{part}/2", quiet=True)
            made.bank.save(tmp_path / f"{part}.json")
    paths = [tmp_path / "2.json", tmp_path / "1.json"]
    merged = describe_classes(["a", "b", "c"], merge=paths)
    assert merged.bank == whole.bank
    assert merged.summary["merged"] == ["2.json", "1.json"]
    assert merged.summary["rows"] == whole.summary["rows"]
    with pytest.raises(UsageError, match="other classes"):
        describe_classes(["a", "b"], merge=paths)


def test_what_is_missing_is_told() -> None:
    with pytest.raises(UsageError, match="--base-url and --model"):
        describe_classes(["a"])
    with pytest.raises(UsageError, match="synonyms only"):
        describe_classes(["a"], source="wordnet", kinds=["attribute"])
    with pytest.raises(DataError):
        describe_classes("no-such-thing", endpoint=Endpoint("http://127.0.0.1:1/v1", "m"))


def test_wordnet_needs_no_model(tmp_path: Path) -> None:
    made = describe_classes(["heron", "church"], source="wordnet", wordnet=write_wndb(tmp_path / "dict"))
    assert made.bank.texts("church", "synonym") == ("church building",)
    assert made.summary["rows"] == {"name": 2, "synonym": 2}
    made.bank.save(tmp_path / "words.json")
    again = describe_classes(["heron", "church"], merge=[tmp_path / "words.json"])
    assert sorted(map(repr, again.bank.rows)) == sorted(map(repr, made.bank.rows))


def test_a_dry_run_needs_no_server() -> None:
    told = describe_classes(["a", "b"], endpoint=Endpoint("http://127.0.0.1:1/v1", "m"), dry_run=True)
    assert told.summary["requests"] == 6
    assert not told.bank.rows
    assert describe_classes(["a"], source="wordnet", dry_run=True).summary["requests"] == 0
