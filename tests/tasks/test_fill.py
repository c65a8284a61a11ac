"""Texts with [MASK] tokens, from the batch the model sees to the candidates a user reads."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from rich.console import Console

from spanbert_jax.commands.predict import show
from spanbert_jax.config import DataConfig, ModelConfig, PretrainConfig
from spanbert_jax.data.batch import PretrainBatch, empty_batch
from spanbert_jax.errors import UserError
from spanbert_jax.model.pretraining import SpanBert
from spanbert_jax.tasks.fill import Logits, fill_masks, fill_with_model, model_logits
from spanbert_jax.tasks.fill_report import fill_report, percent, print_filled, render_plain

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "capital", "is", "paris", "##ian",
          "."]  # fmt: skip


class WordTokenizer:
    """Words divided by blanks; what `##` begins belongs to the word before it."""

    kind = "wordpiece"
    vocab_size = len(PIECES)
    pad_id, unk_id, cls_id, sep_id, mask_id = range(5)
    fingerprint = "words"
    word_starts = np.array([not piece.startswith("##") for piece in PIECES])

    def encode_with_masks(self, text: str) -> list[int]:
        return [PIECES.index(word) if word in PIECES else self.unk_id for word in text.split()]

    def encode(self, text: str) -> list[int]:
        return self.encode_with_masks(text)

    def encode_batch(self, texts) -> list[list[int]]:
        return [self.encode(text) for text in texts]

    def decode(self, ids) -> str:
        hidden = (self.pad_id, self.cls_id, self.sep_id)
        return " ".join(PIECES[i] for i in ids if i not in hidden).replace(" ##", "")

    def id_to_piece(self, token_id: int) -> str:
        return PIECES[token_id]

    def save(self, folder) -> str:
        raise NotImplementedError


MODEL = ModelConfig(
    vocab_size=len(PIECES), hidden_size=16, num_layers=1, num_heads=2, mlp_size=32,
    max_positions=16, boundary_offset_size=4, max_boundary_offsets=3,
)  # fmt: skip
CONFIG = PretrainConfig(model=MODEL, data=DataConfig(sequence_length=16))


def logits_of(mlm: dict[str, float], boundary: dict[str, float] | None):
    """A model that gives every slot the same logits, and the batches that it was shown."""
    seen: list[PretrainBatch] = []

    def table(batch: PretrainBatch, scores: dict[str, float]) -> np.ndarray:
        values = np.full((*batch.masked_positions.shape, len(PIECES)), -20.0, np.float32)
        for piece, score in scores.items():
            values[..., PIECES.index(piece)] = score
        return values

    def logits(batch: PretrainBatch) -> Logits:
        seen.append(batch)
        return Logits(table(batch, mlm), None if boundary is None else table(batch, boundary))

    return logits, seen


def fill(texts, logits, *, model=MODEL, max_length=16, top=2):
    return fill_masks(
        texts, logits=logits, tokenizer=WordTokenizer(), model=model, max_length=max_length, top=top
    )


def test_the_model_sees_the_batch_it_was_trained_on():
    logits, seen = logits_of({"paris": 1.0}, {"paris": 1.0})
    fill(["the capital is [MASK] [MASK] .", "[MASK] is paris"], logits)
    (batch,) = seen
    assert batch.token_ids.tolist() == [[2, 5, 6, 7, 4, 4, 10, 3], [2, 4, 7, 8, 3, 0, 0, 0]]
    assert batch.document_ids.tolist() == [[1] * 8, [1] * 5 + [0] * 3]
    assert batch.position_ids.tolist() == [list(range(8)), [0, 1, 2, 3, 4, 0, 0, 0]]
    assert batch.masked_positions.tolist() == [[4, 5], [1, 0]]
    assert batch.boundary_left.tolist() == [[3, 3], [0, 0]]
    assert batch.boundary_right.tolist() == [[6, 6], [0, 0]]
    assert batch.boundary_offset.tolist() == [[0, 1], [0, 0]]
    assert batch.boundary_weights.tolist() == [[1, 1], [0, 0]]
    assert all(field.dtype == np.int32 for field in batch)


def test_candidates_come_from_each_judge_and_from_both():
    logits, _ = logits_of({"paris": np.log(0.8), "the": np.log(0.2)},
                          {"paris": np.log(0.5), "the": np.log(0.5)})  # fmt: skip
    (filled,) = fill(["the capital is [MASK] ."], logits)
    assert filled.filled == "the capital is paris ."
    (span,) = filled.spans
    assert (span.length, span.left, span.right, span.note) == (1, "is", ".", "")
    (token,) = span.tokens
    shown = [
        [(c.text, round(c.probability, 3)) for c in judge]
        for judge in (token.mlm, token.span_boundary or [], token.combined)
    ]
    assert shown == [
        [("paris", 0.8), ("the", 0.2)],
        [("the", 0.5), ("paris", 0.5)],
        [("paris", 0.667), ("the", 0.333)],
    ]
    assert span.spans == token


def test_spans_are_decoded_as_text_and_tokens_shown_as_pieces():
    logits, _ = logits_of({"##ian": 1.0, "paris": 0.9}, {"##ian": 1.0, "paris": 0.9})
    (filled,) = fill(["the [MASK] [MASK] ."], logits, top=4)
    (span,) = filled.spans
    assert [candidate.text for candidate in span.tokens[0].mlm[:2]] == ["##ian", "paris"]
    assert "parisian" in [candidate.text for candidate in span.spans.mlm]


def test_special_tokens_are_never_candidates():
    logits, _ = logits_of({"[MASK]": 50.0, "[UNK]": 50.0, "the": 1.0}, {"[SEP]": 50.0})
    (filled,) = fill(["the [MASK] ."], logits, top=100)
    (token,) = filled.spans[0].tokens
    for judge in (token.mlm, token.span_boundary, token.combined):
        assert sorted(candidate.text for candidate in judge) == sorted(PIECES[5:])
        assert sum(candidate.probability for candidate in judge) == pytest.approx(1.0)


@pytest.mark.parametrize("text", ["[MASK] is paris", "paris is [MASK] [MASK]", "[MASK]"])
def test_beside_an_end_of_the_text_the_span_boundary_head_has_no_say(text):
    logits, _ = logits_of({"paris": 1.0}, {"the": 9.0})
    (filled,) = fill([text], logits)
    (span,) = filled.spans
    assert "touches an end of the text" in span.note
    assert span.spans.span_boundary is None
    assert span.tokens[0].span_boundary is None
    assert span.tokens[0].combined == span.tokens[0].mlm


def test_tokens_deeper_than_the_trained_offsets_are_judged_by_the_language_model_alone():
    logits, seen = logits_of({"paris": 1.0}, {"the": 9.0})
    (filled,) = fill(["the [MASK] [MASK] [MASK] [MASK] ."], logits)
    (span,) = filled.spans
    assert "first 3 tokens" in span.note
    assert [token.span_boundary is None for token in span.tokens] == [False] * 3 + [True]
    assert span.tokens[3].combined == span.tokens[3].mlm
    assert span.spans.span_boundary is None
    assert seen[0].boundary_offset.tolist() == [[0, 1, 2, 2]]
    assert seen[0].boundary_weights.tolist() == [[1, 1, 1, 0]]


def test_a_model_without_span_boundary_head_says_so():
    logits, _ = logits_of({"paris": 1.0}, None)
    model = dataclasses.replace(MODEL, span_boundary_head=False)
    (filled,) = fill(["the [MASK] ."], logits, model=model)
    assert filled.filled == "the paris ."
    assert "trained without the span-boundary objective" in filled.spans[0].note


def test_many_texts_share_one_shape():
    logits, seen = logits_of({"paris": 1.0}, None)
    texts = ["the [MASK] ."] * 9 + ["the capital is [MASK] [MASK] ."]
    filled = fill(texts, logits)
    assert [text.text for text in filled] == texts
    assert len(seen) == 2
    assert len({batch.token_ids.shape for batch in seen}) == 1


def test_a_text_without_mask_is_an_error():
    logits, _ = logits_of({"paris": 1.0}, None)
    with pytest.raises(UserError, match=r"'the capital' has no \[MASK\]"):
        fill(["the [MASK]", "the capital"], logits)


def test_a_text_that_is_too_long_is_an_error_with_its_tokens_and_the_limit():
    logits, _ = logits_of({"paris": 1.0}, None)
    with pytest.raises(UserError, match=r"has 7 tokens.*at most 6"):
        fill(["the capital is the [MASK]"], logits, max_length=6)


@pytest.fixture(scope="module")
def params():
    batch = empty_batch(1, 16, 3)._asdict()
    inputs = {
        name: x for name, x in batch.items() if not name.endswith(("_weights", "_ids", "_label"))
    }
    inputs |= {name: batch[name] for name in ("token_ids", "segment_ids", "document_ids",
                                              "position_ids")}  # fmt: skip
    variables = jax.jit(SpanBert(MODEL).init)(jax.random.key(0), **inputs)
    import flax.linen as nn

    return nn.unbox(variables)["params"]


TEXTS = ["the capital is [MASK] [MASK] .", "the [MASK] is paris ."]


def test_a_model_fills_texts_and_a_neighbour_in_the_batch_changes_nothing(params):
    together = fill_with_model(TEXTS, config=CONFIG, params=params, tokenizer=WordTokenizer())
    alone = fill_with_model(TEXTS[1:], config=CONFIG, params=params, tokenizer=WordTokenizer())
    for of_both, of_one in zip(together[1].spans[0].tokens, alone[0].spans[0].tokens, strict=True):
        for judge in ("mlm", "span_boundary", "combined"):
            np.testing.assert_allclose(
                [candidate.probability for candidate in getattr(of_both, judge)],
                [candidate.probability for candidate in getattr(of_one, judge)],
                rtol=1e-4,  # other padding, other order of float32 sums
            )
    assert together[1].filled == alone[0].filled


def test_the_span_boundary_head_sees_the_neighbours_alone_through_the_encoder(params):
    """Offsets tell the tokens of a span apart: other positions, other candidates."""
    logits = model_logits(SpanBert(MODEL), params)
    batch = empty_batch(1, 8, 2)
    batch.token_ids[0] = [2, 5, 6, 7, 4, 4, 10, 3]
    batch.document_ids[:] = 1
    batch.position_ids[0] = np.arange(8)
    batch.boundary_left[:], batch.boundary_right[:] = 3, 6
    batch.boundary_offset[0] = [0, 1]
    found = logits(batch)
    assert found.span_boundary.shape == (1, 2, len(PIECES))
    assert not np.allclose(found.span_boundary[0, 0], found.span_boundary[0, 1])


def test_the_vocabulary_may_be_left_to_the_tokenizer(params):
    open_model = dataclasses.replace(MODEL, vocab_size=None)
    config = dataclasses.replace(CONFIG, model=open_model)
    filled = fill_with_model(TEXTS, config=config, params=params, tokenizer=WordTokenizer())
    assert filled == fill_with_model(TEXTS, config=CONFIG, params=params, tokenizer=WordTokenizer())


def test_the_report_of_a_run_shows_texts_spans_and_tokens(params):
    page = fill_report(TEXTS, config=CONFIG, params=params, tokenizer=WordTokenizer())
    lines = page.splitlines()
    assert lines[0] == TEXTS[0]
    assert lines[1].startswith("-> the capital is ")
    for words in ("2 tokens between 'is' and '.'", "span boundary", "token 2", "1 token"):
        assert words in page
    assert "\x1b" not in page
    assert all(line == line.rstrip() for line in lines)


def some_filled_text():
    logits, _ = logits_of({"paris": 1.0}, {"paris": 1.0})
    return fill(["the [MASK] ."], logits)


def test_a_terminal_gets_a_table_with_lines():
    import io

    stream = io.StringIO()
    print_filled(some_filled_text(), Console(file=stream, force_terminal=True, width=90))
    text = stream.getvalue()
    assert "[MASK]" in text  # no markup of rich
    assert "╭" in text
    assert "╭" not in render_plain(some_filled_text())


def test_json_lines_hold_all_there_is(capsys):
    show(some_filled_text(), as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    filled = json.loads(line)
    assert filled["filled"] == "the paris ."
    assert filled["spans"][0]["tokens"][0]["combined"][0]["text"] == "paris"


def test_a_pipe_gets_plain_columns(capsys):
    show(some_filled_text(), as_json=False)
    printed = capsys.readouterr().out
    assert printed.startswith("the [MASK] .\n-> the paris .\n")
    assert "\x1b" not in printed


def test_probabilities_of_long_spans_are_not_rounded_to_nothing():
    assert percent(0.4856) == "48.6%"
    assert percent(0.0000182) == "0.00182%"
