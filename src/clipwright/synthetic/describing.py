"""`describe_classes`: from a source of class names to a bank, with everything a user may say about how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clipwright.backbones import resolve
from clipwright.backbones.base import BackboneRef
from clipwright.core.errors import UsageError
from clipwright.engine import parse_shard
from clipwright.synthetic.chat import Chat
from clipwright.synthetic.class_source import ClassSource, read_class_source
from clipwright.synthetic.closeness import DEFAULT_LIMIT
from clipwright.synthetic.describe import (
    DEFAULT_KINDS,
    Description,
    Source,
    describe,
    estimate,
    merge_parts,
    plan,
    summarise,
)
from clipwright.synthetic.endpoint import Endpoint
from clipwright.synthetic.pairs import PairSource
from clipwright.synthetic.prompts import read_prompts
from clipwright.texts import TextBank, read_bank

_SPELLING = "look-alikes were compared with the classes by spelling alone: name a --backbone to compare what they mean"


def describe_classes(
    classes: ClassSource,
    *,
    endpoint: Endpoint | None = None,
    kinds: Sequence[str] | None = None,
    source: Source = "llm",
    wordnet: str | Path | None = None,
    backbone: str | None = None,
    device: str | None = None,
    class_file: str | Path | None = None,
    root: Path | None = None,
    prompts: Path | None = None,
    pairs: PairSource = "texts",
    pairs_per_class: int = 3,
    similarity: float = DEFAULT_LIMIT,
    domain: str = "",
    max_tokens: int | None = None,
    shard: str | tuple[int, int] = (1, 1),
    merge: Sequence[Path] = (),
    dry_run: bool = False,
    quiet: bool = False,
) -> Description:
    """Make texts about classes: by a language model, by WordNet, or out of banks that were made in parts.

    Args:
        classes: a text file with one name per line, names, or a data source such as ``"digits"``.
        endpoint: the language model; not needed for WordNet, nor where banks are only merged.
        kinds: what to ask for; ``attribute``, ``analogue`` and ``synonym`` by default, for WordNet ``synonym`` alone.
        source: ``llm`` or ``wordnet``.
        wordnet: a WNDB folder or the name of a lexicon of the `wn` package, where WordNet isn't at its usual place.
        backbone: identifier of the model that compares names, images and look-alikes.
        device: where it runs.
        class_file: class names of a data source that doesn't bring them.
        root: the folder that benchmarks lie in.
        prompts: a file of wordings in place of clipwright's own.
        pairs: how easily confused classes are found, for ``one-vs-one``: ``texts``, ``images`` or ``all``.
        pairs_per_class: rivals of each class, at most.
        similarity: cosine above which a look-alike repeats a class.
        domain: what kind of pictures they are, such as ``satellite photos``.
        max_tokens: limit on an answer in place of the prompts' own; models that think aloud need thousands.
        shard: (I, N) or ``"I/N"``: do part I of N; parts are merged by `merge`, or by a run of the whole on a machine
            that has all answers.
        merge: banks whose rows are added.
        dry_run: count requests and tokens, send nothing; the bank is then empty.
        quiet: show no progress.

    Raises:
        UsageError, DataError, EndpointError, BackboneError: one sentence that says what to do.
    """
    names, dataset = read_class_source(classes, classes=class_file, root=root)
    ref = None if backbone is None else resolve(backbone, device=device)
    if source == "wordnet":
        if set(kinds or ("synonym",)) != {"synonym"}:
            raise UsageError("WordNet gives synonyms only: ask for --kinds synonym, or for --source llm.")
        made = None if dry_run else _wordnet(names, wordnet, ref, domain)
        summary = {"classes": len(names), "requests": 0} if made is None else summarise(made)
        return _merged(Description(made or TextBank(names), summary), () if dry_run else merge)
    if endpoint is None:
        if not merge or dry_run:
            raise UsageError(
                "asking a language model needs --base-url and --model, such as those of 'vllm serve'; "
                "--source wordnet needs neither."
            )
        return _merged(Description(TextBank(names)), merge)
    if pairs_per_class < 1:
        raise UsageError("there must be at least one pair per class.")
    chat = Chat(endpoint)
    work = plan(
        names,
        DEFAULT_KINDS if kinds is None else kinds,
        prompts=read_prompts(prompts),
        backbone=ref,
        dataset=dataset,
        pairs=pairs,
        per_class=pairs_per_class,
        limit=similarity,
        domain=domain,
        max_tokens=max_tokens,
        shard=parse_shard(shard) if isinstance(shard, str) else shard,
        quiet=quiet,
    )
    if dry_run:
        return Description(TextBank(names), estimate(work, chat))
    found = describe(work, chat, quiet=quiet)
    if ref is None and "analogue" in (DEFAULT_KINDS if kinds is None else kinds):
        found = replace(found, summary={**found.summary, "notes": [_SPELLING]})
    return _merged(found, merge)


def _merged(made: Description, paths: Sequence[Path]) -> Description:
    """The bank with the rows of others; the summary then counts the rows of all."""
    if not paths:
        return made
    others = [read_bank(path) for path in paths]
    bank = merge_parts([*others, *([made.bank] if len(made.bank) else [])])
    if bank.class_names != made.bank.class_names:
        raise UsageError("the banks to merge are of other classes than those given: make them from the same names.")
    summary: dict[str, Any] = {**made.summary, **summarise(bank), "merged": [path.name for path in paths]}
    if "dropped" in made.summary:
        summary["dropped"] = made.summary["dropped"]
    return Description(bank, summary)


def _wordnet(names: Sequence[str], where: str | Path | None, backbone: BackboneRef | None, domain: str) -> TextBank:
    from clipwright.texts.wordnet import wordnet_synonyms

    return wordnet_synonyms(names, where, backbone, domain=domain or None)
