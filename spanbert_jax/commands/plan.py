"""`spanbert plan`: what a run on a slice of TPU chips would need, how long it would take.

Nothing of it needs a TPU: its compiler runs here, each time in a process of its own.
"""

import dataclasses
import json
import sys
from functools import partial
from typing import Any

from spanbert_jax.config import PretrainConfig, check_devices
from spanbert_jax.config.plan import PUBLISHED_VOCABULARY, PlanConfig
from spanbert_jax.corpus.files import as_path
from spanbert_jax.corpus.shards import read_manifest
from spanbert_jax.planning.jobs import check_libtpu, compiled, version_of
from spanbert_jax.planning.measuring import check_at_hand, measure
from spanbert_jax.planning.plan import Compile, Plan, plan_step
from spanbert_jax.planning.report import as_tree, beside, compared, described
from spanbert_jax.planning.search import largest_batch, next_that_fits, search
from spanbert_jax.training.run_folder import write_whole

DOES_NOT_FIT = 3
"""Exit code of a plan whose step does not fit in the memory of its chips."""


def run(config: PlanConfig) -> int:
    """Plan, print, write; return the exit code: 3 where the step does not fit."""
    experiment, topology = _resolved(config), config.slice
    check_devices(experiment, topology.num_chips)
    libtpu = check_libtpu()
    if config.measure:
        check_at_hand(topology)
    compile_ = partial(compiled, cache=config.plan_cache, say=_say)
    plan = plan_step(
        experiment, topology, compile_=compile_, whole=config.depth == "whole",
        price_per_chip_hour=config.price_per_chip_hour,
    )  # fmt: skip
    versions = f"libtpu {libtpu}, jax {version_of('jax')}."
    print(described(plan, versions=versions))
    plans, measured = [plan], None
    if config.measure and plan.fits:
        measured = measure(experiment)
        print(f"\n{beside(plan, measured)}")
    if config.search:
        plans += _searched(plan, compile_)
    elif not plan.fits:
        plans += _advised(plan, compile_)
    if config.json:
        tree: dict[str, Any] = {"versions": versions, "plans": [as_tree(each) for each in plans]}
        if measured is not None:
            tree["measured"] = measured._asdict()
        write_whole(as_path(config.json), (json.dumps(tree, indent=2) + "\n").encode())
    return 0 if plan.fits else DOES_NOT_FIT


def _resolved(config: PlanConfig) -> PretrainConfig:
    """The experiment with the size of its vocabulary: of its shards, or as published."""
    experiment = config.experiment
    size = experiment.model.vocab_size
    if experiment.data.shards:
        size = read_manifest(experiment.data.shards).tokenizer.vocab_size
    elif size is None:
        size = PUBLISHED_VOCABULARY
        _say(
            f"vocabulary: {size:,} entries, as published; name --data.shards, or "
            "--model.vocab-size, for your own"
        )
    model = dataclasses.replace(experiment.model, vocab_size=size)
    return dataclasses.replace(experiment, model=model)


def _advised(plan: Plan, compile_: Compile) -> list[Plan]:
    """Say the next setting that fits."""
    smaller = next_that_fits(plan, compile_=compile_)
    if smaller is None:
        print("\nno number of microbatches fits; use more chips, or --mesh.data 1 --mesh.fsdp -1")
        return []
    print(
        f"\nfits: --training.num-microbatches {smaller.config.training.num_microbatches}, the same "
        f"gradient, {smaller.rows_per_chip:g} rows a chip at a time\n\n{compared([smaller])}"
    )
    return [smaller]


def _searched(plan: Plan, compile_: Compile) -> list[Plan]:
    """Say how the batch is computed best, and how many rows fit on a chip."""
    plans = search(plan, compile_=compile_)
    print(f"\nways to compute {plan.config.data.batch_size:,} rows, best first\n{compared(plans)}")
    best, tried = largest_batch(plan, compile_=compile_)
    print(f"\nrows that fit in one microbatch\n{compared(tried)}")
    if best is not None:
        print(
            f"largest batch per chip: {best.rows_per_chip:g} rows, "
            f"--data.batch-size {best.config.data.batch_size}"
        )
    return [*plans, *tried]


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
