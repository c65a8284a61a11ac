"""`spanbert pretrain`: one experiment from its config to a trained model, a report, filled spans.

Everything that can be checked without a device is checked before JAX starts.
"""

import dataclasses
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from etils import epath

from spanbert_jax.config import PretrainConfig, check_devices
from spanbert_jax.config.prepare_flags import prepare_flags_behind_pretrain
from spanbert_jax.corpus.prepare import prepare
from spanbert_jax.corpus.progress import show_progress
from spanbert_jax.corpus.shards import Manifest, read_manifest, verify_shards
from spanbert_jax.corpus.tagged import require_tags
from spanbert_jax.corpus.tokenizers import Tokenizer, load_tokenizer
from spanbert_jax.errors import UserError, require
from spanbert_jax.training import run_folder
from spanbert_jax.training.host_memory import keep_freed_memory

if TYPE_CHECKING:
    from spanbert_jax.commands.beginning import Beginning
    from spanbert_jax.commands.run_data import RunData, RunShards
    from spanbert_jax.data.batch import PretrainBatch
    from spanbert_jax.training.assembly import Assembly
    from spanbert_jax.training.console import Console
    from spanbert_jax.training.interrupts import StopRequest
    from spanbert_jax.training.loop import Drive, Progress
    from spanbert_jax.training.train_step import TrainState


def run(config: PretrainConfig) -> int:
    """Prepare shards if need be, train, evaluate, report; return the exit code."""
    keep_freed_memory()
    config = _at_home(config)
    run_folder.check_writable(config.workdir)
    run_folder.check_not_imported(config.workdir)
    if config.init_from:
        run_folder.check_weights_exist(config.init_from)
    config, manifest = resolve(config)
    _check_resumable(config, manifest)
    require_tags(config.data.shards, manifest, masking=config.masking, flag="--masking.scheme")
    verify_shards(config.data.shards, manifest, shards=config.data.verify_shards)
    return train(config, tokenizer_file=epath.Path(config.data.shards) / manifest.tokenizer.file)


def _at_home(config: PretrainConfig) -> PretrainConfig:
    """Read ~ as the home folder: a shell leaves it alone in --workdir=~/runs/a."""
    home = os.path.expanduser
    return dataclasses.replace(
        config,
        workdir=home(config.workdir),
        data=dataclasses.replace(config.data, shards=home(config.data.shards)),
        prepare=dataclasses.replace(config.prepare, out=home(config.prepare.out)),
    )


def resolve(config: PretrainConfig) -> tuple[PretrainConfig, Manifest]:
    """Find or prepare the shards, and take from them what the config leaves open.

    Raises:
        UserError: there are no shards and no source of text; or the vocabulary has another size.
    """
    shards = config.data.shards or config.prepare.out
    if not shards:
        raise UserError(
            "--data.shards is missing; name a folder that `spanbert prepare` wrote, or one to "
            "write and text to prepare: --data.shards /data/shards --prepare.source "
            "'text:/data/*.txt'"
        )
    if config.prepare.source:
        with prepare_flags_behind_pretrain(), show_progress() as progress:
            prepare(dataclasses.replace(config.prepare, out=shards), progress=progress)
    manifest = read_manifest(shards)
    size = manifest.tokenizer.vocab_size
    require(
        config.model.vocab_size in (None, size), "--model.vocab-size", config.model.vocab_size,
        f"is not the {size} entries of the tokenizer that made --data.shards {shards}",
        f"use {size}, or leave it out",
    )  # fmt: skip
    data = dataclasses.replace(config.data, shards=shards)
    model = dataclasses.replace(config.model, vocab_size=size)
    return dataclasses.replace(config, data=data, model=model), manifest


def _check_resumable(config: PretrainConfig, manifest: Manifest) -> None:
    """Raise `UserError` where a checkpoint exists and another tokenizer, model or masking is asked.

    A run that has saved nothing, stopped or out of memory before that, begins anew as it pleases.
    """
    from spanbert_jax.training.checkpoint import newest_step

    if newest_step(config.workdir) is not None:
        # First the tokenizer: another one is often of another size, and is then what to mend.
        _check_tokenizer(config, manifest)
        run_folder.check_resumable(config.workdir, config)


