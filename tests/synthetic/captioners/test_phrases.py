from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from clipwright.backbones import resolve
from clipwright.core.errors import UsageError
from clipwright.data import open_data
from clipwright.data.dataset import UnreadableImageError
from clipwright.synthetic.captioners import Job, PhraseCaptioner
from clipwright.synthetic.captioners.phrases import sentence
from clipwright.synthetic.captioners.vocabulary import Slot, Vocabulary
from clipwright.synthetic.collage import View

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")

WORDS = Vocabulary(
    (
        Slot("kind", "{}", "{}", "{}", ("a photo", "a drawing")),
        Slot("colour", "something {}", "of something {}", "of things that are {}", ("red", "blue")),
        Slot("ground", "on {}", "on {}", "on {}", ("grass", "sand")),
    ),
    ("a picture",),
    "nothing",
)


def job(*images: Image.Image, broken: bool = False) -> Job:
    def read(number: int) -> Image.Image:
        if broken:
            raise UnreadableImageError("cut short")
        return images[number]

    return Job("", tuple(str(hash(image.tobytes())) for image in images), read, View())


def texts(captioner: PhraseCaptioner, jobs: Sequence[Job]) -> list[str]:
    return [said.text for part in captioner.caption(jobs) for _, said in part]


@pytest.fixture(scope="module")
def pictures() -> dict[str, list[Image.Image]]:
    data = open_data("shapes")
    assert data.reader is not None
    sources = data.table["source"].to_pylist()
    return {
        name: [data.reader.read(sources[row]).image for row in np.flatnonzero(data.labels == number)[:4]]
        for number, name in enumerate(data.class_names)
    }


def test_a_sentence_says_what_stands_out() -> None:
    def say(cosines: Sequence[float], sure: float = 0.5, **options: bool) -> str:
        return sentence(WORDS, np.array(cosines, dtype=np.float64), 100.0, sure, **options)

    assert say([0.2, 0.3, 0.4, 0.1, 0.3, 0.1, 0.2]) == "a drawing of something red, on grass."
    assert say([0.2, 0.3, 0.4, 0.1, 0.3, 0.1, 0.2], of_all=True) == "a drawing of things that are red, on grass."
    assert say([0.2, 0.3, 0.4, 0.1, 0.3, 0.1, 0.35]) == "a drawing of something red."  # grass fits less than silence
    assert say([0.2, 0.3, 0.4, 0.399, 0.3, 0.1, 0.2], sure=0.8) == "a drawing on grass."  # red or blue?
    assert say([0.2, 0.2, 0.1, 0.1, 0.1, 0.1, 0.9]) == "a photo."  # a tie goes to the first
    assert sentence(Vocabulary((), ("a view",), "x"), np.zeros(1), 100.0, 0.5) == "a view."


def test_captions_are_right_about_simple_things_and_name_no_class(pictures: dict[str, list[Image.Image]]) -> None:
    captioner = PhraseCaptioner(resolve("tiny"), tuple(pictures))
    rings = texts(captioner, [job(image) for image in pictures["ring"]])
    squares = texts(captioner, [job(image) for image in pictures["square"]])
    assert sum("with a hole in the middle" in text for text in rings) >= 2
    assert sum("with straight sides" in text for text in squares) >= 3
    assert not any(name in text.split() for text in (*rings, *squares) for name in pictures)
    assert texts(captioner, [job(*pictures["square"])]) == texts(captioner, [job(*reversed(pictures["square"]))])
    assert "things that are" in texts(captioner, [job(*pictures["ring"])])[0]


def test_neither_batch_nor_order_changes_a_caption(pictures: dict[str, list[Image.Image]]) -> None:
    images = [image for part in pictures.values() for image in part]  # 56; several batches with those repeated
    jobs = [job(image) for image in images] * 2
    alone = [texts(PhraseCaptioner(resolve("tiny")), [one])[0] for one in jobs[:5]]
    together = texts(PhraseCaptioner(resolve("tiny")), jobs)
    assert together[:5] == alone
    assert together[:56] == together[56:]


def test_what_cannot_be_read_is_told_and_the_rest_goes_on(pictures: dict[str, list[Image.Image]]) -> None:
    image = pictures["ring"][0]
    done = [
        said
        for part in PhraseCaptioner(resolve("tiny")).caption([job(image), job(Image.new("RGB", (3, 3)), broken=True)])
        for _, said in part
    ]
    assert done[0].text
    assert (done[1].text, done[1].problem) == ("", "cut short")


def test_settings_follow_the_words() -> None:
    first, second = (PhraseCaptioner(resolve("tiny"), names).settings() for names in ((), ("red",)))
    assert first["vocabulary"] != second["vocabulary"]
    assert first["digest"] == second["digest"]
    assert PhraseCaptioner(resolve("tiny"), avoid=("red",)).settings() == second
    with pytest.raises(UsageError, match="as sure as"):
        PhraseCaptioner(resolve("tiny"), sure=2.0)
