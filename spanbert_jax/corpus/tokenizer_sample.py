"""A sample of documents, spread over the whole source, that a tokenizer is trained on."""

import heapq

from spanbert_jax.corpus.documents import RawDocument
from spanbert_jax.corpus.held_out import KEY_RANGE


class TokenizerSample:
    """The documents with the smallest keys, as many as fit into `max_bytes`; at least one.

    Holds no more than the sample in memory. Keys come from the content, so the sample does not
    depend on the order of the documents; of equal ones it takes one.
    """

    def __init__(self, max_bytes: float) -> None:
        self._max_bytes = max_bytes
        self._heap: list[tuple[int, str, int, RawDocument]] = []
        self._texts: set[tuple[int, str]] = set()
        self._held = 0
        self._bound = KEY_RANGE
        """Smallest key that is known not to fit."""

    def may_take(self, key: int) -> bool:
        """Whether a document with this key can still belong to the sample."""
        return key < self._bound

    def add(self, key: int, size: int, raw: RawDocument) -> None:
        """Take a document of `size` bytes, if it belongs to the sample so far."""
        if not self.may_take(key) or (key, raw.text) in self._texts:
            return
        heapq.heappush(self._heap, (-key, raw.text, size, raw))
        self._texts.add((key, raw.text))
        self._held += size
        while self._held > self._max_bytes and len(self._heap) > 1:
            negative, text, size, _ = heapq.heappop(self._heap)
            self._texts.remove((-negative, text))
            self._held -= size
            self._bound = -negative

    def merge(self, other: "TokenizerSample") -> None:
        """Take what another sample, of other documents, holds."""
        self._bound = min(self._bound, other._bound)
        while self._heap and -self._heap[0][0] >= self._bound:
            negative, text, size, _ = heapq.heappop(self._heap)
            self._texts.remove((-negative, text))
            self._held -= size
        for negative, _, size, raw in other._heap:
            self.add(-negative, size, raw)

    @property
    def documents(self) -> list[RawDocument]:
        """In the order of their keys."""
        return [raw for _, _, _, raw in sorted(self._heap, key=lambda item: (-item[0], item[1]))]
