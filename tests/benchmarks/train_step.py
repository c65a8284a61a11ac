"""Tokens per second of a train step beside Hugging Face's `BertForMaskedLM` in PyTorch, in one run.

    pip install -e '.[bench]'
    python tests/benchmarks/train_step.py --size small   # 4 x 256, V 8,000, B 32, T 128
    python tests/benchmarks/train_step.py --size base    # 12 x 768, V 28,996, B 8, T 128
    python tests/benchmarks/train_step.py --size base_long    # the same, B 2, T 512
    python tests/benchmarks/train_step.py --bfloat16    # and both with products in bfloat16

Both train in float32 with AdamW and dropout 0.1 on the same random tokens; ours also trains the
span-boundary objective. Each has a process of its own, as its users run it, and they take turns
(A B A B), so that a change of the machine's speed meets both. `spanbert pretrain` has the C library
keep the memory of a step for the next; PyTorch runs as it comes, and once more with that same
setting (`transformers_keeping_memory`). One JSON line per library: median tokens per second, wall
and CPU time of every step. Then the median ratios of neighbouring pairs, by wall and by CPU time,
and the share that ours reaches of the matrix product peak measured between the same steps.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from functools import partial
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from side_by_side import Timing, median_ratio, take_turns

from spanbert_jax.config import ComputeConfig, ModelConfig, ObjectiveConfig, OptimizerConfig
from spanbert_jax.data.batch import NO_PAIR, PretrainBatch
from spanbert_jax.model.flops import train_step_flops
from spanbert_jax.model.pretraining import SpanBert
from spanbert_jax.training.host_memory import keep_freed_memory
from spanbert_jax.training.objective import PretrainObjective
from spanbert_jax.training.optimizer import make_optimizer
from spanbert_jax.training.schedule import make_schedule
from spanbert_jax.training.train_step import init_state, make_train_step

BFLOAT16 = "_bfloat16"
SIZES = {
    "small": (ModelConfig(vocab_size=8_000, hidden_size=256, num_layers=4, num_heads=4,
                          mlp_size=1_024, max_positions=128), 32, 128),
    "base": (ModelConfig(vocab_size=28_996), 8, 128),
    "base_long": (ModelConfig(vocab_size=28_996), 2, 512),
}  # fmt: skip


def random_batch(model: ModelConfig, *, batch_size: int, length: int) -> PretrainBatch:
    """Random tokens with 15% of the positions as targets of both objectives."""
    rng = np.random.default_rng(0)
    assert model.vocab_size is not None
    num_predictions = int(np.ceil(0.15 * (length - 2)))
    rows, slots = (batch_size, length), (batch_size, num_predictions)
    positions = np.stack(
        [np.sort(rng.choice(np.arange(2, length - 2), slots[1], replace=False))
         for _ in range(batch_size)]
    )  # fmt: skip
    fields = PretrainBatch(
        token_ids=rng.integers(5, model.vocab_size, rows),
        segment_ids=np.zeros(rows),
        document_ids=np.ones(rows),
        position_ids=np.broadcast_to(np.arange(length), rows),
        masked_positions=positions,
        masked_ids=rng.integers(5, model.vocab_size, slots),
        masked_weights=np.ones(slots),
        boundary_left=positions - 1,
        boundary_right=positions + 1,
        boundary_offset=np.zeros(slots),
        boundary_weights=np.ones(slots),
        next_sentence_label=np.full(batch_size, NO_PAIR),
    )
    return PretrainBatch(*(field.astype(np.int32) for field in fields))


def our_step(
    model: ModelConfig, batch: PretrainBatch, compute: ComputeConfig
) -> Callable[[], None]:
    """A closure that takes one step and waits for it."""
    objective = PretrainObjective(SpanBert(model, compute), ObjectiveConfig())
    schedule = make_schedule(OptimizerConfig(), num_steps=100_000)
    optimizer = make_optimizer(OptimizerConfig(), schedule)
    train_step = make_train_step(
        objective, optimizer, schedule=schedule, num_microbatches=1, seed=0
    )
    step = jax.jit(train_step, donate_argnums=0)
    init = partial(init_state, objective, optimizer, seed=0)
    state = nn.unbox(jax.jit(lambda batch: init(batch=batch))(batch))
    device_batch = jax.tree.map(jnp.asarray, batch)

    def run() -> None:
        nonlocal state
        state, metrics = step(state, device_batch)
        jax.block_until_ready(metrics)

    return run


def torch_step(model: ModelConfig, batch: PretrainBatch, *, bfloat16: bool) -> Callable[[], None]:
    """The same step by PyTorch and transformers, masked language model alone."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    bert = BertForMaskedLM(
        BertConfig(
            vocab_size=model.vocab_size,
            hidden_size=model.hidden_size,
            num_hidden_layers=model.num_layers,
            num_attention_heads=model.num_heads,
            intermediate_size=model.mlp_size,
            max_position_embeddings=model.max_positions,
        )
    ).train()
    optimizer = torch.optim.AdamW(bert.parameters(), lr=1e-4, weight_decay=0.01)
    labels = np.full(batch.token_ids.shape, -100)
    np.put_along_axis(labels, batch.masked_positions, batch.masked_ids, axis=1)
    inputs = {
        "input_ids": torch.from_numpy(batch.token_ids.astype(np.int64)),
        "attention_mask": torch.from_numpy(batch.document_ids.astype(np.int64)),
        "labels": torch.from_numpy(labels.astype(np.int64)),
    }

    def run() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = bert(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(bert.parameters(), 1.0)
        optimizer.step()

    return run


def matmul_probe() -> Callable[[], object]:
    """A 2,048-wide float32 matrix product, to find the machine's peak while the steps run."""
    matrix = jnp.ones((2_048, 2_048), jnp.float32)
    product = jax.jit(lambda a: a @ a)
    return lambda: product(matrix).block_until_ready()


def prepare(name: str, args: argparse.Namespace) -> Callable[[], object]:
    """What one library does in a turn."""
    if name != "transformers":
        keep_freed_memory()
    if name == "matmul":
        return matmul_probe()
    model, batch_size, length = SIZES[args.size]
    batch = random_batch(model, batch_size=batch_size, length=length)
    in_bfloat16 = name.endswith(BFLOAT16)
    if name.startswith("spanbert_jax"):
        dtype: Literal["bfloat16", "float32"] = "bfloat16" if in_bfloat16 else "float32"
        return our_step(model, batch, ComputeConfig(dtype=dtype, scan_layers=args.scan_layers))
    return torch_step(model, batch, bfloat16=in_bfloat16)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--rounds", type=int, default=10, help="timed steps of each library")
    parser.add_argument("--scan-layers", action="store_true")
    parser.add_argument("--bfloat16", action="store_true", help="keeping memory, and in bfloat16")
    parser.add_argument("--alone", action="store_true", help="ours only, without PyTorch")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    others = [] if args.alone else ["transformers", "transformers_keeping_memory"]
    if args.bfloat16:
        others = [f"spanbert_jax{BFLOAT16}", *others[1:]]
        others += [] if args.alone else [f"transformers{BFLOAT16}"]
    names = ("spanbert_jax", *others, "matmul")
    times = take_turns(names, prepare, args, rounds=args.rounds)
    model, batch_size, length = SIZES[args.size]
    for name in ("spanbert_jax", *others):
        wall = sorted(t.wall for t in times[name])
        print(json.dumps({
            "benchmark": "train_step", "size": args.size, "library": name,
            "tokens_per_second": round(batch_size * length / statistics.median(wall)),
            "wall_ms": [round(1e3 * t) for t in wall],
            "cpu_ms": [round(1e3 * t.cpu) for t in sorted(times[name], key=lambda t: t.cpu)],
        }))  # fmt: skip
    batch = random_batch(model, batch_size=batch_size, length=length)
    print(json.dumps(summary(args.size, times, model, batch, others=others)))


def summary(
    size: str,
    times: dict[str, list[Timing]],
    model: ModelConfig,
    batch: PretrainBatch,
    *,
    others: list[str],
) -> dict[str, object]:
    """Ratios to the other library, and the share of the matrix product peak."""
    ours = times["spanbert_jax"]
    batch_size, length = batch.token_ids.shape
    flops = train_step_flops(
        model, batch_size=batch_size, sequence_length=length,
        num_predictions=batch.masked_ids.shape[1],
    )  # fmt: skip
    peak = 2 * 2_048**3 / min(t.wall for t in times["matmul"])
    share = flops / min(t.wall for t in ours) / peak
    return {
        "benchmark": "train_step", "size": size, "best_share_of_matmul_peak": round(share, 3),
    } | {
        f"{clock}_ratio_to_{name}": median_ratio(ours, times[name], clock)
        for name in others
        for clock in ("wall", "cpu")
    }  # fmt: skip


if __name__ == "__main__":
    main()
