"""What was run, in few words."""

from __future__ import annotations

from typing import get_args

from tests.report.made import CONFIG

from clipwright.fitted import Source
from clipwright.report.facts import HOW, identity, prompts, run_facts, shown, versions


def test_every_way_of_finding_a_value_has_words() -> None:
    assert set(HOW) == set(get_args(Source))


def test_digests_are_shortened_and_left_out_where_there_are_none() -> None:
    facts = identity("tiny", "0123456789abcdef" * 4, "")
    assert [(f.label, f.value) for f in facts] == [("Backbone", "tiny"), ("Backbone digest", "0123456789abcdef")]
    assert all(f.code for f in facts)


def test_prompts_show_the_first() -> None:
    assert prompts([]) == []
    assert prompts(["a {}."])[0].value == "a {}."
    assert prompts(["a {}.", "the {}.", "{}!"])[0].value == "a {}. and 2 more"


def test_values_are_short() -> None:
    assert [shown(v) for v in (0.1 + 0.2, 1e-5, None, True, "cosine", 200)] == [
        "0.3",
        "1e-05",
        "none",
        "True",
        "cosine",
        "200",
    ]


def test_versions_in_one_line() -> None:
    assert versions({"a": "1", "b": "2"}).value == "a 1, b 2"


def test_a_run_without_a_configuration_has_no_facts() -> None:
    assert run_facts({}, 1.0) == ()


def test_the_convention_of_the_field_and_full_validation_are_named() -> None:
    config = CONFIG | {"protocol": "coop", "validation": "full", "draws": 3}
    facts = {fact.label: fact.value for fact in run_facts(config, 1.0)}
    assert facts["Draws"] == "3, by CoOp's convention (its seeds from 1)"
    assert facts["Labels per class"] == "0, 1, 16; validation: the whole validation split"


def test_generated_images_are_counted_where_there_were_some() -> None:
    found = {fact.label: fact.value for fact in run_facts(CONFIG | {"generated": 1200}, 1.0)}
    assert found["Generated images"].startswith("1,200, part of every support set")
    assert "Generated images" not in {fact.label for fact in run_facts(CONFIG, 1.0)}
