"""Which text is read, how it is cut, and which tokens are hidden."""

import difflib
import math
from dataclasses import dataclass
from typing import Literal

from spanbert_jax.config.phases import LengthPhase, require_length
from spanbert_jax.errors import require, require_positive

BaseScheme = Literal["geometric_span", "uniform_span", "whole_word", "subword"]
MaskingScheme = Literal[BaseScheme, "tagged_span"]
BlockKind = Literal["document", "packed", "sentence_pair"]
OverLongSentences = Literal["split", "original"]


def tokens_of_text(sequence_length: int, blocks: BlockKind) -> int:
    """Tokens of text that a row has room for, at most: what [CLS] and one or two [SEP] leave.

    tokens_of_text(512, "document") -> 510, tokens_of_text(512, "sentence_pair") -> 509,
    tokens_of_text(512, "packed") -> 510 (of a row that holds one run; each further one costs two)
    """
    return sequence_length - (3 if blocks == "sentence_pair" else 2)


@dataclass(frozen=True)
class MaskingConfig:
    """Which tokens are hidden (sec. 3.1)."""

    scheme: MaskingScheme = "geometric_span"
    """geometric_span: SpanBERT. uniform_span: lengths uniform over 1..max_span_words. whole_word:
    spans of one word. subword: single tokens, as BERT. tagged_span: spans that `spanbert prepare
    --tag` annotated, such as named entities or noun phrases (sec. 6.1), beside a base scheme."""
    anchor: Literal["subword", "word"] = "subword"
    """Where a span begins, drawn uniformly. subword: at the word of a subword, so that words of
    many pieces are hidden more often (released code). word: at a word (sec. 3.1)."""
    mask_ratio: float = 0.15
    """Share of a block's tokens that become targets: ceil(mask_ratio x tokens)."""
    geometric_p: float = 0.2
    """Span lengths in words follow p(1-p)^(l-1), renormalised over 1..max_span_words."""
    max_span_words: int = 10
    """Longest span, in words, before touching spans are merged."""
    tagged_prob: float = 0.5
    """tagged_span: probability that a draw hides an annotated span, where its row has any."""
    base_scheme: BaseScheme = "geometric_span"
    """tagged_span: what hides the rest. geometric_span (released code), whole_word (sec. 6.1)."""
    mask_token_prob: float = 0.8
    """Probability that a span is replaced by [MASK] tokens."""
    random_token_prob: float = 0.1
    """Probability that a span is replaced by random tokens of the corpus; else it stays."""

    def __post_init__(self) -> None:
        require(
            0.0 < self.mask_ratio < 1.0, "--masking.mask-ratio", self.mask_ratio,
            "must be between 0 and 1", "use 0.15, as the paper",
        )  # fmt: skip
        require(
            0.0 < self.geometric_p < 1.0, "--masking.geometric-p", self.geometric_p,
            "must be between 0 and 1", "use 0.2, as the paper",
        )  # fmt: skip
        require_positive("--masking.max-span-words", self.max_span_words, "10")
        require(
            0.0 <= self.tagged_prob < 1.0, "--masking.tagged-prob", self.tagged_prob,
            "must be in [0, 1), since a row may have fewer annotated tokens than it must hide",
            "use 0.5, as the paper",
        )  # fmt: skip
        total = self.mask_token_prob + self.random_token_prob
        require(
            min(self.mask_token_prob, self.random_token_prob) >= 0.0 and total <= 1.0 + 1e-9,
            "--masking.mask-token-prob",
            self.mask_token_prob,
            f"with --masking.random-token-prob {self.random_token_prob} must be at most 1 in sum",
            "use 0.8 and 0.1, as the paper",
        )

    @property
    def untagged_scheme(self) -> BaseScheme:
        """The scheme of the draws that hide no annotated span."""
        return self.base_scheme if self.scheme == "tagged_span" else self.scheme

    def budget(self, num_tokens: int) -> int:
        """Tokens hidden in a block of so many: MaskingConfig().budget(510) -> 77."""
        # 1e-9: in floating point 0.07 x 100 is 7.000000000000001, which must not become 8.
        return math.ceil(self.mask_ratio * num_tokens - 1e-9)

    def num_predictions(self, sequence_length: int, blocks: BlockKind = "document") -> int:
        """Prediction slots P of a row: the budget of a full one, without [CLS] and [SEP].

        The two segments of a sentence pair are masked each by itself, so both budgets are rounded
        up: 509 tokens may be 1 and 508, with budgets of 1 and 77. So are those of the runs in a
        packed row, of which there may be many: it gets one slot more for every 64 tokens, and no
        more runs than these slots are enough for.

        MaskingConfig().num_predictions(512) -> 77
        MaskingConfig().num_predictions(512, "packed") -> 85
        MaskingConfig().num_predictions(512, "sentence_pair") -> 78
        """
        num_tokens = tokens_of_text(sequence_length, blocks)
        if blocks == "document":
            return self.budget(num_tokens)
        if blocks == "packed":
            return self.budget(num_tokens) + sequence_length // 64
        return max(self.budget(n) + self.budget(num_tokens - n) for n in range(1, num_tokens))


