"""Makes the small PyTorch files beside it; they are checked in, since the tests run without torch.

    python tests/weights/files/make.py      (torch 2.14, which can still write both containers)

Each holds the same tensors, which test_torch_files.py spells out.
"""

import argparse
import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent


def state_dict() -> OrderedDict[str, torch.Tensor]:
    table = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    tensors = OrderedDict(
        table=table,
        transposed=table.T,
        columns=table[:, 1::2],
        half=torch.tensor([0.5, -2.0], dtype=torch.float16),
        brain=torch.tensor([1.5, -3.0], dtype=torch.bfloat16),
        ids=torch.arange(3)[None],
        flags=torch.tensor([True, False]),
        parameter=torch.nn.Parameter(torch.tensor([0.25])),
        scalar=torch.tensor(7, dtype=torch.int32),
        empty=torch.zeros(0, 2),
    )
    # As the state dict of a module has.
    tensors._metadata = OrderedDict({"": {"version": 1}})
    return tensors


def training_checkpoint() -> dict[str, object]:
    """What fairseq laid beside the model in 2019: arguments, meters, numpy numbers."""
    meters = types.ModuleType("fairseq.meters")
    meters.AverageMeter = type("AverageMeter", (), {"__module__": "fairseq.meters"})
    sys.modules |= {"fairseq": types.ModuleType("fairseq"), "fairseq.meters": meters}
    meter = meters.AverageMeter()
    meter.avg = np.float32(2.5)
    return {
        "args": argparse.Namespace(arch="cased_bert_pair", lr=[1e-4], betas=(0.9, 0.98)),
        "model": state_dict(),
        "optimizer_history": [{"num_updates": 5, "optimizer_name": "FairseqAdam"}],
        "extra_state": {"train_meters": OrderedDict(loss=meter), "best": np.float64(1.5)},
        "last_optimizer_state": {"state": {0: {"exp_avg": torch.ones(1000)}}},
    }


torch.save(state_dict(), FOLDER / "archive.bin")
torch.save(state_dict(), FOLDER / "pickles.bin", _use_new_zipfile_serialization=False)
torch.save(training_checkpoint(), FOLDER / "fairseq.pt", _use_new_zipfile_serialization=False)
