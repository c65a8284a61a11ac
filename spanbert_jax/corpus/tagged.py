"""Whether shards hold the annotated spans that a masking scheme draws from."""

from etils import epath

from spanbert_jax.config import MaskingConfig
from spanbert_jax.corpus.shards import Manifest
from spanbert_jax.errors import UserError


def require_tags(
    folder: epath.PathLike, manifest: Manifest, *, masking: MaskingConfig, flag: str
) -> None:
    """Raise `UserError` where `tagged_span` masks are asked of shards that nothing is tagged in.

    flag: how the scheme is typed, such as --masking.scheme.
    """
    if masking.scheme != "tagged_span" or manifest.totals["train"]["num_spans"]:
        return
    raise UserError(
        f"{flag} tagged_span: hides annotated spans, of which the shards in {folder} hold none; "
        "run `spanbert prepare --tag spacy:ents` (or spacy:noun_chunks) with the same options into "
        f"a new folder, or use {flag} {masking.base_scheme}"
    )