@dataclass(frozen=True)
class DataConfig:
    """Which shards are read, and in what shape."""

    shards: str = ""
    """Folder written by `spanbert prepare` (local or gs://)."""
    sequence_length: int = 512
    """Tokens in a row, [CLS] and [SEP] included (sec. 4.2)."""
    batch_size: int = 256
    """Rows in a step over all devices (sec. 4.2)."""
    phases: tuple[LengthPhase, ...] = ()
    """Phases before that of sequence_length and batch_size, one after the other, each typed as
    STEPS:LENGTH or STEPS:LENGTH:BATCH, such as 900000:128:256 (BERT's nine tenths of short rows).
    The same shards serve all of them; the flag without a value leaves every phase out."""
    blocks: BlockKind = "document"
    """document: a row is sentences of one document, as many as fit (SpanBERT, sec. 3.3).
    packed: documents are cut to rows and what is left of them fills rows together, so that hardly
    any padding remains; each is a [CLS] text [SEP] with positions of its own, attends to itself
    alone and is masked by itself.
    sentence_pair: [CLS] A [SEP] B [SEP], for next-sentence prediction, as BERT: B goes on where A
    ends, or, half of the time, comes from another document."""
    over_long_sentences: OverLongSentences = "split"
    """What becomes of a sentence that is longer than a row, where --data.blocks is document. split:
    it is cut over several rows. original: it is left out, and with it, where it is the last of its
    document, the row of sentences that was not full yet (released code). Counted either way."""
    verify_shards: bool = False
    """Read all shards before training and compare their checksums. What a run reads is compared in
    any case, a megabyte at a time, as it is read."""

    def __post_init__(self) -> None:
        require_length("--data.sequence-length", self.sequence_length)
        require_positive("--data.batch-size", self.batch_size, "256")
        require(
            self.over_long_sentences == "split" or self.blocks == "document",
            "--data.over-long-sentences", self.over_long_sentences,
            f"is a rule for blocks of whole sentences, which --data.blocks {self.blocks} has not",
            "use --data.over-long-sentences split, or --data.blocks document",
        )  # fmt: skip


TAGS = ("spacy:ents", "spacy:noun_chunks")
"""Kinds of spans that `prepare` finds in text."""


