"""Model FLOPs of a train step: what the mathematics asks for, whatever is recomputed.

In: sizes. Out: floating point operations, a multiply-add counted as two.
"""

from spanbert_jax.config import ModelConfig


def forward_flops(
    config: ModelConfig, *, batch_size: int, sequence_length: int, num_predictions: int
) -> int:
    """Operations of the forward pass: 2 a weight and token in matrix products.

    Attention in full; vocabulary and heads on the predicted positions only; embeddings, softmax,
    LayerNorm and the like are not counted.
    """
    assert config.vocab_size is not None
    embed, mlp = config.hidden_size, config.mlp_size
    layer_weights = 4 * embed * embed + 2 * embed * mlp
    attention = 2 * sequence_length * embed
    tokens = batch_size * sequence_length
    slots = batch_size * num_predictions
    head_weights = embed * embed + embed * config.vocab_size
    if config.span_boundary_head:
        boundary_input = 2 * embed + config.boundary_offset_size
        head_weights += boundary_input * embed + embed * embed + embed * config.vocab_size
    encoder = tokens * config.num_layers * (layer_weights + attention)
    return 2 * (encoder + slots * head_weights)


def train_step_flops(
    config: ModelConfig, *, batch_size: int, sequence_length: int, num_predictions: int
) -> int:
    """Forward and backward: three times the forward pass (6 a weight and token)."""
    return 3 * forward_flops(
        config,
        batch_size=batch_size,
        sequence_length=sequence_length,
        num_predictions=num_predictions,
    )