def _check_tokenizer(config: PretrainConfig, manifest: Manifest) -> None:
    folder = _tokenizer_folder(config)
    old, new = load_tokenizer(folder).fingerprint, manifest.tokenizer.fingerprint
    if old != new:
        raise UserError(
            f"--data.shards {config.data.shards}: a run goes on with the tokenizer it began with "
            f"(fingerprint {old[:12]}), found shards made with another one ({new[:12]}); prepare "
            f"the text with --tokenizer {folder}, or start a new run in another --workdir"
        )


def train(config: PretrainConfig, *, tokenizer_file: epath.Path) -> int:
    """Go on from the newest checkpoint to the last step; return the exit code.

    Nothing is written before everything is checked.

    Raises:
        UserError: there are several processes, or config, devices and run do not fit together.
    """
    # Imported here: the checks before this answer while JAX and TensorFlow are still down.
    import jax

    from spanbert_jax.commands.beginning import Beginning, with_origin_of_run
    from spanbert_jax.commands.run_data import RunShards
    from spanbert_jax.training.checkpoint import newest_step
    from spanbert_jax.training.console import open_console
    from spanbert_jax.training.interrupts import StopRequest
    from spanbert_jax.training.mesh import check_one_host, make_mesh
    from spanbert_jax.training.pretraining import build

    check_one_host("spanbert pretrain", jax.process_count())
    check_devices(config, jax.device_count())
    tokenizer = load_tokenizer(tokenizer_file)
    _check_fill(config, tokenizer)
    taken = newest_step(config.workdir)
    _check_length(config, taken)
    config = with_origin_of_run(config, taken=taken)
    beginning = Beginning(config, taken=taken, tokenizer_fingerprint=tokenizer.fingerprint)
    shards = RunShards(config)
    changes = "" if taken is None else run_folder.describe_changes(config.workdir, config)
    if taken != config.training.num_steps:
        run_folder.claim(config.workdir, config, tokenizer_file=tokenizer_file)
    with (
        open_console(config.training.num_steps) as console,
        StopRequest(console.message) as stop,
    ):
        mesh = make_mesh(config.mesh)
        with jax.set_mesh(mesh):
            pretraining = build(config, mesh)
            console.message(_opening(config, pretraining, shards))
            if changes:
                console.message(changes)
            progress = _train(
                config, pretraining, shards, beginning, taken=taken, console=console, stop=stop
            )
            if progress.step < config.training.num_steps:
                console.message(_farewell(config, progress.step))
                return stop.exit_code
            console.message(_results(config, progress))
    return 0


def _train(
    config: PretrainConfig,
    pretraining: "Assembly",
    shards: "RunShards",
    beginning: "Beginning",
    *,
    taken: int | None,
    console: "Console",
    stop: "StopRequest",
) -> "Progress":
    """Run the loop from the run's beginning; everything is on disk when this returns."""
    from spanbert_jax.commands.run_data import RunData, announced
    from spanbert_jax.training.checkpoint import Checkpoints
    from spanbert_jax.training.loop import run_loop
    from spanbert_jax.training.meter import Meter
    from spanbert_jax.training.metrics import open_metrics
    from spanbert_jax.training.pretraining import workload
    from spanbert_jax.training.read_ahead import ReadAhead
    from spanbert_jax.training.watching import RunWatcher

    fingerprint = load_tokenizer(_tokenizer_folder(config)).fingerprint
    with Checkpoints(
        config.workdir, config, tokenizer_fingerprint=fingerprint,
        text_fingerprint=shards.fingerprint,
    ) as checkpoints:  # fmt: skip
        start, position = beginning.state(pretraining, checkpoints, say=console.message)
        if start.step == config.training.num_steps:
            console.message("the run has taken all of its steps")
            return start
        if taken == config.training.num_steps:
            # Its last checkpoint is damaged: the run goes on after all, and by this config.
            tokenizer = next(_tokenizer_folder(config).iterdir())
            run_folder.claim(config.workdir, config, tokenizer_file=tokenizer)
        data = RunData(
            config, shards, start_step=start.step, position=position,
            on_devices=pretraining.on_devices,
        )  # fmt: skip

        with (
            open_metrics(config.workdir, start_step=start.step, say=console.message) as writer,
            ReadAhead(data.batches()) as ahead,
        ):
            batches = announced(ahead, config, start_step=start.step, say=console.message)
            return run_loop(
                start,
                drive=_drive(config, pretraining, data, batches),
                training=config.training,
                checkpoint=config.checkpoint,
                checkpoints=checkpoints,
                meter=Meter(workload(config, epoch=data.epoch)),
                watcher=RunWatcher(console, writer),
                stop=stop,
            )


