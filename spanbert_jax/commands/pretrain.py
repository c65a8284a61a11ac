"""`spanbert pretrain`: one experiment from its config to a trained model, a report, filled spans.

Everything that can be checked without a device is checked before JAX starts.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from etils import epath

from spanbert_jax.config import DistributedConfig, PretrainConfig, check_devices
from spanbert_jax.config.prepare_flags import prepare_flags_behind_pretrain
from spanbert_jax.corpus.prepare import prepare
from spanbert_jax.corpus.progress import show_progress
from spanbert_jax.corpus.shards import MANIFEST_FILE, Manifest, read_manifest, verify_shards
from spanbert_jax.corpus.tagged import require_tags
from spanbert_jax.corpus.tokenizers import Tokenizer, load_tokenizer
from spanbert_jax.errors import UserError, require
from spanbert_jax.training import run_folder
from spanbert_jax.training.activity import COMPILING, FINISHING, RESTORING, Activity
from spanbert_jax.training.host_memory import keep_freed_memory
from spanbert_jax.training.surroundings import is_one_of_several
from spanbert_jax.training.weights_and_biases import check_installed

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
    activity, config = Activity(), _at_home(config)
    if not is_one_of_several(config.distributed):
        return train(*_checked(config), activity=activity)

    from spanbert_jax.training.processes import are_several, joined, together

    with joined(config.distributed, activity):
        # Where this process stands among them is none of the run's settings.
        config = dataclasses.replace(config, distributed=DistributedConfig())
        if are_several():
            config = together(partial(_prepared_before, config))
        return train(*together(partial(_checked, config)), activity=activity)


def _checked(config: PretrainConfig) -> tuple[PretrainConfig, Manifest]:
    """The config with what its shards leave open, after all checks that need no device."""
    run_folder.check_writable(config.workdir)
    run_folder.check_not_imported(config.workdir)
    if config.init_from:
        run_folder.check_weights_exist(config.init_from)
    check_installed(config.metrics.wandb)
    config, manifest = resolve(config)
    _check_resumable(config, manifest)
    require_tags(config.data.shards, manifest, masking=config.masking, flag="--masking.scheme")
    verify_shards(config.data.shards, manifest, shards=config.data.verify_shards)
    return config, manifest


def _prepared_before(config: PretrainConfig) -> PretrainConfig:
    """The same run on shards that are there: of several processes none prepares them.

    Raises:
        UserError: they are not.
    """
    shards = config.data.shards or config.prepare.out
    if config.prepare.source:
        require(
            (epath.Path(shards) / MANIFEST_FILE).exists(), "--data.shards", shards,
            "must be shards that are there before several processes train on them, found none",
            "run `spanbert prepare` once, on one host, and start them again",
        )  # fmt: skip
    data = dataclasses.replace(config.data, shards=shards)
    return dataclasses.replace(
        config, data=data, prepare=dataclasses.replace(config.prepare, source=())
    )


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


def train(config: PretrainConfig, manifest: Manifest, *, activity: Activity) -> int:
    """Go on from the newest checkpoint to the last step; return the exit code.

    Nothing is written before everything is checked, in every process.

    Raises:
        UserError: config, devices and run do not fit together, or processes differ.
    """
    # Imported here: the checks before this answer while JAX and TensorFlow are still down.
    import jax

    from spanbert_jax.commands.beginning import Beginning, with_origin_of_run
    from spanbert_jax.commands.run_data import RunShards
    from spanbert_jax.training.checkpoint import newest_step
    from spanbert_jax.training.compilation_cache import keep_compiled
    from spanbert_jax.training.interrupts import StopRequest
    from spanbert_jax.training.mesh import make_mesh
    from spanbert_jax.training.pretraining import build
    from spanbert_jax.training.processes import (
        check_same_run,
        claim_together,
        holding_together,
        own_console,
        together,
    )

    check_devices(config, jax.device_count())
    tokenizer_file = epath.Path(config.data.shards) / manifest.tokenizer.file
    tokenizer = load_tokenizer(tokenizer_file)
    _check_fill(config, tokenizer)
    taken = newest_step(config.workdir)
    _check_length(config, taken)
    config = with_origin_of_run(config, taken=taken)

    def opened() -> tuple[Beginning, RunShards]:
        fingerprint = tokenizer.fingerprint
        beginning = Beginning(config, taken=taken, tokenizer_fingerprint=fingerprint)
        return beginning, RunShards(config)

    beginning, shards = together(opened)
    facts = {"tokenizer": tokenizer.fingerprint, "text": shards.fingerprint}
    check_same_run(config, facts, weights=beginning.weights)
    changes = "" if taken is None else run_folder.describe_changes(config.workdir, config)
    with (
        holding_together(config.workdir, newest=taken),
        own_console(config.training.num_steps) as console,
        StopRequest(console.say_here) as stop,
    ):
        if taken != config.training.num_steps:
            claim_together(config, tokenizer_file=tokenizer_file)
        keep_compiled(config.compute.compilation_cache, say=console.message)
        mesh = make_mesh(config.mesh)
        with jax.set_mesh(mesh):
            pretraining = build(config, mesh)
            console.message(_opening(config, pretraining, shards))
            if changes:
                console.message(changes)
            progress = _train(
                config, pretraining, shards, beginning, taken=taken, console=console, stop=stop,
                activity=activity,
            )  # fmt: skip
            if progress.step < config.training.num_steps:
                console.message(_farewell(config, progress.step))
                return stop.exit_code
            activity.switch(FINISHING)
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
    activity: Activity,
) -> "Progress":
    """Run the loop from the run's beginning; everything is on disk when this returns."""
    from spanbert_jax.commands.run_data import RunData, announced
    from spanbert_jax.training.checkpoint import Checkpoints
    from spanbert_jax.training.loop import run_loop
    from spanbert_jax.training.meter import Meter
    from spanbert_jax.training.pretraining import workload
    from spanbert_jax.training.processes import any_of_all, claim_together
    from spanbert_jax.training.profiling import Profiler
    from spanbert_jax.training.read_ahead import ReadAhead
    from spanbert_jax.training.votes import accord, batches_in_reserve, stopping
    from spanbert_jax.training.watching import watching

    fingerprint = load_tokenizer(_tokenizer_folder(config)).fingerprint
    with Checkpoints(
        config.workdir, config, tokenizer_fingerprint=fingerprint,
        text_fingerprint=shards.fingerprint,
    ) as checkpoints:  # fmt: skip
        with activity.at(RESTORING):
            start, position = beginning.state(
                pretraining, checkpoints, say=console.message, agree=any_of_all
            )
        if start.step == config.training.num_steps:
            console.message("the run has taken all of its steps")
            return start
        if taken == config.training.num_steps:
            # Its last checkpoint is damaged: the run goes on after all, and by this config.
            tokenizer = next(_tokenizer_folder(config).iterdir())
            claim_together(config, tokenizer_file=tokenizer)
        data = RunData(
            config, shards, start_step=start.step, position=position,
            placement=pretraining.placement,
        )  # fmt: skip

        with (
            watching(
                config, start_step=start.step, console=console, activity=activity
            ) as watcher,
            ReadAhead(data.batches(), in_reserve=batches_in_reserve()) as ahead,
            Profiler(
                pretraining.train_step, run_dir=config.workdir, steps=config.profile.range,
                start_step=start.step, console=console,
            ) as train_step,
        ):  # fmt: skip
            batches = announced(ahead, config, start_step=start.step, say=console.message)
            drive = _drive(
                config, pretraining, data, batches, train_step=train_step,
                trouble=lambda: ahead.failure,
            )  # fmt: skip
            activity.switch(COMPILING)
            return run_loop(
                start,
                drive=drive,
                training=config.training,
                checkpoint=config.checkpoint,
                checkpoints=checkpoints,
                meter=Meter(workload(config, epoch=data.epoch), activity),
                watcher=watcher,
                should_stop=stopping(pretraining.mesh, stop, trouble=drive.trouble),
                accord=accord(pretraining.mesh),
            )


