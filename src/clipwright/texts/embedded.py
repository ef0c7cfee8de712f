"""What clipwright itself knows of the classes of its embedded data sets, as banks."""

from __future__ import annotations

from functools import cache

from clipwright.assets.datasets import knowledge, names
from clipwright.texts.bank import ANALOGUE, ATTRIBUTE, DESCRIPTION, NAME, ONE_VS_ONE, SYNONYM, TEMPLATE, Row, TextBank

_MODEL = "a large language model"


def is_embedded(name: str) -> bool:
    """Whether an embedded data set is called so."""
    return name in names()


@cache
def bank_of(name: str) -> TextBank:
    """The texts of an embedded data set's classes: names, synonyms, attributes, look-alikes, one-vs-one, templates.

    The whole sentences of its knowledge file are rows of kind ``description``.

    Args:
        name: such as ``digits`` or ``shapes-colour``.

    Raises:
        DataError: there is no such data set.
        FormatError: its file is damaged.
    """
    known = knowledge(name)
    source = f"clipwright's knowledge of {name}"
    lists = {
        SYNONYM: known.synonyms,
        ATTRIBUTE: known.attributes,
        ANALOGUE: known.analogues,
        DESCRIPTION: known.paraphrases,
    }

    def row(class_name: str, kind: str, text: str, rival: str = "") -> Row:
        return Row(class_name, kind, text, rival, source=source, model="" if kind == NAME else _MODEL, date=known.date)

    rows = [row("", TEMPLATE, template) for template in known.templates]
    for c in known.class_names:
        rows.append(row(c, NAME, c))
        rows += [row(c, kind, text) for kind, texts in lists.items() for text in texts[c]]
    rows += [row(c, ONE_VS_ONE, text, rival) for (c, rival), texts in known.one_vs_one.items() for text in texts]
    return TextBank.gather(known.class_names, rows)
