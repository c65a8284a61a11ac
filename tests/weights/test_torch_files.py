"""Files of torch.save are read without torch, and without running what their pickles name.

The files under files/ hold the tensors below, written by torch (files/make.py).
"""

import contextlib
import os
import pickle
import shutil
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from spanbert_jax.errors import UserError
from spanbert_jax.weights.formats.torch_pickle import Storage, StoredTensor, state_dict
from spanbert_jax.weights.tensors import open_tensors

FILES = Path(__file__).parent / "files"
CONTAINERS = ["archive.bin", "pickles.bin"]
TABLE = np.arange(12, dtype=np.float32).reshape(3, 4)
ARRAYS = {
    "table": TABLE,
    "transposed": TABLE.T,
    "columns": TABLE[:, 1::2],
    "half": np.array([0.5, -2.0], np.float16),
    "brain": np.array([1.5, -3.0], ml_dtypes.bfloat16),
    "ids": np.arange(3, dtype=np.int64)[None],
    "flags": np.array([True, False]),
    "parameter": np.array([0.25], np.float32),
    "scalar": np.array(7, np.int32),
    "empty": np.zeros((0, 2), np.float32),
}
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C


def archive(path: Path, pickled: bytes, records: dict[str, bytes] | None = None) -> Path:
    """As torch.save lays it out since 1.6."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model/data.pkl", pickled)
        for name, content in (records or {}).items():
            file.writestr(f"model/{name}", content)
    return path


def pickles(path: Path, pickled: bytes) -> Path:
    """As torch.save laid it out before, without any storage."""
    head = [pickle.dumps(value, protocol=2) for value in (MAGIC_NUMBER, 1001, {})]
    path.write_bytes(b"".join([*head, pickled, pickle.dumps([], protocol=2)]))
    return path


def tensor(*, key: str = "0", elements: int = 2, offset: int = 0, shape: str = "I2\nt") -> bytes:
    """The opcodes of one tensor of the given storage, strides (1,)."""
    reference = f"(S'storage'\nctorch\nFloatStorage\nS'{key}'\nS'cpu'\nI{elements}\ntQ"
    call = f"ctorch._utils\n_rebuild_tensor_v2\n({reference}I{offset}\n({shape}(I1\ntI00\nNtR"
    return call.encode()


def entry(value: bytes, name: str = "weight") -> bytes:
    """The opcodes of {name: value}."""
    return f"(dS'{name}'\n".encode() + value + b"s."


@pytest.mark.parametrize("file", [*CONTAINERS, "fairseq.pt"])
def test_tensors_of_every_dtype_and_stride_are_read(file):
    with open_tensors(FILES / file) as tensors:
        assert tensors.names() == list(ARRAYS)
        for name, array in ARRAYS.items():
            assert tensors.info(name).shape == array.shape
            assert tensors.info(name).dtype == tensors[name].dtype == array.dtype
            np.testing.assert_array_equal(tensors[name], array)


@pytest.mark.parametrize("file", CONTAINERS)
def test_a_folder_of_transformers_is_opened(tmp_path, file):
    shutil.copy(FILES / file, tmp_path / "pytorch_model.bin")
    with open_tensors(tmp_path) as tensors:
        np.testing.assert_array_equal(tensors["table"], TABLE)


def test_the_one_checkpoint_of_a_folder_is_opened_and_two_are_not(tmp_path):
    shutil.copy(FILES / "fairseq.pt", tmp_path / "model.pt")
    with open_tensors(tmp_path) as tensors:
        np.testing.assert_array_equal(tensors["table"], TABLE)
    shutil.copy(FILES / "fairseq.pt", tmp_path / "last.pt")
    with pytest.raises(UserError, match=r"must hold one \*.pt, found last.pt, model.pt; name"):
        open_tensors(tmp_path)


def test_a_tensor_is_found_in_the_state_dict_of_a_checkpoint():
    tensor = StoredTensor(Storage("0", np.dtype("f4"), 0, 8), np.dtype("f4"), 0, (2,), (1,))
    for key in ("model", "state_dict", "model_state_dict"):
        checkpoint = {"optimizer": {"step": tensor}, key: OrderedDict(weight=tensor)}
        assert state_dict(checkpoint, where="model.pt") == {"weight": tensor}
    assert state_dict({"weight": tensor, "epoch": 3}, where="model.pt") == {"weight": tensor}


def test_elements_of_a_tensor_span_from_its_first_to_its_last():
    stored = StoredTensor(Storage("0", np.dtype("f4"), 8, 96), np.dtype("f4"), 3, (2, 3), (8, 1))
    assert (stored.num_elements, stored.first_byte, stored.num_bytes) == (11, 20, 44)
    assert stored._replace(shape=(2, 0)).num_bytes == 0


class Command:
    """Pickled, it is a call of os.system."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("write", [archive, pickles])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_in_a_pickle_is_named_and_not_run(tmp_path, write, protocol):
    marker = tmp_path / "marker"
    path = write(tmp_path / "model.pt", pickle.dumps({"w": Command(marker)}, protocol=protocol))
    with pytest.raises(UserError, match=r"model.pt: .* found (posix|nt).system, which was not run"):
        open_tensors(path)
    assert not marker.exists()
    # It is what torch.load of old would have run.
    pickle.loads(pickle.dumps(Command(marker), protocol=protocol))
    assert marker.exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins eval", "builtins getattr", "builtins __import__", "__builtin__ exec",
        "torch load", "torch._utils eval", "collections OrderedDict.fromkeys", "numpy load",
        "numpy.testing._private.utils runstring", "transformers.modeling_bert BertModel",
        "spanbert_jax.weights.formats.torch_pickle Inert", "fairseqs meters", "os system",
    ],
)  # fmt: skip
def test_a_name_that_no_state_dict_needs_is_refused(tmp_path, name):
    module, attribute = name.split()
    call = f"c{module}\n{attribute}\n(tR.".encode()
    with pytest.raises(UserError, match=rf"found {module}.{attribute}, which was not run"):
        open_tensors(archive(tmp_path / "model.pt", call))