def _drive(
    config: PretrainConfig,
    pretraining: "Assembly",
    data: "RunData",
    batches: Iterator["PretrainBatch"],
    *,
    train_step: Callable[[Any, Any], Any],
    trouble: Callable[[], BaseException | None],
) -> "Drive":
    """The steps and the evaluation, as the loop calls them."""
    from spanbert_jax.training.evaluation import evaluate
    from spanbert_jax.training.loop import Drive
    from spanbert_jax.training.processes import are_several

    weights = {"mlm": 1.0, "sbo": config.objective.span_boundary_weight, "nsp": 1.0}

    def held_out(step: int, state: "TrainState") -> dict[str, float]:
        with data.held_out(step) as rows:
            return evaluate(
                state.params, rows, eval_step=pretraining.eval_step, objective_weights=weights
            )

    return Drive(
        train_step=train_step,
        batches=batches,
        evaluate=held_out,
        position=data.position,
        diagnose=pretraining.diagnose,
        is_alone=not are_several(),
        trouble=trouble,
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

    from spanbert_jax.training.sharding_report import described, shares

    device, mesh = jax.devices()[0], pretraining.mesh
    axes = " x ".join(f"{size} {name}" for name, size in mesh.shape.items() if size > 1)
    hosts = jax.process_count()
    return (
        f"model: {pretraining.num_parameters:,} parameters, {config.model.num_layers} layers of "
        f"width {config.model.hidden_size}, vocabulary {config.model.vocab_size:,}\n"
        f"data: {shards.summary}\n{_phases(config)}"
        f"devices: {mesh.size} x {device.device_kind}{f' as {axes}' if axes else ''}"
        f"{f' in {hosts} processes' if hosts > 1 else ''}\n"
        f"state: {described(shares(pretraining.abstract_state))}\n"
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
    from spanbert_jax.training.processes import is_first, whole
    from spanbert_jax.training.report import write_report

    filled, params = "", whole(progress.state.params) if config.fill else None
    if not is_first():
        return ""
    if config.fill:
        tokenizer = load_tokenizer(_tokenizer_folder(config))
        filled = fill_report(config.fill, config=config, params=params, tokenizer=tokenizer)
    report = write_report(config.workdir, filled=filled)
    return (f"{filled}\n" if filled else "") + (
        f"done: {config.workdir} holds the checkpoints, metrics.jsonl and TensorBoard files\n"
        f"curves: {report}\n"
        f'next: spanbert predict fill --checkpoint {config.workdir} "... [MASK] ..."'
    )
