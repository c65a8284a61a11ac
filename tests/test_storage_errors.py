"""What TensorFlow raises about gs:// addresses reaches the user as one paragraph."""

import pytest

import spanbert_jax.__main__ as program
from spanbert_jax.errors import UserError, storage_error

# As TensorFlow 2.21 words it on a machine without a network.
MESSAGE = (
    "Error executing an HTTP request: libcurl code 6 meaning 'Could not resolve hostname'\n"
    "\t when reading metadata of gs://bucket/shards/prepare.json"
)


def tensorflow_error(message: str) -> Exception:
    """Of a module that is named as TensorFlow's, which takes seconds to import."""
    module = {"__module__": "tensorflow.python.framework.errors_impl"}
    return type("FailedPreconditionError", (Exception,), module)(message)


# As Orbax raises it on a full disk.
FULL = (
    'RESOURCE_EXHAUSTED: Error writing "params.a/0.0" in OCDBT database at local file '
    '"/runs/a/checkpoints/0/": Failed writing: "/runs/a/checkpoints/0/d/4d7a": Failed to write '
    "1632715 bytes to file 4: No space left on device [os_error_code='28']"
)


def raise_it(monkeypatch: pytest.MonkeyPatch, error: Exception) -> int:
    def run_command(arguments):
        raise error

    monkeypatch.setattr(program, "run_command", run_command)
    return program.main(["prepare"])


def test_an_address_that_cannot_be_reached_is_one_paragraph(capsys, monkeypatch):
    assert raise_it(monkeypatch, tensorflow_error(MESSAGE)) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("spanbert: error: gs://bucket/shards/prepare.json: must be an ")
    assert "Could not resolve hostname" in printed
    assert printed.endswith("gcloud auth application-default login\n")
    assert printed.count("\n") == 1


def test_a_full_disk_is_one_paragraph(capsys, monkeypatch):
    assert raise_it(monkeypatch, ValueError(FULL)) == 2
    assert capsys.readouterr().err == (
        "spanbert: error: /runs/a/checkpoints/0/d/4d7a: must be a file that can be written, found "
        "that it cannot be (Failed to write 1632715 bytes to file 4: No space left on device); "
        "make room there, mend its permissions, or choose another place\n"
    )


@pytest.mark.parametrize(
    "error",
    [
        tensorflow_error("incompatible shapes [2] and [3]"),
        RuntimeError(MESSAGE),
        ValueError("RESOURCE_EXHAUSTED: out of memory"),
    ],
)
def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch, error):
    assert storage_error(error) is None
    with pytest.raises(type(error)):
        raise_it(monkeypatch, error)


def test_the_explanation_is_an_error_of_the_user():
    assert isinstance(storage_error(tensorflow_error(MESSAGE)), UserError)
