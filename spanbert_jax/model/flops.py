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
    embed = config.hidden_size
    tokens = batch_size * sequence_length
    slots = batch_size * num_predictions
    head_weights = embed * embed + embed * config.vocab_size
    if config.span_boundary_head:
        boundary_input = 2 * embed + config.boundary_offset_size
        head_weights += boundary_input * embed + embed * embed + embed * config.vocab_size
    attention = 2 * embed * pairs_per_token(config, sequence_length)
    encoder = tokens * (config.num_layers * layer_weights(config) + attention)
    return 2 * (encoder + slots * head_weights)


def layer_weights(config: ModelConfig) -> int:
    """Weights of the matrix products of one layer."""
    embed, mlp = config.hidden_size, config.mlp_size
    products = 3 if config.encoder == "modern" else 2
    return 4 * embed * embed + products * embed * mlp


def pairs_per_token(config: ModelConfig, sequence_length: int) -> int:
    """Tokens that a token attends to, in all layers together; padding and documents do not count.

    12 layers, 512 tokens -> 6,144; of modern, layers that see 128 tokens count those and itself.
    """
    if config.encoder == "bert":
        return config.num_layers * sequence_length
    num_global = -(-config.num_layers // config.global_every)
    nearby = min(sequence_length, config.local_attention + 1)
    return num_global * sequence_length + (config.num_layers - num_global) * nearby


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
