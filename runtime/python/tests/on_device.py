"""What the package does with parameters on CUDA devices; `test_cuda.py` runs it.

A tensor here says that it is on a device, and its memory is the host's, as that of the driver is.
"""

from __future__ import annotations

import copy
import ctypes
import io
import subprocess
from collections.abc import Callable, Iterable
from os import environ
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optc
import pytest
import torch
from torch.nn import Parameter

DRIVER = ctypes.CDLL("libcuda.so.1")
SHAPES = [(), (5,), (0,), (1,), (3, 4), (33, 65), (2, 3, 5)]


def place(number: int) -> type[torch.Tensor]:
    """Tensors on the device of that number."""

    class OnDevice(torch.Tensor):
        device = property(lambda _: torch.device("cuda", number))
        is_cpu = property(lambda _: False)
        is_cuda = property(lambda _: True)

    return OnDevice


PLACES = {None: None, 0: place(0), 1: place(1)}


def put(tensor: torch.Tensor, device: int | None) -> Any:
    """A parameter of the same numbers on a device, or on the host."""
    cls = PLACES[device]
    copied = tensor.detach().clone(memory_format=torch.preserve_format)
    return Parameter(copied) if cls is None else copied.as_subclass(cls).requires_grad_()


def asked(count: str) -> int:
    """What the driver was asked: `launches`, or the `stream` of the last call."""
    answer = ctypes.c_size_t()
    DRIVER[f"optc_fake_cuda_{count}"](ctypes.byref(answer))
    return answer.value


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The artifact of a rule, with code for devices."""

    def make(rule: str) -> Path:
        path = tmp_path_factory.mktemp("artifacts") / f"{rule}.optc"
        subprocess.run([environ["OPTC_EXCHANGE"], "device", f"std.{rule}", path], check=True)
        return path

    return make


@pytest.fixture(autouse=True)
def streams(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """torch's current stream of each device, which a test may change."""
    current = {0: 0, 1: 0}
    answer = lambda device: SimpleNamespace(cuda_stream=current[device])  # noqa: E731
    monkeypatch.setattr(torch.cuda, "current_stream", answer)
    return current


class Model:
    """The same parameters on the host and on devices, with the same gradients."""

    def __init__(self, source: Path, devices: Iterable[int | None], dtype: torch.dtype, **options: Any) -> None:
        self.generator = torch.Generator().manual_seed(3)
        starts = [self.draw(shape, dtype) for shape in SHAPES] + [self.draw((6, 4), dtype).t()]
        places = list(devices)
        self.host = [put(start, None) for start in starts]
        self.device = [put(start, places[n % len(places)]) for n, start in enumerate(starts)]
        self.on_host = optc.Optimizer(self.host, source, **options)
        self.on_device = optc.Optimizer(self.device, source, **options)

    def draw(self, shape: Iterable[int], dtype: torch.dtype) -> torch.Tensor:
        return torch.randn(tuple(shape), generator=self.generator, dtype=torch.float64).to(dtype)

    def step(self, without: int = -1) -> None:
        for n, (one, other) in enumerate(zip(self.host, self.device)):
            grad = self.draw(one.shape, one.dtype)
            one.grad, other.grad = (None, None) if n == without else (grad, like(grad, other))
        self.on_host.step()
        self.on_device.step()

    def check(self) -> None:
        for one, other in zip(self.host, self.device):
            same(one, other)
            mine, its = self.on_host.state.get(one, {}), self.on_device.state.get(other, {})
            assert mine.keys() == its.keys()
            for key in mine:
                same(mine[key], its[key])
                assert its[key].is_cpu == (key == "step" or other.is_cpu)


def like(tensor: torch.Tensor, param: torch.Tensor) -> torch.Tensor:
    """The tensor where the parameter is."""
    return tensor if param.is_cpu else tensor.clone().as_subclass(type(param))


def same(one: torch.Tensor, other: torch.Tensor) -> None:
    plain = other.detach().as_subclass(torch.Tensor)
    torch.testing.assert_close(plain, one.detach(), rtol=0, atol=0, check_stride=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("rule", "options"), [("adamw", {"weight_decay": 0.1}), ("sgd", {"momentum": 0.9})])
