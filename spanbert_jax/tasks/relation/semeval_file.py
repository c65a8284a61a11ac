"""Reads SemEval-2010 Task 8 in its official form. In: a file. Out: `RelationExample`s.

    1	"The <e1>child</e1> was wrapped and bound into the <e2>cradle</e2>."
    Other
    Comment:

The test form has sentences alone.
"""

import re
from itertools import chain

from spanbert_jax.errors import UserError
from spanbert_jax.tasks.relation.example import RelationExample, checked
from spanbert_jax.tasks.text_files import read_lines

RELATIONS = (
    "Cause-Effect", "Component-Whole", "Content-Container", "Entity-Destination", "Entity-Origin",
    "Instrument-Agency", "Member-Collection", "Message-Topic", "Product-Producer",
)  # fmt: skip
OTHER = "Other"
LABELS = (
    OTHER,
    *chain.from_iterable((f"{name}(e1,e2)", f"{name}(e2,e1)") for name in RELATIONS),
)
"""The 19 classes, of which one is no relation and has no direction."""

_SENTENCE = re.compile(r"(\d+)\t(.*)")
_TAG = re.compile(r"</?e[12]>")


def read_semeval(path: str) -> list[RelationExample]:
    """Examples of a file of TRAIN_FILE.TXT's form, or of TEST_FILE.txt's, without relations.

    Raises:
        UserError: a line is of no known form; names it.
    """
    examples: list[RelationExample] = []
    for number, line in read_lines(path):
        where, line = f"{path}:{number}", line.strip()
        if found := _SENTENCE.fullmatch(line):
            examples.append(_sentence(found[1], found[2], where))
        elif line in LABELS and examples and examples[-1].relation is None:
            examples[-1] = examples[-1]._replace(relation=line)
        elif line and not (line.startswith("Comment") and examples):
            raise UserError(
                f'{where}: must be a sentence (number, tab, "sentence"), one of the 19 relations '
                f"after a sentence, Comment: or blank, found {line!r:.80}; mend the line"
            )
    return examples


def _sentence(id: str, tagged: str, where: str) -> RelationExample:
    """ "The <e1>child</e1> in the <e2>cradle</e2>" -> text "The child in the cradle",
    subject (4, 9), object (17, 23)."""
    tagged = tagged.removeprefix('"').removesuffix('"')
    tags = _TAG.findall(tagged)
    if sorted(tags) != ["</e1>", "</e2>", "<e1>", "<e2>"]:
        raise UserError(
            f"{where}: a sentence must hold <e1>, </e1>, <e2> and </e2>, each once, found "
            f"{' '.join(tags) or 'none'}; mend the sentence"
        )
    text, places = "", {}
    for part, tag in zip(_TAG.split(tagged), [*tags, ""], strict=True):
        text += part
        places[tag] = len(text)
    return checked(
        RelationExample(
            id, text, (places["<e1>"], places["</e1>"]), (places["<e2>"], places["</e2>"]),
            where=where,
        )
    )  # fmt: skip
