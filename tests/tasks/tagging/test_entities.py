"""What tags spell, in every scheme, and the scores of entities as seqeval counts them."""

import random

import pytest

from spanbert_jax.tasks.tagging.entities import Entity, entities_of, tags_of
from spanbert_jax.tasks.tagging.schemes import detect, num_strays, to_bio
from spanbert_jax.tasks.tagging.scores import entity_scores


# As seqeval 1.2.2 read them: get_entities, its ends exclusive here.
@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-PER I-PER O B-LOC", [("PER", 0, 2), ("LOC", 3, 4)]),
        ("O I-PER I-PER", [("PER", 1, 3)]),
        ("I-PER I-LOC", [("PER", 0, 1), ("LOC", 1, 2)]),
        ("B-PER B-PER", [("PER", 0, 1), ("PER", 1, 2)]),
        ("B-PER I-LOC I-LOC", [("PER", 0, 1), ("LOC", 1, 3)]),
        ("B-PER E-PER I-PER", [("PER", 0, 2), ("PER", 2, 3)]),
        ("S-PER E-PER O", [("PER", 0, 1), ("PER", 1, 2)]),
        ("B-creative-work I-creative-work", [("creative-work", 0, 2)]),
        ("O O", []),
        ("", []),
    ],
)
def test_tags_spell_the_entities_that_seqeval_finds(tags, expected):
    assert entities_of(tags.split()) == [Entity(*each) for each in expected]


def test_entities_that_do_not_overlap_are_spelled_and_read_back():
    rng = random.Random(0)
    for _ in range(200):
        tags = [rng.choice(["O", "B-X", "I-X", "B-Y", "I-Y", "E-X", "S-Y"]) for _ in range(9)]
        entities = entities_of(tags)
        assert entities_of(tags_of(entities, 9)) == entities


def test_scores_count_entities_whose_type_and_ends_are_right():
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["B-PER"]]
    predicted = [["B-PER", "I-PER", "O", "B-ORG"], ["O"]]
    assert entity_scores(gold, predicted) == pytest.approx(
        {
            "f1": 0.4, "precision": 1 / 2, "recall": 1 / 3,
            "PER_f1": 2 / 3, "PER_precision": 1.0, "PER_recall": 1 / 2,
            "LOC_f1": 0.0, "LOC_precision": 0.0, "LOC_recall": 0.0,
            "ORG_f1": 0.0, "ORG_precision": 0.0, "ORG_recall": 0.0,
        }
    )  # fmt: skip


def test_the_same_entity_in_another_sentence_is_another_one():
    assert entity_scores([["B-X"], ["O"]], [["O"], ["B-X"]])["f1"] == 0.0


def test_nothing_predicted_scores_0():
    assert entity_scores([["B-X"]], [["O"]])["precision"] == 0.0
    assert entity_scores([["O"]], [["O"]]) == {"f1": 0.0, "precision": 0.0, "recall": 0.0}


@pytest.mark.parametrize(
    ("tags", "scheme", "bio"),
    [
        ("B-X I-X O B-X", "bio", "B-X I-X O B-X"),
        ("I-X I-X O I-Y", "io", "B-X I-X O B-Y"),
        ("I-X B-X O I-Y", "iob1", "B-X B-X O B-Y"),
        ("B-X E-X O S-Y", "iobes", "B-X I-X O B-Y"),
        ("B-X I-X O I-X", "bio", "B-X I-X O B-X"),
        ("O O", "bio", "O O"),
    ],
)
def test_schemes_are_told_apart_and_turned_into_bio(tags, scheme, bio):
    assert detect([tags.split()]) == scheme
    assert to_bio(tags.split()) == bio.split()


def test_tags_inside_that_begin_an_entity_are_counted():
    assert num_strays([["O", "I-X", "I-X", "I-Y"], ["I-X"], ["B-X", "I-X"]]) == 3
