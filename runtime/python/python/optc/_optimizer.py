"""The optimizer: torch's class, with the update of a rule."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from . import _document, _entries, _groups, _migrate, _state
from ._artifact import Source, load
from ._errors import OptError
from ._optc import Artifact, Engine


class Optimizer(torch.optim.Optimizer):
    """Steps parameters by a rule.

    `source` is the path of a `.opt` or `.optc` file, the text of a rule, an `Artifact`, or a name of the standard
    library such as "adamw", or a composition of it such as "Clip(base = AdamW)"; a `.optc` file holds machine code, so open only files that you trust. Keywords are the
    rule's hyperparameters and statics. `groups` gives parameters whose name a pattern finds other options, or another
    rule with `use`:

        optc.Optimizer(model.named_parameters(), "soap", lr=3e-3,
                       groups=[{"pattern": r"norm|bias", "use": "adamw", "lr": 1e-3}])

    All that a run changes is where torch keeps it: options in `param_groups`, state in `state`. Rules that draw random
    numbers draw those of `seed`, the same in every replica and after a resumption.

    A NaN or an infinity in a gradient is computed with; `non_finite="skip"` leaves its parameter out of that step,
    "error" refuses the step.

    What a rule does beside its step is a method: `opt.first_step()` of "sam", `opt.eval()` of a schedule-free rule.
    """

    # Scaled gradients are unscaled inside of `step`, and one with infinities changes nothing.
    _step_supports_amp_scaling = True

    def __init__(
        self,
        params: Any,
        source: Source,
        *,
        optimizer: str | None = None,
        groups: Sequence[dict[str, Any]] | None = None,
        non_finite: Literal["propagate", "error", "skip"] = "propagate",
        maximize: bool = False,
        differentiable: bool = False,
        seed: int = 0,
        **options: Any,
    ) -> None:
        refuse_differentiable(differentiable)
        self._seed = checked_seed(seed)
        self._engine: Engine | None = None
        self._entries: frozenset[str] = frozenset()
        self._artifact = load(source, optimizer)
        self._uses: dict[str, Artifact] = {}
        self._non_finite = checked_policy(non_finite)
        _groups.check_betas(options)
        self._given = {**options, "maximize": maximize}
        members = _groups.for_this_torch(_groups.split(params, groups))
        super().__init__(members, self._complete(self._artifact, self._given))
        self._bind()
        self.__doc__ = _document.docstring(self._artifact)

    # Groups

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group, whose options start from those of the optimizer."""
        if not isinstance(param_group, dict):
            return super().add_param_group(param_group)
        group = dict(param_group)
        if not isinstance(group["params"], (torch.Tensor, set)):
            group["params"] = list(group["params"])
            _groups.check_distinct(group["params"])
            group = _groups.name_apart(group)
        refuse_differentiable(group.get("differentiable", False))
        artifact, _ = self._resolve(group.get("use"))
        options = self._complete(artifact, self._given_to(group, artifact))
        super().add_param_group({**group, **options})
        foreign = set(self.defaults) - set(options) - _groups.BOOKKEEPING - set(group)
        for key in foreign:
            del self.param_groups[-1][key]
        self._rebind_with_new_group()

    def _given_to(self, group: dict[str, Any], artifact: Artifact) -> dict[str, Any]:
        """What was given to the optimizer, and to the group; another rule starts from its own defaults."""
        shared = self._given if artifact is self._artifact else {}
        words = {*statics_of(artifact), "maximize"}
        own = _groups.options_of(group, words)
        return {"maximize": self._given["maximize"], **_groups.over(shared, own)}

    def _rebind_with_new_group(self) -> None:
        """Binds a group that was added later; one that cannot be bound is taken back."""
        if self._engine is None:
            return
        try:
            self._bind()
        except Exception:
            self.param_groups.pop()
            raise

    def _complete(self, artifact: Artifact, given: dict[str, Any]) -> dict[str, Any]:
        """All options of a group. Every rule can maximize, whether it has a word for it or not."""
        versions = {"versions": artifact.versions} if artifact.versions else {}
        if "maximize" in statics_of(artifact):
            return {**artifact.complete(given), **versions}
        rest = {key: value for key, value in given.items() if key != "maximize"}
        return {**artifact.complete(rest), "maximize": given["maximize"], **versions}

    def _resolve(self, use: str | None) -> tuple[Artifact, str | None]:
        """What a group's `use` means: a rule of this optimizer, or another source."""
        if use is None:
            return self._artifact, None
        if use in (name for name, _ in self._artifact.rules):
            return self._artifact, use
        if use not in self._uses:
            self._uses[use] = load(use)
        return self._uses[use], None

    # Binding

    def _bind(self, groups: list[dict[str, Any]] | None = None) -> Engine:
        """Compiles for the parameters as they are."""
        groups = self.param_groups if groups is None else groups
        self._engine = Engine(
            [self._resolve(group.get("use")) for group in groups],
            groups,
            _groups.names_of(groups),
            torch.get_num_threads(),
            self._non_finite,
            self._seed,
        )
        self._entries = frozenset(name for name, _ in self._engine.entries)
        return self._engine

    def _current_engine(self) -> Engine:
        """What was bound, if it still is what the groups say; otherwise it is bound again."""
        engine = self._engine
        if engine is not None and engine.follow(self.param_groups):
            return engine
        return self._bind()

    # Stepping

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step. A closure computes the loss once more, and its result is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if not self._found_inf():
            self._update()
        return loss

    def _found_inf(self) -> bool:
        """Whether a gradient scaler has found that this step must not happen."""
        found = getattr(self, "found_inf", None)
        return found is not None and bool(found)

    @torch._disable_dynamo
    @torch.no_grad()
    def _update(self) -> None:
        self._unscale()
        stepped = self._current_engine().step(self.state)
        # Autograd must notice that the parameters are other ones now.
        torch.autograd.graph.increment_version(stepped)

    def _unscale(self) -> None:
        """Divides gradients by the scale that a gradient scaler left to us."""
        scale = getattr(self, "grad_scale", None)
        if scale is None:
            return
        params = [param for group in self.param_groups for param in group["params"]]
        for param in params:
            if param.grad is not None:
                param.grad.div_(scale)

    # Beside a step

    @torch._disable_dynamo
    @torch.no_grad()
    def run_entry(self, name: str, /, **given: Any) -> None:
        """Does what the rule says beside its step, such as SAM's `first_step` or `eval` of a schedule-free rule.

        `given` are its inputs by name: numbers, and for tensors one for each parameter, as a list in the order of
        `param_groups` (None leaves the parameter out) or as a dict from parameters or their names. An entry that reads
        gradients leaves parameters without one as they are. Steps are not counted.

        An entry whose name is free is a method too: `opt.first_step()`.
        """
        engine = self._current_engine()
        numbers, tensors = _entries.sort(name, given, engine, self.param_groups)
        changed = engine.run_entry(self.state, name, numbers, tensors)
        torch.autograd.graph.increment_version(changed)

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__.get("_entries", ()):
            return functools.partial(self.run_entry, name)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._entries]

    # State dicts, pickles and files

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads a state dict of this optimizer, or of torch's optimizer with the same state."""
        seal = self.register_load_state_dict_pre_hook(_state.seal)
        try:
            super().load_state_dict(state_dict)
        finally:
            seal.remove()

    def __getstate__(self) -> dict[str, Any]:
        kept = ("_artifact", "_uses", "_non_finite", "_seed", "_entries", "_given")
        return {**super().__getstate__(), **{name: getattr(self, name) for name in kept}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_artifact" not in state:
            state = self._fitting(state)
        else:
            self._engine = None
        super().__setstate__(state)
        self.__doc__ = _document.docstring(self._artifact)

    def _fitting(self, loaded: dict[str, Any]) -> dict[str, Any]:
        """What torch's `load_state_dict` found, made to fit; nothing has changed if it does not."""
        bound = self._engine
        log = _migrate.Log()
        rules = [self._resolve(group.get("use"))[0] for group in self.param_groups]
        since = [_migrate.changes(group, rule) for group, rule in zip(loaded["param_groups"], rules)]
        named = zip(loaded["param_groups"], rules, since)
        groups = _state.fit_groups([_migrate.options(*one, log) for one in named], self.param_groups)
        try:
            engine = self._bind(groups)
            state = _state.fit(dict(loaded["state"]), groups, engine, since, log)
            fitted = {"param_groups": groups, "state": state}
        except Exception:
            self._engine = bound
            raise
        log.warn()
        return fitted

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes options, step counts and state; what the file held before is replaced at once or not at all.

        Rust and C++ read the same file. Parameters and schedulers are not in it.
        """
        self._current_engine().save(Path(path), self.state)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Reads what `save` wrote, here or in Rust or C++; with the parameters of that moment the run continues.

        What the rule's migrations do to a file of an earlier version comes as a `MigrationWarning`.
        """
        engine = self._current_engine()
        options, saved, migrated = engine.load(Path(path))
        state = _state.from_file(saved, self.param_groups, engine)
        for group, values in zip(self.param_groups, options):
            _state.set_options(group, values)
        self.state.clear()
        self.state.update(state)
        _migrate.warn(migrated)

    # How it shows itself

    def __repr__(self) -> str:
        text: str = super().__repr__()
        return text.replace(type(self).__name__, self._artifact.name, 1)

    def _repr_html_(self) -> str:
        uses = [(self._resolve(group.get("use"))[0], group) for group in self.param_groups]
        return _document.html(uses, self._current_engine())


def statics_of(artifact: Artifact) -> set[str]:
    """The names of a rule's choices."""
    return {name for name, *_ in artifact.statics}


def refuse_differentiable(wanted: bool) -> None:
    """A compiled step has no gradient of its own."""
    if wanted:
        raise OptError(
            "differentiable=True is not possible: the step runs in compiled kernels that autograd does not see",
            code="opt::python::differentiable",
            help="use one of torch's optimizers where the step itself needs a gradient",
        )


def checked_seed(seed: int) -> int:
    """A seed has 64 bits."""
    if isinstance(seed, int) and 0 <= seed < 2**64:
        return seed
    raise OptError(
        f"`seed` is {seed!r}", code="opt::python::seed", help="give a whole number from 0 to 18446744073709551615"
    )


def checked_policy(word: str) -> str:
    """What is to be done about gradients that are not finite."""
    known = ("propagate", "error", "skip")
    if word in known:
        return word
    raise OptError(
        f"`non_finite` is {word!r}", code="opt::python::non_finite", help=f"it is one of {', '.join(known)}"
    )
