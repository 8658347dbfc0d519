"""Fashion-MNIST, as Debian's package `dataset-fashion-mnist` brings it."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import torch

FOLDER = Path(os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))


def images(part: str) -> torch.Tensor:
    """Images of `train` or `t10k`, with mean 0 and deviation 1."""
    pixels = numbers(f"{part}-images-idx3-ubyte.gz", header=16).reshape(-1, 1, 28, 28).float()
    return (pixels / 255 - 0.286) / 0.353


def labels(part: str) -> torch.Tensor:
    """Classes from 0 to 9."""
    return numbers(f"{part}-labels-idx1-ubyte.gz", header=8).long()


def numbers(name: str, header: int) -> torch.Tensor:
    """The bytes of a file after its header."""
    return torch.frombuffer(bytearray(gzip.decompress((FOLDER / name).read_bytes())[header:]), dtype=torch.uint8)
