from __future__ import annotations

from pathlib import Path

import pytest

from clipwright.core.errors import UsageError
from clipwright.data.embedded import embedded_names
from clipwright.synthetic.caption_prompts import CLASS, kind_of, kinds, read_prompts


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_has_slots_filled_and_asks_for_few_words(kind: str) -> None:
    prompts = read_prompts("anything", kind=kind)
    for text in (prompts.image, prompts.group):
        assert "less than 20 words" in text
        assert "concisely" in text
        assert "{" not in text.replace(CLASS, "")
    assert prompts.names_classes == (kind in {"flowers", "food"})  # LatteCLIP names the class in these two alone
    assert CLASS not in prompts.group
    assert CLASS not in prompts.of_image("great_grey owl")


def test_the_ten_benchmarks_of_the_paper_and_the_embedded_sets_are_known() -> None:
    ten = ["caltech101", "oxford_flowers", "food101", "oxford_pets", "stanford_cars", "fgvc_aircraft", "sun397", "dtd"]
    ten += ["ucf101", "eurosat"]
    assert len({kind_of(name) for name in ten}) == 10
    assert kind_of("benchmark:eurosat") == "satellite"
    assert "satellite image" in read_prompts("eurosat").image
    assert {kind_of(name) for name in embedded_names()} == {"marks"}
    assert kind_of("holiday") == "photos"


def test_a_class_is_said_as_prompts_say_it() -> None:
    prompts = read_prompts("oxford_flowers")
    assert "the great grey lily flower" in prompts.of_image("great_grey\nlily")
    assert "the flower in" in prompts.of_image(None)
    assert read_prompts("x", group="what is {class} here?").of_group("a{class}b") == "what is a{class}b here?"


def test_ones_own_words_or_file(tmp_path: Path) -> None:
    (tmp_path / "ask.txt").write_text("Name the colours.\n")
    own = read_prompts("dtd", image=tmp_path / "ask.txt", group="What is shared?")
    assert (own.image, own.group) == ("Name the colours.", "What is shared?")
    assert read_prompts("dtd", image=str(tmp_path / "ask.txt")).image == "Name the colours."
    assert read_prompts("dtd", image="own").group == read_prompts("dtd").group


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no kind of data 'clouds': choose photos"):
        read_prompts("x", kind="clouds")
    with pytest.raises(UsageError, match=r"--prompt must have 1 to 4,000 characters; it has 0"):
        read_prompts("x", image=" \n")
    with pytest.raises(UsageError, match=r"--group-prompt must have"):
        read_prompts("x", group="x" * 5000)
    with pytest.raises(UsageError, match=r"--prompt .* can't be read \(No such file"):
        read_prompts("x", image=tmp_path / "none.txt")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UsageError, match="it is not text"):
        read_prompts("x", image=tmp_path / "bytes.txt")