@dataclass(frozen=True)
class PrepareConfig:
    """From raw text to shards of token ids."""

    source: tuple[str, ...] = ()
    """Where text comes from, one or more of
    `text:/data/*.txt` (a blank line ends a document), `text-files:/data/*.txt` (a document a file),
    `jsonl:/data/*.jsonl.gz#text` (named field), `wikipedia:/data/*.xml.bz2` (dump),
    `tfds:wikipedia/20230601.en` (TensorFlow Datasets; `#field`, `@split` may follow).
    Paths may be local, gs://, or package://NAME/FILE for data that an installed package ships."""
    out: str = ""
    """Folder of the shards (local or gs://)."""
    tokenizer: str = "sentencepiece"
    """`sentencepiece` or `wordpiece` trains one on the source; a path loads one: `*.model`
    (SentencePiece), `vocab.txt` or `tokenizer.json` (WordPiece, byte-level BPE)."""
    vocab_size: int = 32_000
    """Entries of a tokenizer that is trained here."""
    sentencepiece_type: Literal["unigram", "bpe"] = "unigram"
    """Kind of SentencePiece model that is trained here."""
    lowercase: bool | None = None
    """Lowercase and strip accents (`--lowercase`, `--no-lowercase`), for a vocab.txt or a WordPiece
    tokenizer that is trained here. None trains a cased one, as SpanBERT's, and takes for a
    vocab.txt what tokenizer_config.json beside it says, else lowercases where it has no capital
    letter."""
    tokenizer_sample_mb: float = 64.0
    """Megabytes of text, spread over the source, that a tokenizer is trained on."""
    split: Literal["sentences", "lines"] = "sentences"
    """What is never cut across blocks: sentences found in each paragraph, or lines as they are."""
    language: str = "en"
    """ISO 639 code; chooses the rules of sentence boundaries."""
    tag: str = ""
    """Spans of the text to find and keep beside its tokens, for `--masking.scheme tagged_span`
    (sec. 6.1): `spacy:ents`, named entities, or `spacy:noun_chunks`, noun phrases. Needs spaCy:
    `pip install -e '.[spacy]'`."""
    tag_model: str = "en_core_web_sm"
    """spaCy pipeline that finds them: an installed package, or the folder of one on a local disk.
    Install the default with `python -m spacy download en_core_web_sm`."""
    tag_skip_labels: tuple[str, ...] = (
        "CARDINAL", "ORDINAL", "QUANTITY", "PERCENT", "MONEY", "DATE", "TIME",
    )  # fmt: skip
    """Entities that are left out, by label: the numerical ones, as in the paper."""
    min_characters: int = 0
    """Documents of fewer characters are dropped."""
    max_characters: int = 0
    """Documents of more characters are dropped; 0 sets no limit."""
    min_letter_share: float = 0.0
    """Documents with a smaller share of letters and white space among their characters are dropped:
    tables, code, lists of numbers; prose in English has 0.95."""
    max_garbled_share: float = 1.0
    """Documents with a larger share of control characters, U+FFFD and code points for private use
    are dropped: text that was decoded wrongly, or is none."""
    exact_duplicates: Literal["drop", "keep"] = "drop"
    """Of documents with the same text, only the first one is kept."""
    near_duplicates: float = 0.0
    """A document goes if one before it, in the order of the hashes of their text, shares this part
    of its runs of five words (Jaccard similarity, estimated by MinHash). It goes even if that one
    goes too: in a chain of them, also documents that are unlike all that stay. 0 keeps all, 0.8 is
    usual. Needs datasketch: `pip install 'spanbert_jax[dedup]'`."""
    mixture: tuple[float, ...] = ()
    """Share of each source in the text, in their order: `--mixture 0.7 0.3`. The source that is
    scarcest for its share is used whole, of the others documents are left out. None uses all."""
    held_out: float = 0.01
    """Share of documents kept for evaluation, chosen by their content."""
    shard_tokens: int = 64_000_000
    """Tokens in a shard (128 MB at two bytes a token)."""
    num_workers: int = 0
    """Processes that clean and tokenize; 0 takes one for every core. Never changes the shards."""
    runner: Literal["local", "beam"] = "local"
    """local: all cores of this machine. beam: Apache Beam, on whatever engine --beam-options name;
    the shards are the same. Needs Beam on every worker: `pip install 'spanbert_jax[beam]'`."""
    beam_options: str = ""
    """Options of the Beam pipeline in one string, such as '--runner=DataflowRunner
    --project=mine --region=us-central1 --temp_location=gs://bucket/tmp'."""
    dry_run: bool = False
    """Read a sample, say what would happen, how large it would be and how long it would take; write
    nothing."""

    def __post_init__(self) -> None:
        require(
            self.vocab_size >= 100, "--vocab-size", self.vocab_size,
            "must be at least 100", "use 32000",
        )  # fmt: skip
        require_positive("--tokenizer-sample-mb", self.tokenizer_sample_mb, "64")
        self._check_tag()
        self._check_filters()
        require(
            0.0 <= self.held_out < 1.0, "--held-out", self.held_out,
            "must be a fraction of the documents in [0, 1)", "use 0.01",
        )  # fmt: skip
        require(
            self.shard_tokens >= 1_000, "--shard-tokens", self.shard_tokens,
            "must be at least 1000", "use 64000000",
        )  # fmt: skip
        require(
            self.num_workers >= 0, "--num-workers", self.num_workers,
            "must not be negative", "use 0 for one process a core",
        )  # fmt: skip

    def _check_runner(self) -> None:
        require(
            not self.beam_options or self.runner == "beam", "--beam-options", self.beam_options,
            "are of --runner beam alone", "add --runner beam, or leave them out",
        )  # fmt: skip

    def _check_mixture(self) -> None:
        typed = " ".join(map(str, self.mixture))
        require(
            not self.mixture or len(self.mixture) == len(self.source), "--mixture", typed,
            f"must be one share for each of the {len(self.source)} sources, found "
            f"{len(self.mixture)}", "name a share for every --source, in their order",
        )  # fmt: skip
        require(
            all(share > 0.0 for share in self.mixture), "--mixture", typed,
            "every share must be greater than 0", "leave out the source that is not wanted",
        )  # fmt: skip
        total = math.fsum(self.mixture)
        scaled = [f"{share / total:.4g}" for share in self.mixture]
        require(
            not self.mixture or abs(total - 1.0) < 1e-3, "--mixture", typed,
            f"must add up to 1, adds up to {total:g}", f"use --mixture {' '.join(scaled)}",
        )  # fmt: skip

    def _check_tag(self) -> None:
        nearest = difflib.get_close_matches(self.tag, TAGS, n=1)
        require(
            not self.tag or self.tag in TAGS, "--tag", self.tag,
            f"must be KIND:WHAT, one of {', '.join(TAGS)}",
            f"perhaps you meant {nearest[0]}" if nearest else "leave it out to tag nothing",
        )  # fmt: skip
        require(
            not self.tag or bool(self.tag_model), "--tag-model", repr(self.tag_model),
            f"must name the spaCy pipeline for --tag {self.tag}", "use en_core_web_sm",
        )  # fmt: skip

    def _check_filters(self) -> None:
        self._check_mixture()
        self._check_runner()
        require(
            self.near_duplicates == 0.0 or 0.1 <= self.near_duplicates <= 1.0,
            "--near-duplicates", self.near_duplicates,
            "must be 0, or a similarity in [0.1, 1]", "use 0.8, or 0 to keep all",
        )  # fmt: skip
        require(
            self.min_characters >= 0, "--min-characters", self.min_characters,
            "must not be negative", "use 0 to keep the shortest",
        )  # fmt: skip
        require(
            not self.max_characters or self.max_characters >= max(1, self.min_characters),
            "--max-characters", self.max_characters,
            f"must be 0 for no limit, or at least --min-characters {self.min_characters}",
            "use 0",
        )  # fmt: skip
        require(
            0.0 <= self.min_letter_share <= 1.0, "--min-letter-share", self.min_letter_share,
            "must be a share of the characters in [0, 1]", "use 0.7, or 0 to keep all",
        )  # fmt: skip
        require(
            0.0 <= self.max_garbled_share <= 1.0, "--max-garbled-share", self.max_garbled_share,
            "must be a share of the characters in [0, 1]", "use 0.01, or 1 to keep all",
        )  # fmt: skip
