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


@pytest.mark.parametrize(
    "error", [tensorflow_error("incompatible shapes [2] and [3]"), RuntimeError(MESSAGE)]
)
def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch, error):
    assert storage_error(error) is None
    with pytest.raises(type(error)):
        raise_it(monkeypatch, error)


def test_the_explanation_is_an_error_of_the_user():
    assert isinstance(storage_error(tensorflow_error(MESSAGE)), UserError)
