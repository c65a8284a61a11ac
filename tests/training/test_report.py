"""The page of a finished run."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from spanbert_jax.errors import UserError
from spanbert_jax.training.report import Series, averaged, series, write_report


def write_run(folder, *, span_boundary: bool = True) -> None:
    lines = []
    for step in range(0, 1001, 10):
        loss = 8.0 - step / 250
        record = {"step": step, "time": 1e9 + step, "mlm_loss": loss, "mlm_accuracy": step / 4000,
                  "learning_rate": 1e-4, "tokens_per_second": 5e4, "grad_norm": None}  # fmt: skip
        lines.append(record | ({"sbo_loss": loss + 1} if span_boundary else {}))
        if step % 250 == 0:
            held_out = {"held_out_mlm_loss": loss + 0.1, "held_out_loss": loss + 0.1}
            held_out |= {"held_out_sbo_loss": loss + 1.5} if span_boundary else {}
            lines.append({"step": step, "time": 1e9 + step, **held_out})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "config.json").write_text('{"fill": ["a <b> & [MASK]"]}\n')


def test_series_keeps_the_finite_values_of_a_metric():
    points = series(
        [{"step": 1, "a": 2.0}, {"step": 2}, {"step": 3, "a": float("nan")}, {"step": 4, "a": 5.0}],
        "a",
    )
    np.testing.assert_array_equal(points.steps, [1, 4])
    np.testing.assert_array_equal(points.values, [2, 5])


def test_long_curves_are_averaged_and_short_ones_kept():
    points = Series(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 5.0, 7.0]))
    thinner = averaged(points, max_points=2)
    np.testing.assert_array_equal(thinner.steps, [1.5, 3.5])
    np.testing.assert_array_equal(thinner.values, [2, 6])
    assert averaged(points, max_points=4) is points


def test_the_report_is_one_file_that_needs_no_network(tmp_path):
    write_run(tmp_path)
    path = write_report(tmp_path, filled="Paris is <nice>.")
    page = path.read_text()
    assert path.name == "report.html"
    assert not list(tmp_path.glob("*.tmp"))
    for loader in ("<script", "<link", "<img", "src=", "@import", "url(http"):
        assert loader not in page
    assert "a &lt;b&gt; &amp; [MASK]" in page
    assert "Paris is &lt;nice&gt;." in page
    assert "1,000 steps in 16m 40s" in page


def test_the_report_shows_curves_and_the_first_and_last_figures(tmp_path):
    write_run(tmp_path)
    page = write_report(tmp_path).read_text()
    for title in ("Masked language model: loss", "Span boundary: loss", "Learning rate"):
        assert page.count(title) >= 1
    assert "Gradient norm" not in page  # it was never finite
    row = "<th scope=row>Held-out MLM loss</th><td>8.100</td><td>0</td><td>4.100</td><td>1,000</td>"
    assert row in page


def test_panels_are_well_formed_and_take_the_colour_of_the_page(tmp_path):
    write_run(tmp_path)
    page = write_report(tmp_path).read_text()
    drawings = page.split("<figure>")[1:]
    assert len(drawings) == 5
    for drawing in drawings:
        svg = drawing.split("</figure>")[0]
        ElementTree.fromstring(svg)
        assert "currentColor" in svg
        assert "#000000" not in svg and "#ffffff" not in svg


def test_a_run_without_span_boundary_objective_has_no_panel_for_it(tmp_path):
    write_run(tmp_path, span_boundary=False)
    assert "Span boundary" not in write_report(tmp_path).read_text()


def test_the_same_run_gives_the_same_bytes(tmp_path):
    write_run(tmp_path)
    first = write_report(tmp_path).read_bytes()
    assert write_report(tmp_path).read_bytes() == first


@pytest.mark.parametrize("text", [None, ""])
def test_a_run_that_logged_nothing_is_an_error_with_the_path(tmp_path, text):
    if text is not None:
        (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(UserError, match=r"metrics\.jsonl (does not exist|is empty)"):
        write_report(tmp_path)


def test_a_run_of_fine_tuning_shows_every_score_on_dev(tmp_path):
    lines = [{"step": step, "time": 1e9 + step, "task_loss": 1 / (step + 1)} for step in range(9)]
    lines += [{"step": step, "time": 1e9 + step, "dev_f1": 70.0 + step, "dev_exact": 60.25}
              for step in (4, 8)]  # fmt: skip
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = write_report(tmp_path, kind="Fine-tuning").read_text()
    assert f"Fine-tuning run {tmp_path.name}" in page
    assert len(page.split("<figure>")[1:]) == 3
    row = "<th scope=row>Dev: f1</th><td>74.00</td><td>4</td><td>78.00</td><td>8</td>"
    assert row in page
