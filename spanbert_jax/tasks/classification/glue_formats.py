"""The nine tasks of GLUE: columns, labels, scores and submission files (Wang et al. 2019).

The names of columns are those of the official TSV files, then those of TensorFlow Datasets; the
first that a file has is taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

BINARY = ("0", "1")
ENTAILMENT = ("entailment", "not_entailment")

MATCHED, MISMATCHED, DIAGNOSTIC = "matched", "mismatched", "diagnostic"
"""Parts of MNLI's evaluation, by what stands in the name of their files."""


@dataclass(frozen=True)
class GlueFormat:
    """What differs between the tasks."""

    submissions: Mapping[str, str]
    """Name of the submission file, of each part."""
    text: tuple[str, ...] = ("sentence1",)
    text_pair: tuple[str, ...] = ("sentence2",)
    answer: tuple[str, ...] = ("label",)
    id: tuple[str, ...] = ("index", "idx")
    labels: tuple[str, ...] = ENTAILMENT
    """In the order of the released scripts; none for scores."""
    metric: str = "accuracy"
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other names of labels; "" is an answer that is not known."""
    headerless: tuple[str, ...] = ()
    """Columns of its files without a header line."""
    has_ragged_lines: bool = False
    """Whether the official training file holds lines that no example can be read from."""


GLUE: dict[str, GlueFormat] = {
    "cola": GlueFormat(
        {"": "CoLA.tsv"}, text=("sentence",), text_pair=(), labels=BINARY, metric="mcc",
        aliases={"unacceptable": "0", "acceptable": "1"},
        headerless=("source", "label", "mark", "sentence"),
    ),
    "sst2": GlueFormat(
        {"": "SST-2.tsv"}, text=("sentence",), text_pair=(), labels=BINARY,
        aliases={"negative": "0", "positive": "1"},
    ),
    "mrpc": GlueFormat(
        {"": "MRPC.tsv"}, text=("#1 String", "sentence1"), text_pair=("#2 String", "sentence2"),
        answer=("Quality", "label"), labels=BINARY, metric="accuracy_and_f1",
        aliases={"not_equivalent": "0", "equivalent": "1"},
    ),
    "stsb": GlueFormat(
        {"": "STS-B.tsv"}, answer=("score", "label"), labels=(), metric="pearson_and_spearman"
    ),
    "qqp": GlueFormat(
        {"": "QQP.tsv"}, text=("question1",), text_pair=("question2",),
        answer=("is_duplicate", "label"), id=("id", "idx"), labels=BINARY,
        metric="accuracy_and_f1", aliases={"not_duplicate": "0", "duplicate": "1"},
        has_ragged_lines=True,
    ),
    "mnli": GlueFormat(
        {MATCHED: "MNLI-m.tsv", MISMATCHED: "MNLI-mm.tsv", DIAGNOSTIC: "AX.tsv"},
        text=("sentence1", "premise"), text_pair=("sentence2", "hypothesis"),
        answer=("gold_label", "label"), labels=("contradiction", "entailment", "neutral"),
        # The annotators did not agree.
        aliases={"-": ""},
    ),
    "qnli": GlueFormat({"": "QNLI.tsv"}, text=("question",), text_pair=("sentence",)),
    "rte": GlueFormat({"": "RTE.tsv"}),
    "wnli": GlueFormat(
        {"": "WNLI.tsv"}, labels=BINARY, aliases={"not_entailment": "0", "entailment": "1"}
    ),
}  # fmt: skip