@pytest.mark.parametrize(
    "name",
    [
        "collections OrderedDict", "torch Size", "torch FloatStorage", "torch float32",
        "torch._utils _rebuild_tensor_v2", "argparse Namespace", "numpy dtype",
    ],
)  # fmt: skip
def test_a_pickle_cannot_change_what_it_names(tmp_path, name):
    module, attribute = name.split()
    # BUILD with (None, {"keys": "changed"}) sets attributes of the object before it.
    changed = f"c{module}\n{attribute}\n(N(dS'keys'\nS'changed'\nstb0".encode()
    path = archive(tmp_path / "model.pt", changed + entry(tensor()), {"data/0": bytes(8)})
    with pytest.raises(UserError, match=r"must be a whole file of torch.save"):
        open_tensors(path)
    for file in CONTAINERS:
        with open_tensors(FILES / file) as tensors:
            assert len(tensors.names()) == len(ARRAYS)


@pytest.mark.parametrize("state", [{"get": OrderedDict}, {"items": "x"}, {"__class__": 1}])
def test_attributes_that_a_pickle_sets_are_let_go(tmp_path, state):
    """BUILD gives a dict of PyTorch its `_metadata`; `get` would stand before the method."""
    build = pickle.dumps(state, protocol=0)[:-1] + b"b"
    made = b"ccollections\nOrderedDict\n(tR(S'weight'\n" + tensor() + b"u" + build + b"."
    with open_tensors(archive(tmp_path / "model.pt", made, {"data/0": bytes(8)})) as tensors:
        assert tensors.names() == ["weight"]


# The opcodes of values that take a long time or the whole stack to hash or to print.
NESTED = b")" + b"\x85" * 200_000
DOUBLED = b")" + b"2\x86" * 40
ENDLESS = {"nested": NESTED, "doubled": DOUBLED}


