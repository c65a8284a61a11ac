"""The real sets of relations: every record is an example, and what training lacks is counted."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from spanbert_jax.config.tasks import SemEvalConfig, TacredConfig
from spanbert_jax.corpus.tokenizers.word_piece import parse_vocabulary
from spanbert_jax.errors import UserError
from spanbert_jax.tasks.task import load_task

# The file of a split; the examples, the relations that occur, the examples of none of them.
REAL = {
    "semeval2010_task8": {"train.txt": (7205, 18, 1266), "dev.txt": (795, 17, 144)},
    "redocred_tacredfmt": {"train.json": (8944, 90, 4240), "dev.json": (2160, 75, 947)},
    "tacred_sample": {"train.json": (20, 1, 18), "dev.json": (20, 4, 13)},
}
BRACKETS = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]"}


def entities_as_written(path: Path) -> list[tuple[str, ...]]:
    """The words of subject and object of each record of a file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".txt":
        # Comments may quote a sentence with its tags.
        sentences = "\n".join(re.findall(r"^\d+\t.*", text, re.MULTILINE))
        tagged = (re.findall(rf"<{role}>(.*?)</{role}>", sentences) for role in ("e1", "e2"))
        return list(zip(*tagged, strict=True))
    return [
        tuple(
            " ".join(
                BRACKETS.get(word, word)
                for word in record["token"][record[f"{role}_start"] : record[f"{role}_end"] + 1]
            )
            for role in ("subj", "obj")
        )
        for record in json.loads(text)
    ]


@pytest.mark.parametrize("folder", list(REAL))
def test_every_record_of_the_real_files_is_an_example(folder, shared):
    semeval = folder.startswith("semeval")
    task = load_task(SemEvalConfig() if semeval else TacredConfig())
    for split, (number, relations, unrelated) in REAL[folder].items():
        path = shared / "data" / "re" / folder / split
        read = task.read(str(path), training=split.startswith("train"))
        assert len(read.examples) == number and read.notes == ()
        counts = Counter(example.relation for example in read.examples)
        assert counts.pop("Other" if semeval else "no_relation") == unrelated
        assert len(counts) == relations and None not in counts
        found = [
            (each.text[slice(*each.subject)], each.text[slice(*each.object)])
            for each in read.examples
        ]
        assert found == entities_as_written(path)


@pytest.mark.parametrize(
    "folder, classes, markers, remarks",
    [
        (
            "redocred_tacredfmt", 91, 12,
            ("5 rows have a relation unseen in training: counted as mistakes",),
        ),
        (
            "tacred_sample", 2, 9,
            ("8 rows show a type unseen in training (OBJ=TITLE, OBJ=URL) as the most frequent one",
             "7 rows have a relation unseen in training: counted as mistakes"),
        ),
    ],
)  # fmt: skip
def test_what_training_lacks_of_the_real_files_is_refused_or_counted(
    folder, classes, markers, remarks, shared
):
    # Each type of subject and of object has a marker; of words, their number alone counts here.
    unused = "".join(f"[unused{i}]\n" for i in range(1, 13))
    pieces = f"[PAD]\n{unused}[UNK]\n[CLS]\n[SEP]\n[MASK]"
    tokenizer = parse_vocabulary(pieces, lowercase=False, where="test")
    path = shared / "data" / "re" / folder
    task = load_task(TacredConfig(unseen_relations="count_wrong"))
    train = task.read(str(path / "train.json"), training=True).examples
    tables = task.tables(train, tokenizer)
    assert tables["labels"][0] == "no_relation"
    assert (len(tables["labels"]), len(tables["markers"])) == (classes, markers)
    dev = task.read(str(path / "dev.json"), training=False).examples
    given = {"tokenizer": tokenizer, "tables": tables, "training": False}
    assert task.remarks(list(task.rows(dev, **given)), tables=tables) == remarks
    with pytest.raises(UserError, match=r"dev.json: record \d+ .*: relation \S+ is unseen"):
        list(load_task(TacredConfig()).rows(dev, **given))
