"""A plan in words and as JSON. In: plans. Out: text for people, trees for programs."""

from collections.abc import Sequence
from typing import Any

from spanbert_jax.config import PretrainConfig
from spanbert_jax.model.flops import layer_weights, pairs_per_token
from spanbert_jax.planning.figures import OutOfMemory, to_tree
from spanbert_jax.planning.measuring import Measurement
from spanbert_jax.planning.plan import Plan

CALIBRATION = (
    "An ESTIMATE from compiled code; nothing ran on a TPU. Kernels take the cycles of their "
    "machine code, or their bytes at 81% of the bandwidth of HBM, which is assumed. Not in it: "
    "input, dispatch of steps, stalls of memory. Take times as optimistic, and compare plans "
    "with plans."
)
_MEMORY = {
    "parameters": "parameters",
    "optimizer": "optimizer",
    "batch_and_padding": "batch, padding of layouts",
    "activations": "activations kept for the backward pass",
    "gradients_and_temporaries": "gradients and temporaries",
    "program": "program",
}
_PARTS = {
    "attention": "attention",
    "mlp": "MLP",
    "norms_and_residuals": "LayerNorm and residuals",
    "embeddings": "embeddings",
    "heads": "heads and losses",
    "dropout": "dropout",
    "optimizer": "optimizer",
    "other": "other",
}


def described(plan: Plan, *, versions: str) -> str:
    """The whole plan, as the command prints it."""
    blocks = [_heading(plan), f"{CALIBRATION} {versions}", _memory(plan)]
    if isinstance(plan.answer, OutOfMemory) or not plan.fits:
        blocks.append(_largest(plan))
    if not isinstance(plan.answer, OutOfMemory):
        blocks += [_time(plan), _communication(plan), _speed(plan), _cost(plan)]
    return "\n\n".join(block for block in blocks if block)


def _heading(plan: Plan) -> str:
    config, chips = plan.config, plan.topology.num_chips
    axes = " x ".join(f"{size} {name}" for name, size in plan.mesh.items() if size > 1)
    parts = config.training.num_microbatches
    layers = (
        "all layers compiled"
        if len(plan.depths) == 1
        else f"reckoned from {' and '.join(map(str, plan.depths))} layers"
    )
    return (
        f"{_sizes(config)} on {plan.topology} ({plan.topology.short_name}): {chips} "
        f"{'chip' if chips == 1 else 'chips'}{f' as {axes}' if axes else ''}\n"
        f"a step: {config.data.batch_size:,} rows of {config.data.sequence_length} tokens"
        f"{f' in {parts} microbatches' if parts > 1 else ''}, {plan.rows_per_chip:g} a chip at a "
        f"time; remat {config.compute.remat}, "
        f"{'scanned' if config.compute.scan_layers else 'unrolled'}; {layers}"
    )


def _sizes(config: PretrainConfig) -> str:
    model = config.model
    return (
        f"{model.num_layers} layers of width {model.hidden_size}, {model.num_heads} heads, "
        f"vocabulary {model.vocab_size:,}"
    )


def _memory(plan: Plan) -> str:
    available = plan.chip.hbm_bytes
    verdict = (
        "fits" if plan.fits else f"does not fit: {_gib(plan.needed_bytes - available)} too much"
    )
    together = f"{_gib(plan.needed_bytes)} of {_gib(available)} that a program can have: {verdict}"
    if isinstance(plan.answer, OutOfMemory):
        return f"HBM of a chip: {together}"
    rows = [(_MEMORY[name], _gib(size)) for name, size in plan.answer.memory.items()]
    return _table("HBM of a chip", [*rows, ("together", together)])


def _largest(plan: Plan) -> str:
    rows = [
        (_gib(size), f"{shape.partition('{')[0]}  {op_name}")
        for size, shape, op_name in plan.answer.largest
    ]
    return _table("the largest arrays when the most is held", rows)


def _time(plan: Plan) -> str:
    figures = plan.figures
    rows = [(_PARTS[name], seconds) for name, seconds in figures.parts.items()]
    rows += [
        ("waiting for HBM", figures.copy_wait),
        ("waiting for other chips", figures.collective_wait),
    ]
    lines = [
        (name, f"{1e3 * seconds:9.2f} ms {seconds / figures.seconds:6.1%}")
        for name, seconds in rows
        if seconds > 0
    ]
    together = (
        f"{1e3 * figures.seconds:9.2f} ms; matrix units work {1e3 * figures.matrix_seconds:.2f} ms"
    )
    return _table("time of a step", [*lines, ("together", together)])


def _communication(plan: Plan) -> str:
    figures = plan.figures
    if not figures.collectives:
        return ""
    rows = [
        (kind, f"{each.count:5.0f} times, {each.num_bytes / 1e6:9.2f} MB sent, "
               f"{1e3 * each.seconds:7.2f} ms on the links")
        for kind, each in figures.collectives.items()
    ]  # fmt: skip
    share = figures.collective_wait / figures.seconds
    return _table("communication of a step", [*rows, ("of the time", f"{share:.1%} waited for")])


