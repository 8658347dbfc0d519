"""A small convolutional network on Fashion-MNIST, trained by a rule of your choice.

    python examples/python/fashion.py --rule muon --steps 600 --checkpoint out/fashion

A run that is started again with the same checkpoint continues where the last one stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import optc
import torch
from torch import nn
from torch.nn import functional

import data

# Matrices and convolutions take the rule; what has another scale takes AdamW.
GROUPS = [{"pattern": r"norm|bias|head", "use": "adamw", "lr": 2e-3, "weight_decay": 0.0}]
RATES = {"muon": 0.02, "soap": 3e-3, "adamw": 2e-3, "sgd": 0.05}


class Network(nn.Module):
    """Three convolutions and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(16), nn.BatchNorm2d(32)])
        self.hidden = nn.Linear(32 * 7 * 7, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv, norm in zip(self.convs, self.norms):
            x = functional.max_pool2d(functional.relu(norm(conv(x))), 2)
        logits: torch.Tensor = self.head(functional.relu(self.hidden(x.flatten(1))))
        return logits


class Run:
    """Everything that changes while training."""

    def __init__(self, rule: str, steps: int, batch: int) -> None:
        torch.manual_seed(0)
        self.model = Network()
        self.optimizer = optc.Optimizer(self.model.named_parameters(), rule, lr=RATES.get(rule, 1e-3), groups=GROUPS)
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, rates, total_steps=steps, cycle_momentum=False
        )
        self.images, self.labels = data.images("train"), data.labels("train")
        self.batch, self.done = batch, 0

    def train(self, until: int) -> None:
        """Steps until that many are done; each draws its own batch, whatever came before."""
        self.model.train()
        for self.done in range(self.done + 1, until + 1):
            chosen = torch.randint(len(self.images), (self.batch,), generator=torch.Generator().manual_seed(self.done))
            loss = functional.cross_entropy(self.model(self.images[chosen]), self.labels[chosen])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()
            if self.done % 50 == 0:
                print(f"step {self.done}: loss {loss.item():.3f}, rate {self.scheduler.get_last_lr()[0]:.2e}")

    @torch.no_grad()
    def accuracy(self) -> float:
        """The share of test images that are classified rightly."""
        self.model.eval()
        images, labels = data.images("t10k"), data.labels("t10k")
        found = torch.cat([self.model(part).argmax(1) for part in images.split(1000)])
        return (found == labels).float().mean().item()

    def save(self, folder: Path) -> None:
        """Optimizer state in its own file, which Rust and C++ read too; the rest beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.optimizer.save(folder / "optimizer.safetensors")
        rest = {"model": self.model.state_dict(), "scheduler": self.scheduler.state_dict(), "done": self.done}
        torch.save(rest, folder / "rest.pt")

    def resume(self, folder: Path) -> None:
        """Continues a saved run."""
        rest: dict[str, Any] = torch.load(folder / "rest.pt", weights_only=True)
        self.model.load_state_dict(rest["model"])
        self.scheduler.load_state_dict(rest["scheduler"])
        self.optimizer.load(folder / "optimizer.safetensors")
        self.done = rest["done"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rule", default="muon", help="a .opt or .optc file, or a name of the standard library")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--checkpoint", type=Path, help="a folder; written every 100 steps")
    arguments = parser.parse_args()
    run = Run(arguments.rule, arguments.steps, arguments.batch)
    if arguments.checkpoint and (arguments.checkpoint / "rest.pt").exists():
        run.resume(arguments.checkpoint)
        print(f"continuing after step {run.done}")
    while run.done < arguments.steps:
        run.train(min(run.done + 100, arguments.steps))
        if arguments.checkpoint:
            run.save(arguments.checkpoint)
    print(f"accuracy on the test images: {run.accuracy():.3f}")


if __name__ == "__main__":
    main()
