"""`spanbert import`: from released weights to a checkpoint of ours."""

from spanbert_jax.config.weights import ImportConfig
from spanbert_jax.weights.importing import import_weights
from spanbert_jax.weights.new_folder import check_new
from spanbert_jax.weights.run_of_import import write_imported


def run(config: ImportConfig) -> None:
    """Import weights and vocabulary, say what fitted, and write them in the layout of a run."""
    check_new(config.out)
    imported = import_weights(config.source, options=config)
    model = imported.model
    print(
        f"model: {imported.names.family}, {model.num_layers} layers of width {model.hidden_size}, "
        f"{model.num_heads} heads, vocabulary {model.vocab_size:,}"
    )
    print(imported.matching.summary())
    write_imported(config.out, imported)
    print(f"{config.out}: holds the model as the checkpoint of step 0")
    print(f'next: spanbert predict fill --checkpoint {config.out} "... [MASK] ..."')
