"""Libraries that would compile their steps run them as they are written: the result is the same, and no C++ compiler is needed."""

from __future__ import annotations

import heavyball.utils
import torch._dynamo

torch._dynamo.config.disable = True
heavyball.utils.compile_mode = None
heavyball.utils.compile_mode_recommended_to_none = None
