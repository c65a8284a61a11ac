"""A sample of documents, spread over the whole source, that a tokenizer is trained on."""

import heapq
from collections.abc import Iterable

from spanbert_jax.corpus.documents import RawDocument


def sample_documents(
    documents: Iterable[tuple[int, int, RawDocument]], *, max_bytes: float
) -> list[RawDocument]:
    """The documents with the smallest keys, as many as fit into `max_bytes`; at least one.

    Takes (key, size in bytes, document) and holds no more than the sample in memory. Keys come
    from the content, so the sample does not depend on the order of the documents.
    """
    heap: list[tuple[int, str, int, RawDocument]] = []
    held = 0
    for key, size, raw in documents:
        if held + size > max_bytes and heap and key >= -heap[0][0]:
            continue
        heapq.heappush(heap, (-key, raw.text, size, raw))
        held += size
        while held > max_bytes and len(heap) > 1:
            held -= heapq.heappop(heap)[2]
    return [raw for _, _, _, raw in sorted(heap, reverse=True)]