def _speed(plan: Plan) -> str:
    peak = plan.chip.flops_per_second / 1e12
    return _table(
        "speed",
        [
            ("model FLOPs", f"{plan.model_flops / 1e12:,.2f} T a step: {formula(plan.config)}"),
            ("MFU", f"{plan.mfu:.1%} of {peak:,.0f} TFLOP/s a chip"),
            ("sequences/s", f"{plan.rows_per_second:,.0f}"),
            ("tokens/s", f"{plan.tokens_per_second:,.0f}"),
        ],
    )


def formula(config: PretrainConfig) -> str:
    """How the model FLOPs are counted, in the sizes of this experiment."""
    model, data = config.model, config.data
    tokens = data.batch_size * data.sequence_length
    slots = data.batch_size * config.num_predictions
    return (
        f"6 x {model.num_layers * layer_weights(model):,} weights of matrix products x {tokens:,} "
        f"tokens, attention in full (12 x {pairs_per_token(model, data.sequence_length):,} tokens "
        f"seen in all layers x {model.hidden_size} x tokens), heads and vocabulary on {slots:,} "
        "predicted positions; "
        "nothing for recomputation"
    )


def _cost(plan: Plan) -> str:
    rows = [
        ("steps", f"{plan.config.training.num_steps:,}"),
        ("time", f"{plan.hours:,.1f} hours, {plan.hours / 24:,.2f} days"),
        ("chip-hours", f"{plan.chip_hours:,.0f}"),
    ]
    if plan.price_per_chip_hour:
        rows.append(("cost", f"{plan.cost:,.0f} at {plan.price_per_chip_hour:g} a chip-hour"))
    return _table("the run, without saves and restarts", rows)


def beside(plan: Plan, measured: Measurement) -> str:
    """Estimate and measurement of a step, with the share that the estimate is of it."""
    speed = plan.figures.seconds / measured.seconds
    rows = [
        ("time", f"{1e3 * plan.figures.seconds:9.2f} ms", f"{1e3 * measured.seconds:9.2f} ms "
         f"({1e3 * measured.fastest:.2f} to {1e3 * measured.slowest:.2f})", f"{speed:.0%}"),
        ("MFU", f"{plan.mfu:12.1%}", f"{plan.mfu * speed:12.1%}", ""),
    ]  # fmt: skip
    if measured.peak_bytes is not None:
        share = plan.needed_bytes / measured.peak_bytes
        rows.append(("HBM", f"{_gib(plan.needed_bytes):>12}", f"{_gib(measured.peak_bytes):>12}",
                     f"{share:.0%}"))  # fmt: skip
    lines = [f"{name:4}  {estimate}  {found:38}{share}" for name, estimate, found, share in rows]
    title = "a step, estimated and measured here; what the estimate is of it"
    return "\n".join([title, *(f"  {line.rstrip()}" for line in lines)])


def compared(plans: Sequence[Plan]) -> str:
    """A table of plans, a line each, in their order."""
    lines = [
        "   rows a chip  microbatches  remat  mesh                  HBM        step       MFU  "
        "sequences/s"
    ]
    for number, plan in enumerate(plans, 1):
        mesh = " x ".join(f"{size} {name}" for name, size in plan.mesh.items() if size > 1)
        where = (
            f"{number:2} {plan.rows_per_chip:11g}  {plan.config.training.num_microbatches:12}  "
            f"{plan.config.compute.remat:5}  {mesh or '1 chip':18}  {_gib(plan.needed_bytes):>9}"
        )
        speed = (
            f"{1e3 * plan.figures.seconds:9.1f} ms  {plan.mfu:6.1%}  {plan.rows_per_second:11,.0f}"
            if plan.fits
            else "  does not fit"
        )
        lines.append(f"{where}  {speed}")
    return "\n".join(lines)


def as_tree(plan: Plan) -> dict[str, Any]:
    """Every figure of a plan, for JSON."""
    tree: dict[str, Any] = {
        "topology": str(plan.topology),
        "num_chips": plan.topology.num_chips,
        "mesh": plan.mesh,
        "rows_per_chip": plan.rows_per_chip,
        "num_microbatches": plan.config.training.num_microbatches,
        "remat": plan.config.compute.remat,
        "compiled_layers": list(plan.depths),
        "fits": plan.fits,
        "needed_bytes": plan.needed_bytes,
        "available_bytes": plan.chip.hbm_bytes,
        "model_flops": plan.model_flops,
        "model_flops_formula": formula(plan.config),
        "compiler": to_tree(plan.answer),
    }
    if not isinstance(plan.answer, OutOfMemory):
        tree |= {
            "step_seconds": plan.figures.seconds,
            "mfu": plan.mfu,
            "rows_per_second": plan.rows_per_second,
            "tokens_per_second": plan.tokens_per_second,
            "hours": plan.hours,
            "chip_hours": plan.chip_hours,
            "cost": plan.cost or None,
        }
    return tree


def _table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join([title, *(f"  {name:{width}}  {value}" for name, value in rows)])


def _gib(num_bytes: float) -> str:
    """_gib(16_911_433_728) -> "15.75 GiB"."""
    return f"{num_bytes / 2**30:.2f} GiB"
