"""What `spanbert import` and `spanbert export` are asked."""

from dataclasses import dataclass

from spanbert_jax.errors import require, require_positive


@dataclass(frozen=True)
class ImportConfig:
    """Turn released weights of BERT, SpanBERT or RoBERTa into a checkpoint of ours."""

    source: str = ""
    """Folder or file of the weights (local or gs://): of Hugging Face, fairseq or TensorFlow."""
    out: str = ""
    """Folder to write, in the layout of a run; new or empty."""
    tokenizer: str = ""
    """Vocabulary of the model, where it does not lie beside the weights: `vocab.txt`,
    `tokenizer.json` or `*.model`."""
    lowercase: bool | None = None
    """Lowercase and strip accents, for a vocab.txt alone; none takes what tokenizer_config.json
    says, else lowercases where the vocabulary has no capital letter."""
    num_heads: int | None = None
    """Attention heads, where no config.json states them; none takes hidden size / 64."""
    pooler: bool = True
    """Give the model a pooler: the source's, or a fresh one."""
    span_boundary_head: bool = True
    """Give the model a span-boundary head: the source's, or a fresh one."""
    seed: int = 0
    """Of the parameters that the source lacks."""

    def __post_init__(self) -> None:
        if self.num_heads is not None:
            require_positive("--num-heads", self.num_heads, "12")
        require(0 <= self.seed < 2**31, "--seed", self.seed, "must be in [0, 2^31)", "use 0")


@dataclass(frozen=True)
class ExportConfig:
    """Write a checkpoint as a folder that Hugging Face Transformers loads."""

    checkpoint: str = ""
    """Folder of a run (its --workdir; local or gs://)."""
    out: str = ""
    """Folder to write; new or empty."""
    step: int | None = None
    """Step of the checkpoint to export, such as the best one; none takes the newest."""
