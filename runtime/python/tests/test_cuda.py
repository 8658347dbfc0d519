"""Parameters on CUDA devices that are not there: `on_device.py`, beside a driver whose devices are the host.

The loader takes the first `libcuda.so.1` of its path, which it reads when a process starts; so these tests have one of
their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_parameters_on_devices(tmp_path: Path) -> None:
    program = os.environ.get("OPTC_EXCHANGE")
    assert program, "OPTC_EXCHANGE names the program `optc-exchange`: run `make test-python`"
    driver = Path(program).parent / "examples" / "libcuda.so"
    assert driver.exists(), "`make test-python` builds the example `cuda` of optc-capi"
    (tmp_path / "libcuda.so.1").symlink_to(driver)
    path = os.environ.get("LD_LIBRARY_PATH", "")
    environment = {**os.environ, "LD_LIBRARY_PATH": f"{tmp_path}:{path}", "OPTC_FAKE_CUDA": "std.adamw,std.sgd"}
    tests = Path(__file__).with_name("on_device.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
