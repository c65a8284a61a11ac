"""JSON that others wrote beside their weights. In: a path. Out: a dict."""

import json
from typing import Any

from etils import epath

from spanbert_jax.errors import UserError


def read_json(path: epath.Path) -> dict[str, Any]:
    """The JSON object of a file.

    Raises:
        UserError: the file holds something else, or no UTF-8.
    """
    try:
        content = json.loads(path.read_bytes())
    # RecursionError: of lists within lists within lists.
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: must be JSON in UTF-8, found otherwise ({error}); download it again"
        ) from error
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: must be a JSON object, found a value of type {type(content).__name__}; "
            "download it again"
        )
    return content
