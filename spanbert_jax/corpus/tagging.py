"""Finds spans in text with spaCy: named entities or noun chunks (SpanBERT sec. 6.1).

In: the sentences of documents. Out: spans of their characters. spaCy is an extra: it is imported
only where text is tagged.
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, TypeVar

from spanbert_jax.config import PrepareConfig
from spanbert_jax.errors import UserError

# Characters that spaCy sees at a time. Its parsers take 0.3 to 1 GB for every 100,000.
_MOST_CHARACTERS = 50_000
# Characters whose words are kept: their words take 0.1 GB.
_REMEMBERED_CHARACTERS = 10_000_000

_TOKEN_VECTORS = {"tok2vec", "transformer", "curated_transformer"}
_SYNTAX = {"parser", "beam_parser", "tagger", "morphologizer", "attribute_ruler"}
_ENTITIES = {"ner", "beam_ner"}
_NEEDED = {"ents": _TOKEN_VECTORS | _ENTITIES, "noun_chunks": _TOKEN_VECTORS | _SYNTAX}
# Components of spaCy's own of which it is known what they look at.
_KNOWN = {
    *_TOKEN_VECTORS, *_SYNTAX, *_ENTITIES, "senter", "sentencizer", "lemmatizer",
    "trainable_lemmatizer", "entity_linker", "textcat", "textcat_multilabel",
}  # fmt: skip

_SPACY = ", spaCy "

Item = TypeVar("Item")
Span = tuple[int, int]
"""Start and end, exclusive."""


@dataclass(frozen=True)
class Tagging:
    """What `--tag` asks for, with the pipeline found here; every process makes its `Tagger`."""

    tag: str
    model: str
    """Name of an installed package, or path of a folder."""
    identity: str
    """Name, version and checksum of the pipeline, and version of spaCy."""
    skip_labels: tuple[str, ...]

    @property
    def what(self) -> str:
        return self.tag.partition(":")[2]


def find_tagging(config: PrepareConfig) -> Tagging | None:
    """What `config` asks to tag; None for nothing. Loads neither spaCy nor the pipeline.

    Raises `UserError` where one of them is not installed, or the pipeline is of another language.
    """
    if not config.tag:
        return None
    if importlib.util.find_spec("spacy") is None:
        raise UserError(
            f"--tag {config.tag}: needs spaCy, which is not installed; run "
            "`pip install -e '.[spacy]'`"
        )
    meta = _read_meta(config.tag_model)
    if meta.get("lang") not in (config.language, "xx"):
        raise UserError(
            f"--tag-model {config.tag_model}: must be of --language {config.language} or of many "
            f"(xx), found a pipeline of {meta.get('lang')}; name one of the language of the text"
        )
    identity = _identity_of(config.tag_model, meta)
    return Tagging(config.tag, config.tag_model, identity, config.tag_skip_labels)


def identity_at_hand(config: PrepareConfig, *, recorded: str) -> str:
    """Identity of the pipeline, for a folder that is complete: `recorded` where spaCy is of another
    version, or the pipeline not here, as on a machine that trains.
    """
    try:
        tagging = find_tagging(config)
    except UserError:
        return recorded
    here = "" if tagging is None else tagging.identity
    return recorded if here.partition(_SPACY)[0] == recorded.partition(_SPACY)[0] else here


def _folder_of(model: str) -> Path:
    """The folder of an installed package, without importing it, or the path as it is."""
    found = importlib.util.find_spec(model) if model.isidentifier() else None
    if found is not None and found.submodule_search_locations:
        return Path(found.submodule_search_locations[0])
    return Path(os.path.expanduser(model))


def _read_meta(model: str) -> dict[str, Any]:
    folder = _folder_of(model)
    file = folder / "meta.json"
    if not file.is_file():
        found = "a folder without meta.json" if folder.is_dir() else "neither"
        raise UserError(
            f"--tag-model {model}: must be an installed spaCy pipeline, or the local folder of "
            f"one, found {found}; install one with `python -m spacy download en_core_web_sm`, or "
            "name a folder that `nlp.to_disk` wrote"
        )
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(
            f"--tag-model {model}: its meta.json must be a JSON object ({error}); install the "
            "pipeline anew"
        ) from error


def _identity_of(model: str, meta: dict[str, Any]) -> str:
    """-> "en_core_web_sm 3.8.0 (files 3f2a91c04d5e), spaCy 3.8.18"."""
    folder = _folder_of(model)
    content = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if file.suffix != ".pyc":
            content.update(f"{file.relative_to(folder).as_posix()}\0".encode())
            content.update(hashlib.sha256(file.read_bytes()).digest())
    name = f"{meta.get('lang')}_{meta.get('name')} {meta.get('version')}"
    files = content.hexdigest()[:12]
    return f"{name} (files {files}){_SPACY}{importlib.metadata.version('spacy')}"


class Tagger:
    """Tags the sentences of documents; what it finds in a document depends on nothing else.

    Raises `UserError` where the pipeline cannot be loaded, is not the one that `tagging` was found
    with, or lacks a component.
    """

    def __init__(self, tagging: Tagging) -> None:
        self._tagging = tagging
        here = _identity_of(tagging.model, _read_meta(tagging.model))
        if here != tagging.identity:
            raise UserError(
                f"--tag-model {tagging.model}: must be the same in every process, found {here} "
                f"beside {tagging.identity}; install that one everywhere"
            )
        self._num_characters = 0
        # Beam calls from several threads, and a memory zone forgets words of all of them.
        self._one_at_a_time = threading.Lock()
        self._pipeline = _load(tagging)
        _check_able(self._pipeline, tagging)
        _leave_out_components(self._pipeline, tagging.what)

    def tag(
        self, documents: list[list[list[str]]], dropped: list[Counter[str]]
    ) -> list[list[Span]]:
        """Spans of every sentence, in its characters, ascending.

        Documents [[["I met Al.", "He left."]], [["Al Fox ran."]]] of one paragraph each
        -> [[(6, 8)], [], [(0, 6)]] for people

        spaCy reads paragraphs; sentences stay as they are. A span across their ends is left out.

        dropped: by document, counts what is left out.
        """
        with self._one_at_a_time:
            return self._tag(documents, dropped)

    def _tag(
        self, documents: list[list[list[str]]], dropped: list[Counter[str]]
    ) -> list[list[Span]]:
        found: list[list[Span]] = []
        # In a zone spaCy forgets the words that it had not seen before: a corpus has no end of
        # them. The many that it has seen stay at hand, which is three times as fast.
        knows_words = self._num_characters >= _REMEMBERED_CHARACTERS
        with self._pipeline.memory_zone() if knows_words else nullcontext():
            for paragraphs, counts in zip(documents, dropped, strict=True):
                found += self._tag_document(paragraphs, counts)
        return found

    def _tag_document(
        self, paragraphs: list[list[str]], dropped: Counter[str]
    ) -> Iterator[list[Span]]:
        texts = chain.from_iterable(
            _gather([_readable(sentence, dropped) for sentence in sentences], len)
            for sentences in paragraphs
        )
        # Never of two documents: rounding may depend on what is computed together.
        for batch in _gather(texts, lambda sentences: sum(map(len, sentences))):
            together = [" ".join(sentences) for sentences in batch]
            self._num_characters += sum(map(len, together))
            parsed = self._pipeline.pipe(together, batch_size=len(batch))
            for sentences, text in zip(batch, parsed, strict=True):
                yield from self._by_sentence(text, sentences, dropped)

    def _by_sentence(
        self, text: Any, sentences: list[str], dropped: Counter[str]
    ) -> list[list[Span]]:
        starts = list(accumulate((len(sentence) + 1 for sentence in sentences), initial=0))
        spans: list[list[Span]] = [[] for _ in sentences]
        for span in self._spans_of(text, dropped):
            # White space around a span would reach for its neighbours.
            start = span.start_char + len(span.text) - len(span.text.lstrip())
            length = len(span.text.strip())
            number = bisect_right(starts, start) - 1
            begin = start - starts[number]
            if begin + length <= len(sentences[number]):
                spans[number].append((begin, begin + length))
            else:
                dropped["tags across sentences"] += 1
        return spans

    def _spans_of(self, text: Any, dropped: Counter[str]) -> Iterator[Any]:
        if self._tagging.what == "noun_chunks":
            yield from text.noun_chunks
            return
        for entity in text.ents:
            if entity.label_ in self._tagging.skip_labels:
                dropped[f"tags {entity.label_}"] += 1
            else:
                yield entity


def _readable(sentence: str, dropped: Counter[str]) -> str:
    if len(sentence) <= _MOST_CHARACTERS:
        return sentence
    dropped["sentences too long to tag"] += 1
    return ""


def _gather(items: Iterable[Item], size: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Consecutive items of at most _MOST_CHARACTERS together, or one."""
    gathered: list[Item] = []
    total = 0
    for item in items:
        if gathered and total + size(item) > _MOST_CHARACTERS:
            yield gathered
            gathered, total = [], 0
        gathered.append(item)
        total += size(item)
    if gathered:
        yield gathered


