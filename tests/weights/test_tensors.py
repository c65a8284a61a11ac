"""Weights are opened by what the path is, read one array at a time, and refused when damaged."""

import json
import struct
import sys
import weakref
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from spanbert_jax.errors import UserError
from spanbert_jax.weights.tensors import TensorInfo, Tensors, open_tensors, write_safetensors

ARRAYS = {
    "encoder.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "encoder.half": np.array([0.5, -2.0], np.float16),
    "encoder.brain": np.array([1.5, -3.0, 0.0], ml_dtypes.bfloat16),
    "position_ids": np.arange(4, dtype=np.int64)[None],
    "step": np.array(7, np.int32),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, ARRAYS, {"format": "pt"})
    return path


def split(folder: Path) -> Path:
    """The same arrays in two files and an index."""
    file_of = {name: f"model-{i % 2 + 1}.safetensors" for i, name in enumerate(ARRAYS)}
    for file in set(file_of.values()):
        held = {name: ARRAYS[name] for name in ARRAYS if file_of[name] == file}
        write_safetensors(folder / file, held, {})
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": file_of}))
    return index


def assert_holds_the_arrays(path: Path) -> None:
    with open_tensors(path) as tensors:
        assert sorted(tensors.names()) == sorted(ARRAYS)
        for name, array in ARRAYS.items():
            assert tensors.info(name) == TensorInfo(array.shape, array.dtype)
            np.testing.assert_array_equal(tensors[name], array)
            assert tensors[name].dtype == array.dtype


def test_what_is_written_is_read_back_from_file_or_folder(file):
    assert_holds_the_arrays(file)
    assert_holds_the_arrays(file.parent)


def test_a_model_in_several_files_reads_as_one(tmp_path):
    index = split(tmp_path)
    assert_holds_the_arrays(index)
    assert_holds_the_arrays(tmp_path)


def test_a_whole_file_is_preferred_to_several(tmp_path):
    split(tmp_path)
    write_safetensors(tmp_path / "model.safetensors", {"alone": np.zeros(1)}, {})
    with open_tensors(tmp_path) as tensors:
        assert tensors.names() == ["alone"]


def test_a_name_that_is_not_there_is_no_tensor(file):
    with open_tensors(file) as tensors:
        assert "encoder.weight" in tensors and "decoder.weight" not in tensors
        with pytest.raises(KeyError, match=r"model.safetensors holds no tensor decoder.weight"):
            tensors["decoder.weight"]


def test_transposed_and_sliced_arrays_are_written_as_they_look(tmp_path):
    table = np.arange(24, dtype=np.float32).reshape(4, 6)
    views = {"transposed": table.T, "sliced": table[1::2, ::-2]}
    write_safetensors(tmp_path / "views.safetensors", views, {})
    with open_tensors(tmp_path / "views.safetensors") as tensors:
        for name, view in views.items():
            np.testing.assert_array_equal(tensors[name], view)


class OneAtATime(Tensors):
    """Zeros; asked for one array while another is held, it says so."""

    def __init__(self, count: int) -> None:
        info = TensorInfo((4, 2), np.dtype(np.float32))
        super().__init__("zeros", {f"zeros.{number}": info for number in range(count)})
        self._held: weakref.ref | None = None

    def _read(self, name: str) -> np.ndarray:
        assert self._held is None or self._held() is None, f"{name}: another one is held"
        array = np.zeros((4, 2), np.float32)
        self._held = weakref.ref(array)
        return array

    def close(self) -> None:
        """Nothing is open."""


class Broken(OneAtATime):
    def _read(self, name: str) -> np.ndarray:
        if name == "zeros.1":
            raise FloatingPointError(name)
        return super()._read(name)


def test_the_library_reads_every_dtype_and_shape_that_is_written(tmp_path):
    dtypes = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]
    arrays = {f"of.{dtype}": np.arange(6).reshape(2, 3).astype(dtype) for dtype in dtypes}
    arrays |= {f"scalar.{dtype}": np.array(1, dtype) for dtype in dtypes}
    arrays |= {"empty": np.zeros((0, 3), "f4"), "café": np.ones(5, ml_dtypes.bfloat16)} | ARRAYS
    path, metadata = tmp_path / "model.safetensors", {"format": "pt", "by": "ü"}
    write_safetensors(path, arrays, metadata)
    read = load_file(path)
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(read[name], array)
    with safe_open(path, framework="numpy") as file:
        assert file.metadata() == metadata


