"""The tools around an optimizer: Lightning, the Hugging Face Trainer, accelerate, compiled models."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import optc
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from problem import Problem
from same import assert_same

pytestmark = pytest.mark.filterwarnings("ignore")


def points(count: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 4, generator=generator)
    return x, x @ torch.tensor([[1.0], [-2.0], [0.5], [3.0]])


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 1)


class Points(Dataset[dict[str, torch.Tensor]]):
    """Rows as a trainer wants them."""

    def __init__(self) -> None:
        self.x, self.y = points()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, n: int) -> dict[str, torch.Tensor]:
        return {"x": self.x[n], "labels": self.y[n]}


class Regression(nn.Module):
    """A model that computes its own loss."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = linear()

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        found = self.layer(x)
        return {"loss": (found - labels).square().mean(), "logits": found}


def test_lightning(tmp_path: Path) -> None:
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = Regression()
            self.losses: list[float] = []

        def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
            loss: torch.Tensor = self.model(**batch)["loss"]
            self.losses.append(loss.item())
            return loss

        def configure_optimizers(self) -> Any:
            optimizer = optc.Optimizer(self.named_parameters(), "adamw", lr=0.5)
            return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]

    options: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": tmp_path,
        "gradient_clip_val": 10.0,
    }
    module = Module()
    trainer = lightning.Trainer(max_epochs=3, **options)
    trainer.fit(module, DataLoader(Points(), batch_size=8))
    assert module.losses[-1] < module.losses[0] / 2
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    resumed = Module()
    trainer = lightning.Trainer(max_epochs=4, **options)
    trainer.fit(resumed, DataLoader(Points(), batch_size=8), ckpt_path=tmp_path / "x.ckpt")
    optimizer = trainer.optimizers[0]
    assert optimizer.state[resumed.model.layer.weight]["step"] == 16
    assert resumed.losses[-1] < module.losses[-1]


def test_the_hugging_face_trainer(tmp_path: Path) -> None:
    import transformers

    def run(optimizer: torch.optim.Optimizer, model: Regression, steps: int, **resume: Any) -> transformers.Trainer:
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=steps,
            per_device_train_batch_size=8,
            save_steps=6,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, 12)
        trainer = transformers.Trainer(
            model=model, args=arguments, train_dataset=Points(), optimizers=(optimizer, scheduler)
        )
        trainer.train(**resume)
        return trainer

    model, resumed = Regression(), Regression()
    run(optc.Optimizer(model.named_parameters(), "adamw", lr=0.1), model, 12)
    reference = Regression()
    run(torch.optim.AdamW(reference.named_parameters(), lr=0.1), reference, 12)
    torch.testing.assert_close(model.layer.weight, reference.layer.weight, rtol=0, atol=1e-5)
    again = optc.Optimizer(resumed.named_parameters(), "adamw", lr=0.1)
    run(again, resumed, 12, resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    torch.testing.assert_close(model.layer.weight, resumed.layer.weight, rtol=0, atol=1e-5)


def test_accelerate(tmp_path: Path) -> None:
    import accelerate

    accelerator = accelerate.Accelerator(cpu=True)
    model = Regression()
    optimizer = optc.Optimizer(model.named_parameters(), "adamw", lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    model, prepared, loader, schedule = accelerator.prepare(
        model, optimizer, DataLoader(Points(), batch_size=8), schedule
    )

    def epoch() -> float:
        for batch in loader:
            with accelerator.accumulate(model):
                loss = model(**batch)["loss"]
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(model.parameters(), 10.0)
                prepared.step()
                schedule.step()
                prepared.zero_grad()
        return float(loss)

    first = epoch()
    accelerator.save_state(str(tmp_path))
    before = copy.deepcopy(optimizer.state_dict())
    weights = copy.deepcopy(model.state_dict())
    second = epoch()
    accelerator.load_state(str(tmp_path))
    assert_same(optimizer.state_dict(), before)
    assert_same(dict(model.state_dict()), dict(weights))
    assert epoch() == second < first


def test_a_compiled_model() -> None:
    ours, theirs = linear(), linear()
    compiled = torch.compile(ours, backend="aot_eager")
    x, y = points()
    pairs = [
        (compiled, optc.Optimizer(compiled.named_parameters(), "adamw", lr=0.1)),
        (theirs, torch.optim.AdamW(theirs.parameters(), lr=0.1)),
    ]
    for model, optimizer in pairs:
        for _ in range(5):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=0, atol=1e-5)


def test_a_step_inside_of_a_compiled_function() -> None:
    problem, plain = Problem(), Problem()
    optimizer = optc.Optimizer(problem.params, "adamw", lr=0.1)
    reference = optc.Optimizer(plain.params, "adamw", lr=0.1)
    step = torch.compile(lambda: optimizer.step(), backend="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(3):
            problem.closure(optimizer)()
            step()
            plain.run(reference, 1)
    assert torch.equal(problem.weight, plain.weight)


def test_averaged_models_and_clipping() -> None:
    model = linear()
    optimizer = optc.Optimizer(model.named_parameters(), "sgd", lr=0.01, momentum=0.9)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    x, y = points()
    for _ in range(4):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        averaged.update_parameters(model)
    assert not torch.equal(averaged.module.weight, model.weight)