def _load(tagging: Tagging) -> Any:
    import spacy

    folder = _folder_of(tagging.model)
    try:
        if (folder / "config.cfg").exists():
            return spacy.load(folder)
        # A package may bring components of its own.
        return importlib.import_module(tagging.model).load()
    except Exception as error:  # every component raises its own
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"--tag-model {tagging.model}: must be a pipeline that spaCy can load, found "
            f"{type(error).__name__} ({reason}); install what it needs: `python -m spacy validate` "
            "says whether it fits this spaCy"
        ) from error


def _check_able(pipeline: Any, tagging: Tagging) -> None:
    """Raise `UserError` naming what the pipeline lacks, seen from what it does to a sentence."""
    probe = pipeline("Anna sees the old bridge over the river.")
    missing = None
    if tagging.what == "ents":
        if not probe.has_annotation("ENT_IOB"):
            missing = "a component that finds entities, such as ner or entity_ruler"
    elif pipeline.vocab.get_noun_chunks is None:
        missing = f"rules for the noun chunks of its language, {pipeline.lang}"
    elif not probe.has_annotation("DEP"):
        missing = "the component parser"
    elif not probe.has_annotation("POS"):
        missing = (
            "a component that sets parts of speech: tagger and attribute_ruler, or morphologizer"
        )
    if missing:
        raise UserError(
            f"--tag-model {tagging.model}: for --tag {tagging.tag} a pipeline must have {missing}, "
            f"found {', '.join(pipeline.pipe_names) or 'no component'}; use for instance "
            "en_core_web_sm"
        )


def _leave_out_components(pipeline: Any, what: str) -> None:
    """Disable components that do nothing for `what`.

    Rules, and components that spaCy does not bring, may look at what any other found: then all
    stay.
    """
    kinds = {name: pipeline.get_pipe_meta(name).factory for name in pipeline.pipe_names}
    if not set(kinds.values()) <= _KNOWN:
        return
    unused = {name for name, kind in kinds.items() if kind not in _NEEDED[what]}
    for name, kind in kinds.items():
        # The one of en_core_web_sm serves its parser, but not its ner.
        if kind == "tok2vec" and unused.issuperset(pipeline.get_pipe(name).listening_components):
            unused.add(name)
    pipeline.select_pipes(disable=sorted(unused))
