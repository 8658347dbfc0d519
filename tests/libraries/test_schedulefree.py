"""schedulefree (Defazio and others), whose wrapper makes any optimizer of torch schedule-free."""

from __future__ import annotations

from typing import Any

import schedulefree as sf
import torch
from bounds import ELEMENTWISE
from trial import DECAY, TENSORS, Pair, different, pair, same, trained


def around(base: Any, averaging: dict[str, Any]) -> Any:
    """The package's wrapper around an optimizer of torch."""
    return trained(lambda params, **options: sf.ScheduleFreeWrapper(base(params, **options), **averaging))


def wrapped(name: str, base: Any, rule: str, options: dict[str, Any], averaging: dict[str, Any]) -> Pair:
    names = {"momentum": "beta", "weight_decay_at_y": "averaged_decay"}
    ours = {names.get(key, key): value for key, value in averaging.items()}
    source = f"ScheduleFree(base = {rule})"
    # It cannot swap scalars, and no base whose state is made at the first step, as that of torch's Adam, works inside it.
    return pair(name, around(base, averaging), source, options, ours=ours, shapes=TENSORS, absent=False, bound=ELEMENTWISE)


AVERAGING = {"momentum": 0.8, "weight_decay_at_y": 0.1, "r": 0.5}

SAME = [
    pair("AdamW", trained(sf.AdamWScheduleFree), "schedule_free_adamw", {**DECAY, "warmup_steps": 3}, theirs={"foreach": False}),
    pair("AdamW, lists", trained(sf.AdamWScheduleFree), "schedule_free_adamw", {**DECAY, "r": 1.0, "weight_lr_power": 1.0, "eps": 1e-3}),
    pair("AdamW, reference", trained(sf.AdamWScheduleFreeReference), "schedule_free_adamw", DECAY),
    pair("AdamW, paper", trained(sf.AdamWScheduleFreePaper), "schedule_free_adamw", {**DECAY, "warmup_steps": 4}, ours={"correct_rate": True}),
    pair("RAdam", trained(sf.RAdamScheduleFree), "schedule_free_radam", {**DECAY, "r": 0.5}),
    pair("RAdam, not silent", trained(sf.RAdamScheduleFree), "schedule_free_radam", {**DECAY, "silent_sgd_phase": False}),
    pair("SGD", trained(sf.SGDScheduleFree), "schedule_free_sgd", {"lr": 0.2, "weight_decay": 0.1, "r": 1.0, "warmup_steps": 4}),
    pair("SGD, composed", trained(sf.SGDScheduleFree), "schedule_free", {"lr": 0.2}, theirs={"weight_decay": 0.1}, ours={"averaged_decay": 0.1}),
    wrapped("wrapper, SGD with momentum", torch.optim.SGD, "Sgd", {"lr": 0.1, "momentum": 0.5}, AVERAGING),
    wrapped("wrapper, Adagrad with decay", torch.optim.Adagrad, "Adagrad", {"lr": 0.1, "weight_decay": 0.05}, {"weight_lr_power": 1}),
]

DIFFERENT = [pair("AdamW of the paper corrects the rate", trained(sf.AdamWScheduleFreePaper), "schedule_free_adamw", DECAY)]

test_same = same(SAME)
test_different = different(DIFFERENT)
