"""`spanbert inspect shards`: what a folder holds, or what a masking scheme hides in it."""

import itertools
import json
from typing import TYPE_CHECKING

from etils import epath

from spanbert_jax.config.inspect import InspectConfig, typed_here
from spanbert_jax.corpus import description
from spanbert_jax.corpus.files import as_path, write_file
from spanbert_jax.corpus.shards import Manifest, read_manifest
from spanbert_jax.corpus.tagged import require_tags
from spanbert_jax.data.batch import PretrainBatch
from spanbert_jax.errors import UserError, reworded

if TYPE_CHECKING:
    from spanbert_jax.data.mask_statistics import MaskStatistics
    from spanbert_jax.data.masking import Vocabulary

ROWS_A_BATCH = 256


def run(config: InspectConfig) -> None:
    """Print what the shards hold or, with --mask, what masks hide in them, and write their page."""
    folder = as_path(config.shards)
    manifest = read_manifest(folder)
    if config.mask:
        _check(config, folder, manifest)
        _inspect_masks(config, folder)
        return
    lengths = description.length_percentiles(folder, manifest)
    if config.json:
        print(json.dumps(description.as_json(folder, manifest, lengths), ensure_ascii=False))
    else:
        print("\n".join(description.describe(folder, manifest, lengths)))


def _check(config: InspectConfig, folder: epath.Path, manifest: Manifest) -> None:
    """Raise `UserError` before anything is read for masks that cannot be made, or not be shown."""
    require_tags(folder, manifest, masking=config.resolved_masking, flag="--mask")
    if not manifest.totals[config.split]["num_documents"]:
        raise UserError(
            f"--split {config.split}: {folder} holds no document of it; use another split, or run "
            "`spanbert prepare` with more text into a new folder"
        )
    page = as_path(config.out)
    if page.is_dir() and config.out:
        raise UserError(f"--out {page}: must be a file, found a folder; use {page}/masks.html")
    if not page.parent.is_dir():
        raise UserError(
            f"--out {page}: its folder {page.parent} must exist, found none; make it first"
        )


def _inspect_masks(config: InspectConfig, folder: epath.Path) -> None:
    # Here, not above: a description needs no TensorFlow.
    from spanbert_jax.data.mask_statistics import add_statistics, measure_masks, rows_with_text
    from spanbert_jax.data.pipeline import pretrain_dataset
    from spanbert_jax.data.token_shards import open_token_shards
    from spanbert_jax.tasks.mask_report import as_json, render_table

    with reworded(typed_here):
        shards = open_token_shards(
            folder, split=config.split, sequence_length=config.sequence_length,
            blocks=config.blocks, over_long_sentences=config.over_long_sentences,
            mask_ratio=config.masking.mask_ratio,
        )  # fmt: skip
    dataset = pretrain_dataset(
        shards, masking=config.resolved_masking, batch_size=min(config.rows, ROWS_A_BATCH),
        max_boundary_offsets=config.max_boundary_offsets, seed=config.seed, num_epochs=1,
    )  # fmt: skip
    batches = rows_with_text(dataset.as_numpy_iterator(), num_rows=config.rows)
    first = next(batches)
    statistics = add_statistics(
        [
            measure_masks(
                batch, vocabulary=shards.vocabulary, replaced_by_span=config.replaced_by_span
            )
            for batch in itertools.chain([first], batches)
        ]
    )
    if config.out:
        _write_page(config, folder, shards.vocabulary, rows=first, statistics=statistics)
    if config.json:
        print(json.dumps(as_json(statistics, config=config), ensure_ascii=False))
        return
    print(render_table(statistics, config=config))
    if config.out:
        print(f"\n{config.out}: figures, and lines of text with their masked spans")


def _write_page(
    config: InspectConfig,
    folder: epath.Path,
    vocabulary: "Vocabulary",
    *,
    rows: PretrainBatch,
    statistics: "MaskStatistics",
) -> None:
    from spanbert_jax.corpus.tokenizers import load_tokenizer
    from spanbert_jax.tasks.mask_lines import masked_lines
    from spanbert_jax.tasks.mask_page import render_page

    lines = masked_lines(
        PretrainBatch(*(field[: config.texts] for field in rows)),
        tokenizer=load_tokenizer(folder / read_manifest(folder).tokenizer.file),
        vocabulary=vocabulary,
        replaced_by_span=config.replaced_by_span,
    )
    page = render_page(statistics, lines=lines, config=config)
    write_file(as_path(config.out), page.encode())
