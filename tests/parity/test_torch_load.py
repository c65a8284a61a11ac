"""Files of torch.save hold for us what torch.load finds in them. Needs the extra `parity`."""

from pathlib import Path

import numpy as np
import pytest
import torch

from spanbert_jax.weights.tensors import open_tensors

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8]


def random_state_dict() -> dict[str, torch.Tensor]:
    """A model's worth of names: every dtype, views of one storage, strides of every kind."""
    generator = torch.Generator().manual_seed(5)
    flat = torch.randn(50_000, generator=generator)
    tensors = {
        f"layer_{i}.{dtype}".replace("torch.", ""): (
            torch.randn(64, 17 + i, generator=generator) * 100
        ).to(dtype)
        for i in range(4)
        for dtype in DTYPES
    }
    table = torch.randn(40, 30, 5, generator=generator)
    return tensors | {
        "first_of_flat": flat[:1200].view(30, 40),
        "last_of_flat": flat[-600:].view(2, 300),
        "transposed": table.transpose(0, 2),
        "permuted_half": table.half().permute(1, 2, 0),
        "every_third_from_the_second": table[1::3, :, 2],
        "position_ids": torch.arange(9).expand(1, -1),
        "one_of_a_column": table[3, 4, 1],
        "not_finite": torch.tensor([float("nan"), float("inf"), -0.0], dtype=torch.bfloat16),
        "parameter": torch.nn.Parameter(flat[100:200]),
    }


def bits(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def bits_of_torch(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def assert_same_as_torch(path: Path, expected: dict[str, torch.Tensor]) -> None:
    with open_tensors(path) as tensors:
        assert tensors.names() == list(expected)
        for name, tensor in expected.items():
            array = tensors[name]
            assert tensors.info(name).shape == array.shape == tuple(tensor.shape)
            assert (
                f"torch.{tensors.info(name).dtype}" == f"torch.{array.dtype}" == str(tensor.dtype)
            )
            assert bits(array) == bits_of_torch(tensor), name


@pytest.mark.parametrize("as_archive", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_state_dict_is_read_bit_for_bit(tmp_path, as_archive, protocol):
    path = tmp_path / "pytorch_model.bin"
    torch.save(
        random_state_dict(),
        path,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=as_archive,
    )
    assert_same_as_torch(path, torch.load(path, weights_only=protocol == 2))


def test_dtypes_that_have_no_storage_of_their_own_are_read_bit_for_bit(tmp_path):
    tensors = {
        str(dtype): torch.arange(9).to(dtype)[2:]
        for dtype in (torch.uint16, torch.uint32, torch.uint64)
    }
    torch.save(tensors, tmp_path / "unsigned.pt")
    assert_same_as_torch(tmp_path / "unsigned.pt", tensors)


@pytest.mark.parametrize("as_archive", [True, False])
def test_a_module_beside_its_optimizer_is_read_bit_for_bit(tmp_path, as_archive):
    module = torch.nn.TransformerEncoderLayer(32, 4, 64)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.randn(3, 2, 32)).sum().backward()
    optimizer.step()
    checkpoint = {
        "model": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "device": torch.device("cpu"),
    }
    path = tmp_path / "checkpoint.pt"
    torch.save(checkpoint, path, _use_new_zipfile_serialization=as_archive)
    assert_same_as_torch(path, torch.load(path, weights_only=False)["model"])


@pytest.mark.parametrize("as_archive", [True, False])
def test_storages_tied_by_name_are_read_for_each_name(tmp_path, as_archive):
    table = torch.randn(20, 8)
    tied = {"embeddings.weight": table, "decoder.weight": table}
    torch.save(tied, tmp_path / "tied.pt", _use_new_zipfile_serialization=as_archive)
    assert_same_as_torch(tmp_path / "tied.pt", tied)


def test_a_file_that_transformers_would_save_is_read_bit_for_bit(tmp_path):
    from safetensors.torch import save_file

    tensors = {name: t.detach().contiguous().clone() for name, t in random_state_dict().items()}
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with open_tensors(tmp_path) as ours:
        assert sorted(ours.names()) == sorted(tensors)
        for name, tensor in tensors.items():
            assert bits(ours[name]) == bits_of_torch(tensor), name
