"""Figures, tables and pictures of masks, from their counts."""

import numpy as np
import pytest

from spanbert_jax.config import MaskingConfig
from spanbert_jax.config.inspect import InspectConfig
from spanbert_jax.data.mask_statistics import MaskStatistics
from spanbert_jax.tasks.mask_lines import Piece
from spanbert_jax.tasks.mask_page import draw_histogram, render_line, render_page
from spanbert_jax.tasks.mask_report import as_json, by_length, figures, length_shares, render_table

GEOMETRIC = InspectConfig(shards="/data/<shards>", mask="geometric_span")


def histogram(counts: dict[int, int], size: int = 33) -> np.ndarray:
    values = np.zeros(size, np.int64)
    values[list(counts)] = list(counts.values())
    return values


# Two rows of 30 and 20 tokens; 10 of them hidden, in spans of 1, 1 and 8.
STATISTICS = MaskStatistics(
    num_rows=np.asarray(2), num_places=np.asarray(64), num_padding=np.asarray(10),
    num_tokens=np.asarray(50), num_by_kind=np.array([40, 1, 1, 8]),
    num_boundary_targets=np.asarray(9), span_words=histogram({1: 2, 5: 1}),
    span_tokens=histogram({1: 2, 8: 1}), row_tokens=histogram({20: 1, 30: 1}),
)  # fmt: skip


def test_figures_are_shares_and_means_of_the_counts():
    values = {figure.name: figure.value for figure in figures(STATISTICS)}
    assert values == pytest.approx(
        {
            "rows": 2, "tokens_per_row": 25.0, "padding_share": 10 / 64, "hidden_share": 0.2,
            "mask_share": 0.8, "random_share": 0.1, "kept_share": 0.1,
            "boundary_target_share": 0.9, "spans_per_row": 1.5, "words_per_span": 7 / 3,
            "tokens_per_span": 10 / 3,
        }
    )  # fmt: skip
    notes = {figure.name: figure.note for figure in figures(STATISTICS)}
    assert notes["tokens_per_row"] == "20 to 30, median 20"
    assert notes["tokens_per_span"] == "1 to 8, median 1"


def test_json_holds_what_was_asked_every_figure_and_both_histograms():
    tree = as_json(STATISTICS, config=GEOMETRIC)
    assert tree["shards"] == "/data/<shards>"
    assert tree["masking"] == {**vars(MaskingConfig())}
    assert (tree["rows"], tree["hidden_share"]) == (2, 0.2)
    assert tree["spans_by_words"] == {"1": 2, "5": 1}
    assert tree["spans_by_tokens"] == {"1": 2, "8": 1}


def test_the_example_of_by_length():
    assert by_length(np.array([0, 5, 0, 2])) == {"1": 5, "3": 2}


def test_lengths_are_listed_to_the_longest_that_occurs_or_may_be_drawn():
    shares = length_shares(STATISTICS, config=GEOMETRIC)
    assert [share.label for share in shares] == [str(n) for n in range(1, 11)]
    assert (shares[0].words, shares[7].tokens) == pytest.approx((2 / 3, 1 / 3))
    assert shares[0].drawn == pytest.approx(0.2 / (1 - 0.8**10))
    words = InspectConfig(shards="a", mask="whole_word")
    shares = length_shares(STATISTICS, config=words)
    assert [share.drawn for share in shares] == [1.0] + [None] * 7


def test_the_longest_spans_are_one_group():
    longer = STATISTICS._replace(span_tokens=histogram({1: 2, 20: 1, 21: 1, 32: 1}))
    shares = length_shares(longer, config=GEOMETRIC)
    assert [share.label for share in shares[-2:]] == ["20", "21+"]
    assert shares[-1].tokens == pytest.approx(0.4)
    assert sum(share.tokens for share in shares) == pytest.approx(1.0)
    wide = InspectConfig(shards="a", mask="uniform_span", masking=MaskingConfig(max_span_words=40))
    shares = length_shares(STATISTICS, config=wide)
    assert shares[-1].drawn == pytest.approx(0.5)


def test_the_table_says_beside_what_lengths_are_drawn():
    assert "annotated" not in render_table(STATISTICS, config=GEOMETRIC)
    tagged = InspectConfig(shards="a", mask="tagged_span")
    note = " ".join(render_table(STATISTICS, config=tagged).split())
    assert "Drawn is the law of lengths beside annotated spans, before" in note


def test_text_of_the_corpus_and_of_the_command_line_is_escaped_on_the_page():
    lines = [[Piece("observed", " <b>", ""), Piece("mask", " [MASK]", " <i>")]]
    page = render_page(STATISTICS, lines=lines, config=GEOMETRIC)
    assert "&lt;b&gt;" in page and "<rt>&lt;i&gt;</rt>" in page
    assert "/data/&lt;shards&gt;" in page
    assert "<b>" not in page and "<shards>" not in page


def test_a_line_keeps_spaces_between_words_and_none_inside_them():
    line = [
        Piece("special", "[CLS]", ""), Piece("observed", " can", ""), Piece("random", "x", "al"),
        Piece("boundary", " is", ""),
    ]  # fmt: skip
    shown = render_line(line)
    assert shown.startswith('<span class="special"')
    assert ' can<span class="random"' in shown and "<ruby>x<rt>al</rt></ruby>" in shown
    assert ' <span class="boundary"' in shown and shown.endswith(">is</span>")


def test_a_histogram_has_a_bar_for_each_length_and_a_dot_where_the_law_says_something():
    svg = draw_histogram("Words", ["1", "2", "3"], [0.5, 0.25, 0.25], [0.6, 0.4, None])
    assert svg.count("<rect") == 3 and svg.count("<circle") == 2
    heights = [float(part.split('"')[0]) for part in svg.split('height="')[1:]]
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2)
    assert "<title>1: 50.0%</title>" in svg and "<title>drawn: 60.0%</title>" in svg