def test_the_same_bits_as_on_the_host(
    artifact: Callable[[str], Path], rule: str, options: dict[str, float], dtype: torch.dtype
) -> None:
    model = Model(artifact(rule), [0], dtype, lr=0.01, **options)
    before = asked("launches")
    for n in range(4):
        model.step(without=n)
        model.check()
    assert asked("launches") > before


def test_the_host_and_two_devices_in_one_optimizer(artifact: Callable[[str], Path]) -> None:
    model = Model(artifact("adamw"), [None, 0, 1], torch.float32, lr=0.01)
    for _ in range(3):
        model.step()
    model.check()


def test_torchs_own_stream(artifact: Callable[[str], Path], streams: dict[int, int]) -> None:
    model = Model(artifact("adamw"), [0], torch.float32, lr=0.01)
    for stream in (0, 77, 5):
        streams[0] = stream
        model.step()
        assert asked("stream") == stream
    model.check()


def test_two_groups_go_in_the_right_direction(artifact: Callable[[str], Path]) -> None:
    """`test_mixed_device_dtype` of torch's own tests: a part of the parameters on a device, in two dtypes."""
    inputs = torch.randn(5, generator=torch.Generator().manual_seed(1))
    params = [put(torch.ones(10, 5), 0), put(torch.ones(10), None), put(torch.ones(10, dtype=torch.float64), 1)]
    optimizer = optc.Optimizer(
        [{"params": params[:1]}, {"params": params[1:], "lr": 0.005}], artifact("adamw"), lr=0.01
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        weight, bias, scale = [param.as_subclass(torch.Tensor) for param in params]
        loss = ((weight @ inputs + bias) * scale.float()).square().sum()
        loss.backward()
        for param in params:
            param.grad = like(param.grad, param)
        return loss

    first = closure().item()
    for _ in range(50):
        optimizer.step(closure)
    assert closure().item() < first


def test_state_travels_between_host_and_device(artifact: Callable[[str], Path], tmp_path: Path) -> None:
    model = Model(artifact("adamw"), [0, 1], torch.float32, lr=0.01)
    model.step()
    model.on_device.save(tmp_path / "state")
    model.on_host.load(tmp_path / "state")
    model.step()
    model.on_host.save(tmp_path / "state")
    model.on_device.load(tmp_path / "state")
    model.step()
    model.check()
    model.on_device.load_state_dict(copy.deepcopy(model.on_host.state_dict()))
    model.step()
    model.check()
    written = io.BytesIO()
    torch.save(model.on_host.state_dict(), written)


def test_gradients_that_are_not_finite(artifact: Callable[[str], Path]) -> None:
    param = put(torch.ones(3), 0)
    optimizer = optc.Optimizer([("w", param)], artifact("adamw"), lr=0.01, non_finite="error")
    param.grad = like(torch.tensor([1.0, torch.inf, 1.0]), param)
    with pytest.raises(optc.OptError, match="inf"):
        optimizer.step()
    same(torch.ones(3), param)


def test_what_does_not_fit(artifact: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    param = put(torch.ones(3, 3), 0)
    for source, message, code in [
        ("adamw", "cuda:0", "opt::bind::no_cuda_code"),
        (artifact("muon"), "a matrix product", "opt::bind::cuda_operation"),
    ]:
        with pytest.raises(optc.OptError, match=message) as refused:
            optc.Optimizer([("w", param)], source)
        assert refused.value.code == code
    optimizer = optc.Optimizer([("w", param)], artifact("adamw"))
    param.grad = like(torch.ones(3, 3), param)
    optimizer.step()
    monkeypatch.setattr(type(param.grad), "device", property(lambda _: torch.device("cuda", 1)))
    with pytest.raises(optc.OptError, match="parameter `w` is on cuda:1, not on cuda:0") as refused:
        optimizer.step()
    assert refused.value.code == "opt::python::moved"


def test_a_gradient_elsewhere(artifact: Callable[[str], Path]) -> None:
    host = put(torch.ones(3), None)
    optimizer = optc.Optimizer([("w", host)], artifact("adamw"))
    host.grad = like(torch.ones(3), put(torch.ones(3), 0))
    with pytest.raises(optc.OptError, match="the gradient of `w` is on cuda:0, not on cpu"):
        optimizer.step()
    assert not optimizer.state