def _drive(
    config: PretrainConfig,
    pretraining: "Assembly",
    data: "RunData",
    batches: Iterator["PretrainBatch"],
) -> "Drive":
    """The steps and the evaluation, as the loop calls them."""
    from spanbert_jax.training.evaluation import evaluate
    from spanbert_jax.training.loop import Drive

    weights = {"mlm": 1.0, "sbo": config.objective.span_boundary_weight, "nsp": 1.0}

    def held_out(step: int, state: "TrainState") -> dict[str, float]:
        with data.held_out(step) as rows:
            return evaluate(
                state.params, rows, eval_step=pretraining.eval_step, objective_weights=weights
            )

    return Drive(
        train_step=pretraining.train_step,
        batches=batches,
        evaluate=held_out,
        position=data.position,
    )


def _tokenizer_folder(config: PretrainConfig) -> epath.Path:
    return epath.Path(config.workdir) / run_folder.TOKENIZER_FOLDER


def _check_fill(config: PretrainConfig, tokenizer: Tokenizer) -> None:
    """Raise `UserError` now for a text that could not be filled in at the end."""
    from spanbert_jax.tasks.fill import masked_row

    for text in config.fill:
        masked_row(text, tokenizer=tokenizer, max_length=config.data.sequence_length)


def _check_length(config: PretrainConfig, step: int | None) -> None:
    require(
        step is None or step <= config.training.num_steps,
        "--training.num-steps", config.training.num_steps,
        f"is less than the {step} steps that the run in {config.workdir} has taken",
        "use more steps, or another --workdir",
    )  # fmt: skip


def _opening(config: PretrainConfig, pretraining: "Assembly", shards: "RunShards") -> str:
    import jax

    device, mesh = jax.devices()[0], pretraining.mesh
    axes = " x ".join(f"{size} {name}" for name, size in mesh.shape.items() if size > 1)
    return (
        f"model: {pretraining.num_parameters:,} parameters, {config.model.num_layers} layers of "
        f"width {config.model.hidden_size}, vocabulary {config.model.vocab_size:,}\n"
        f"data: {shards.summary}\n{_phases(config)}"
        f"devices: {mesh.size} x {device.device_kind}{f' as {axes}' if axes else ''}\n"
        f"run: {config.workdir}"
    )


def _phases(config: PretrainConfig) -> str:
    """-> "phases: 256 rows of 128 tokens to step 900,000; 256 rows of 512 tokens to step ..."""
    phases = (
        f"{phase.batch_size} rows of {phase.sequence_length} tokens to step {phase.end_step:,}"
        for phase in config.phases
    )
    return f"phases: {'; '.join(phases)}\n" if config.data.phases else ""


def _farewell(config: PretrainConfig, step: int) -> str:
    if step == 0:
        return "stopped before the first step; the same command starts again"
    return (
        f"saved at step {step:,} of {config.training.num_steps:,} in {config.workdir}; the same "
        "command goes on from there, bit for bit"
    )


def _results(config: PretrainConfig, progress: "Progress") -> str:
    """Write the report, fill in the config's sentences, and say where everything lies."""
    from spanbert_jax.tasks.fill_report import fill_report
    from spanbert_jax.training.report import write_report

    filled = ""
    if config.fill:
        tokenizer = load_tokenizer(_tokenizer_folder(config))
        filled = fill_report(
            config.fill, config=config, params=progress.state.params, tokenizer=tokenizer
        )
    report = write_report(config.workdir, filled=filled)
    return (f"{filled}\n" if filled else "") + (
        f"done: {config.workdir} holds the checkpoints, metrics.jsonl and TensorBoard files\n"
        f"curves: {report}\n"
        f'next: spanbert predict fill --checkpoint {config.workdir} "... [MASK] ..."'
    )
