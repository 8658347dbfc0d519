"""bitsandbytes: state in 8 bits.

Its quantisation on CPUs looks codes up in a coarse table and misses the nearest one now and then (for three squares in a
hundred); its kernels on devices find it by search. Here it is found by search on both sides.
"""

from __future__ import annotations

import bitsandbytes
import bitsandbytes.backends.cpu.ops as cpu
import pytest
import torch
from trial import different, pair, same

SHAPES = ("large", "bias")
DTYPES = (torch.float32, torch.bfloat16)

SAME = [
    pair("Adam8bit", bitsandbytes.optim.Adam8bit, "adamw_8bit", {"lr": 0.01, "weight_decay": 0.0}, shapes=SHAPES, dtypes=DTYPES),
    pair("Adam8bit, larger eps", bitsandbytes.optim.Adam8bit, "adamw_8bit", {"lr": 0.01, "weight_decay": 0.0, "eps": 1e-3, "betas": (0.8, 0.95)}, shapes=SHAPES, dtypes=DTYPES),
    pair("AdamW8bit", bitsandbytes.optim.AdamW8bit, "adamw_8bit", {"lr": 0.01, "weight_decay": 0.1}, ours={"decay_first": True}, shapes=SHAPES, dtypes=DTYPES),
    pair("AdamW", bitsandbytes.optim.AdamW32bit, "adamw", {"lr": 0.01, "weight_decay": 0.1}, shapes=SHAPES, dtypes=(torch.float32,)),
    pair("Lion", bitsandbytes.optim.Lion32bit, "lion", {"lr": 0.01, "weight_decay": 0.1}, shapes=SHAPES, dtypes=(torch.float32,)),
]

DIFFERENT = [
    pair("AdamW8bit decays before the update on CPUs", bitsandbytes.optim.AdamW8bit, "adamw_8bit", {"lr": 0.01, "weight_decay": 0.1}, shapes=SHAPES),
]


@pytest.fixture(autouse=True)
def found_by_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_quant_blockwise_fp32_direct", nearest)


def nearest(x: torch.Tensor, code: torch.Tensor, scales: torch.Tensor, codes: torch.Tensor, block: int) -> None:
    """The code nearest to each element over the largest of its block."""
    blocks = torch.nn.functional.pad(x.flatten(), (0, -x.numel() % block)).view(-1, block)
    largest = blocks.abs().amax(1)
    quotients = (blocks / largest.clamp(min=1e-38)[:, None]).flatten()[: x.numel()]
    middles = (code[1:] + code[:-1]) / 2
    codes.copy_(torch.bucketize(quotients, middles).view_as(codes))
    scales.copy_(largest)


test_same = same(SAME)
test_different = different(DIFFERENT)
