"""A pretrained model at hand, which no task was taught. In: texts. Out: hidden states, and for the
verbs an error that says what it has.
"""

from collections.abc import Sequence
from typing import Any, NoReturn

from spanbert_jax.inference.verbs import Fields, Verbs, no_head
from spanbert_jax.weights.loaded_model import LoadedModel

_NAMES = {
    "mlm_head": "masked language model",
    "span_boundary_head": "span boundary",
    "next_sentence_head": "next sentence",
}


class PretrainedModel(Verbs, LoadedModel):
    """Encoder and pretraining heads: it encodes; it answers nothing before it is fine-tuned."""

    @property
    def heads(self) -> str:
        """In words: heads of pretraining alone (masked language model, span boundary)."""
        heads = [name for part, name in _NAMES.items() if part in self.params]
        return f"heads of pretraining alone ({', '.join(heads)})" if heads else "an encoder alone"

    def refuse(self, verb: str) -> NoReturn:
        """Raise `UserError` saying which heads the model has."""
        raise no_head(verb, found=self.heads)

    def _ask(self, verb: str, examples: Fields | Sequence[Fields]) -> Any:
        self.refuse(verb)
