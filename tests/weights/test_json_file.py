"""JSON beside weights is an object in UTF-8, or one paragraph."""

import pytest
from etils import epath

from spanbert_jax.errors import UserError
from spanbert_jax.weights.formats.json_file import read_json


def test_an_object_is_read(tmp_path):
    path = epath.Path(tmp_path / "config.json")
    path.write_bytes('{"vocab_size": 40, "name": "é"}'.encode())
    assert read_json(path) == {"vocab_size": 40, "name": "é"}


@pytest.mark.parametrize(
    "content, message",
    [
        (b"{", "must be JSON in UTF-8, found otherwise"),
        (b'{"name": "\xe9"}', "must be JSON in UTF-8, found otherwise"),
        (b"[" * 100_000, "must be JSON in UTF-8, found otherwise"),
        (b"[1]", "must be a JSON object, found a value of type list"),
        (b"null", "must be a JSON object, found a value of type NoneType"),
    ],
)
def test_anything_else_is_refused(tmp_path, content, message):
    path = epath.Path(tmp_path / "config.json")
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"config.json: {message}"):
        read_json(path)