@pytest.mark.parametrize("metadata", [{}, {"format": "pt"}])
def test_a_model_is_written_byte_for_byte_as_the_library_writes_it(tmp_path, metadata):
    arrays = {f"layer.{number}": np.full((number, 3), number, "f4") for number in (10, 9, 0, 1)}
    write_safetensors(tmp_path / "ours", arrays, metadata)
    save_file(arrays, tmp_path / "theirs", metadata or None)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_arrays_are_made_and_written_one_at_a_time(tmp_path):
    write_safetensors(tmp_path / "model.safetensors", OneAtATime(5), {})
    assert load_file(tmp_path / "model.safetensors").keys() == set(OneAtATime(5))


def test_an_array_that_cannot_be_made_leaves_no_file(tmp_path):
    with pytest.raises(FloatingPointError):
        write_safetensors(tmp_path / "model.safetensors", Broken(3), {})
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of a process's memory")
def test_a_file_that_is_read_is_not_mapped_into_memory(file):
    with open_tensors(file) as tensors:
        np.testing.assert_array_equal(tensors["encoder.weight"], ARRAYS["encoder.weight"])
        assert str(file) not in Path("/proc/self/maps").read_text()


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match=r"taken: must be a file that can be written"):
        write_safetensors(tmp_path / "taken", ARRAYS, {})
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def altered_header(content: bytes) -> bytes:
    """Every offset moved by eight bytes: beyond the end of the file."""
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    for name in ARRAYS:
        header[name]["data_offsets"] = [offset + 8 for offset in header[name]["data_offsets"]]
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + content[8 + length :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-3],
        lambda content: content[:20],
        lambda content: content[:5],
        lambda content: struct.pack("<Q", 1 << 40) + content[8:],
        lambda content: content[:8] + b"}" + content[9:],
        altered_header,
    ],
)
def test_a_damaged_file_is_refused_when_it_is_opened(file, damage):
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UserError, match=r"model.safetensors: must be .*; download"):
        open_tensors(file)


def test_the_files_that_an_index_misses_are_named(tmp_path):
    index = split(tmp_path)
    (tmp_path / "model-2.safetensors").unlink()
    with pytest.raises(UserError, match=r"1 of 2 are missing: model-2.safetensors; download"):
        open_tensors(index)


def test_a_file_without_a_tensor_of_the_index_is_refused(tmp_path):
    index = split(tmp_path)
    write_safetensors(tmp_path / "model-2.safetensors", {"other": np.zeros(1)}, {})
    with pytest.raises(UserError, match=r"model-2.safetensors: must hold tensor encoder.half"):
        open_tensors(index)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"weight_map": {"a": "../b"}}', '{"weight_map": {"a": 3}}']
)
def test_an_index_of_another_form_is_refused(tmp_path, content):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(content)
    with pytest.raises(UserError, match="index.json: must be (JSON|a JSON object)"):
        open_tensors(index)


def test_an_index_is_no_file_of_an_index(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": index.name}}))
    with pytest.raises(UserError, match=r"index.json: must be a file of safetensors or of torch"):
        open_tensors(index)


def test_a_path_that_is_no_model_says_what_was_looked_for(tmp_path):
    with pytest.raises(
        UserError, match=r"nowhere: must be a file of weights, the prefix .* found nothing"
    ):
        open_tensors(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"must hold a model, found none of model.safetensors"):
        open_tensors(tmp_path)


def test_what_a_clone_leaves_in_place_of_a_large_file_is_known(tmp_path):
    for name in ("model.safetensors", "pytorch_model.bin"):
        (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
        with pytest.raises(UserError, match=r"begins with .*git-lfs.*; run git lfs pull"):
            open_tensors(tmp_path / name)


def test_a_file_of_another_kind_says_how_it_begins(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"config.json: must be .* begins with b'{}'; name the"):
        open_tensors(tmp_path / "config.json")


def test_a_form_is_known_by_its_content_whatever_its_name(file):
    assert_holds_the_arrays(file.rename(file.parent / "1f2e3d"))


def test_what_cannot_be_read_is_an_error_of_the_user(tmp_path):
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(UserError, match=r"must be files that can be read \(.*model.safetensors"):
        open_tensors(tmp_path)