@pytest.mark.parametrize("value", ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize(
    "around",
    [
        b"(d%sNs0",
        b"(%sNd0",
        b"}(%sNu0",
        b"(%s\x910",
        b"\x8f(%s\x900",
        b"ccollections\nOrderedDict\n((%sNlltR0",
    ],
    ids=["setitem", "dict", "setitems", "frozenset", "additems", "OrderedDict"],
)
def test_keys_that_do_not_end_are_not_hashed(tmp_path, value, around):
    made = around.replace(b"%s", value) + entry(tensor())
    path = archive(tmp_path / "model.pt", made, {"data/0": bytes(8)})
    with contextlib.suppress(UserError), open_tensors(path) as tensors:
        assert tensors.names() == ["weight"]


@pytest.mark.parametrize("value", ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize("write", [archive, pickles])
@pytest.mark.parametrize(
    "around",
    [
        b"(S'storage'\nctorch\nFloatStorage\n%sS'cpu'\nI2\ntQ.",
        b"(%sctorch\nFloatStorage\nS'0'\nS'cpu'\nI2\ntQ.",
        b"%sQ.",
        b"%s.",
        b"c%s\nname\n.",
        b"(dS'%s'\nNs.",
    ],
    ids=["key", "kind", "reference", "content", "module", "name"],
)
def test_messages_about_damaged_files_are_short(tmp_path, write, value, around):
    inside = value if b"'%s'" not in around and b"c%s" not in around else b"x" * 200_000
    with pytest.raises(UserError) as refused:
        open_tensors(write(tmp_path / "model.pt", around.replace(b"%s", inside)))
    assert len(str(refused.value)) < 1000


def test_keys_of_storages_that_do_not_end_are_refused(tmp_path):
    head = [pickle.dumps(value, protocol=2) for value in (MAGIC_NUMBER, 1001, {})]
    path = tmp_path / "model.pt"
    path.write_bytes(b"".join([*head, entry(tensor()), b"(" + NESTED + b"l.", bytes(16)]))
    with pytest.raises(UserError, match="must be a whole file of torch.save, found a damaged one"):
        open_tensors(path)


@pytest.mark.parametrize("shape, strides", [("1000000000000", "0"), ("2", "0"), ("2 2", "1 0")])
def test_a_tensor_that_repeats_its_elements_is_refused(tmp_path, shape, strides):
    sizes, steps = (b"".join(b"I%s\n" % n.encode() for n in each.split()) + b"t"
                    for each in (shape, strides))  # fmt: skip
    weight = tensor(shape=sizes.decode()).replace(b"(I1\nt", b"(" + steps)
    path = archive(tmp_path / "model.pt", entry(weight), {"data/0": bytes(8)})
    with pytest.raises(UserError, match=r"found weight to repeat . of them .*; save its contig"):
        open_tensors(path)


def test_axes_without_bounds_are_refused(tmp_path):
    for shape in (f"I{10**30}\nI0\nt", f"I{2**40}\nI{2**40}\nI0\nt", "I1\n" * 70 + "t"):
        axes = shape.count("I")
        weight = tensor(shape=shape).replace(b"(I1\nt", b"(" + b"I1\n" * axes + b"t")
        path = archive(tmp_path / "model.pt", entry(weight), {"data/0": bytes(8)})
        with pytest.raises(UserError, match="tensor weight does not fit into its storage"):
            open_tensors(path)


def test_a_length_in_a_pickle_cannot_ask_for_memory(tmp_path):
    """A bytearray of 16 TB."""
    made = b"\x96" + struct.pack("<Q", 1 << 44) + b"0" + entry(tensor())
    with pytest.raises(UserError, match="damaged one"):
        open_tensors(archive(tmp_path / "model.pt", made, {"data/0": bytes(8)}))


def test_an_archive_made_by_hand_is_read(tmp_path):
    content = np.array([3.0, 5.0], np.float32).tobytes()
    path = archive(tmp_path / "model.pt", entry(tensor()), {"data/0": content})
    with open_tensors(path) as tensors:
        np.testing.assert_array_equal(tensors["weight"], [3.0, 5.0])


def test_a_number_in_a_pickle_cannot_ask_for_memory(tmp_path):
    """Remembers a value at place two billion: a table of 32 GB for the unpickler in C."""
    value = entry(b"Nr\xff\xff\xff\x7f0" + tensor())
    with open_tensors(archive(tmp_path / "model.pt", value, {"data/0": bytes(8)})) as tensors:
        assert tensors.names() == ["weight"]


def test_an_archive_without_a_pickle_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as file:
        file.writestr("word/document.xml", "<w/>")
    with pytest.raises(UserError, match=r"holds data.pkl, found word/document.xml in it; name"):
        open_tensors(tmp_path / "model.pt")


@pytest.mark.parametrize("compressed", ["data.pkl", "byteorder", "data/0"])
def test_a_compressed_archive_is_refused(tmp_path, compressed):
    content = {"data.pkl": entry(tensor()), "byteorder": b"little", "data/0": bytes(8)}
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as file:
        for name, each in content.items():
            kind = zipfile.ZIP_DEFLATED if name == compressed else zipfile.ZIP_STORED
            file.writestr(f"model/{name}", each, kind)
    with pytest.raises(UserError, match=rf"without compression, .* model/{compressed} compressed"):
        open_tensors(path)


def test_numbers_of_a_big_endian_machine_are_refused(tmp_path):
    records = {"data/0": bytes(8), "byteorder": b"big"}
    with pytest.raises(UserError, match=r"little-endian machine, found big-endian numbers"):
        open_tensors(archive(tmp_path / "model.pt", entry(tensor()), records))


def test_an_altered_record_of_an_archive_is_found_when_it_is_read(tmp_path):
    content = (FILES / "archive.bin").read_bytes()
    altered = content.replace(TABLE.tobytes(), TABLE.tobytes()[::-1])
    (tmp_path / "model.pt").write_bytes(altered)
    with open_tensors(tmp_path / "model.pt") as tensors:
        np.testing.assert_array_equal(tensors["ids"], ARRAYS["ids"])
        with pytest.raises(UserError, match=r"damaged one \(the checksum of tensor table is ano"):
            tensors["table"]


@pytest.mark.parametrize(
    "weight",
    [
        tensor(key="1"),
        tensor(elements=3, shape="I3\nt"),
        tensor(elements=3, offset=1),
        tensor(offset=1),
        tensor(offset=-1),
        tensor(shape="I3\nt"),
        tensor(shape="I-2\nt"),
        tensor(shape="I1\nI2\nt"),
        tensor(shape="S'2'\nt"),
        tensor(elements=-2),
        b"ctorch._utils\n_rebuild_tensor_v2\n(I0\nI0\n(t(tI00\nNtR",
    ],
)
def test_a_tensor_that_does_not_fit_into_its_storage_is_refused(tmp_path, weight):
    path = archive(tmp_path / "model.pt", entry(weight), {"data/0": bytes(8)})
    with pytest.raises(UserError, match=r"must be a whole file of torch.save, found a damaged one"):
        open_tensors(path)


@pytest.mark.parametrize("file", CONTAINERS)
@pytest.mark.parametrize("kept", [3, 20, 300, 1000, -1])
def test_a_truncated_file_is_refused_when_it_is_opened(tmp_path, file, kept):
    path = tmp_path / "model.pt"
    path.write_bytes((FILES / file).read_bytes()[:kept])
    with pytest.raises(UserError, match=r"model.pt: must be a"):
        open_tensors(path)


@pytest.mark.parametrize("file", CONTAINERS)
def test_a_file_with_any_one_byte_altered_is_read_or_refused(tmp_path, file):
    """Nothing but `UserError` comes out of a damaged file."""
    content = (FILES / file).read_bytes()
    path = tmp_path / "model.pt"
    refused = 0
    for position in range(0, len(content), 11):
        path.write_bytes(content[:position] + b"\xa5" + content[position + 1 :])
        try:
            with open_tensors(path) as tensors:
                assert all(tensors[name].shape == tensors.info(name).shape for name in tensors)
        except UserError:
            refused += 1
    assert refused > 30


@pytest.mark.parametrize("content", [[1, 2], {}, {"model": {"epoch": 3}}, "weights"])
def test_a_file_without_tensors_says_what_it_holds(tmp_path, content):
    path = archive(tmp_path / "model.pt", pickle.dumps(content, protocol=2))
    with pytest.raises(UserError, match=r"must hold a state dict, .*; save model.state_dict"):
        open_tensors(path)


def test_a_pickle_of_another_program_is_refused(tmp_path):
    (tmp_path / "model.pt").write_bytes(pickle.dumps({"weight": [1.0, 2.0]}))
    with pytest.raises(UserError, match=r"torch.save, found a pickle of another program; save"):
        open_tensors(tmp_path / "model.pt")


def test_storages_that_are_views_of_others_are_read(tmp_path):
    """A tensor of files of 2018: elements 2 and 3 of a storage of four."""
    view = "(S'1'\nI2\nI2\nt"
    weight = tensor(elements=4).replace(b"I4\ntQ", f"I4\n{view}tQ".encode())
    head = [pickle.dumps(value, protocol=2) for value in (MAGIC_NUMBER, 1001, {})]
    storage = struct.pack("<q4f", 4, 1.0, 2.0, 3.0, 4.0)
    path = tmp_path / "model.pt"
    path.write_bytes(b"".join([*head, entry(weight), pickle.dumps(["0"], protocol=2), storage]))
    with open_tensors(path) as tensors:
        np.testing.assert_array_equal(tensors["weight"], [3.0, 4.0])
