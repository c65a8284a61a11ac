"""Keys of documents, and the choice of those kept for evaluation: by content alone, whatever their
order or file."""

import hashlib
from collections.abc import Iterable

KEY_RANGE = 1 << 64


def document_key(text: bytes) -> int:
    """A number in [0, 2^64) that depends on the document's content alone."""
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def content_keys(text: bytes) -> tuple[int, int]:
    """Two such numbers that know nothing of each other."""
    digest = hashlib.blake2b(text, digest_size=16).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")


def held_out_limit(keys: Iterable[int], share: float) -> tuple[int, int]:
    """Documents with a key below the limit are held out. Returns (limit, keys that were looked at).

    The limit is `share` of the range of keys. Where a small corpus has no document below it, the
    document with the smallest key is held out; where it has no other, one is left to train on.
    Keys are taken only until both sides have one.

    held_out_limit([8 << 60, 2 << 60, 9 << 60], 0.01) -> ((2 << 60) + 1, 3)
    """
    limit = round(share * KEY_RANGE)
    if not share:
        return 0, next((1 for _ in keys), 0)
    seen = 0
    smallest, largest = KEY_RANGE, -1
    for key in keys:
        seen += 1
        smallest, largest = min(smallest, key), max(largest, key)
        if smallest < limit <= largest:
            return limit, seen
    if smallest == largest:  # a single document (or copies of one) can only be trained on
        return 0, seen
    if smallest >= limit:
        return smallest + 1, seen
    return largest, seen
