"""State dicts of an earlier version of a rule, in the words of the version that is bound."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable
from typing import Any

from ._errors import MigrationWarning
from ._optc import Artifact

# The version of a rule that names none.
FIRST = "1"

Group = dict[str, Any]
Entry = dict[str, Any]
Change = tuple[str, str, str, float]


class Added(float):
    """The value of state that a migration adds; its shape is known once the rule is bound."""


class Log:
    """What was done, and how often."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def note(self, line: str, times: int) -> None:
        self._counts[line] += times

    def warn(self) -> None:
        """Tells it, after everything was found to fit."""
        counted = sorted(self._counts.items())
        warn(line if count == 1 else f"{line} ({count} times)" for line, count in counted)


def warn(lines: Iterable[str]) -> None:
    """One warning for all that was migrated."""
    text = "\n".join(lines)
    if text:
        warnings.warn(MigrationWarning(text), stacklevel=3)


def options(group: Group, artifact: Artifact, log: Log) -> Group:
    """The options of a group that a state dict holds, migrated from the version that it names."""
    migrated = dict(group)
    for change in artifact.changes_since(version_of(group)):
        if change[0] != "add":
            migrated = apply(change, migrated, artifact, version_of(group), log)
    migrated.pop("version", None)
    return migrated


def entry(found: Entry, group: Group, artifact: Artifact, log: Log) -> Entry:
    """The state of a parameter of that group, migrated likewise."""
    for change in artifact.changes_since(version_of(group)):
        found = apply(change, found, artifact, version_of(group), log)
    return found


def version_of(group: Group) -> str:
    """The version of the rule that wrote a group."""
    version: str = group.get("version", FIRST)
    return version


def apply(change: Change, found: Entry, artifact: Artifact, version: str, log: Log) -> Entry:
    """A dict with one change made, if it concerns it."""
    kind, old, new, value = change
    names = [split_mode(key)[0] for key in found]
    if kind == "add":
        times = int(new not in names)
        changed = {**found, new: Added(value)} if times else found
    else:
        times = names.count(old)
        kept = {key: item for key, item in found.items() if kind == "rename" or split_mode(key)[0] != old}
        changed = {rename(key, old, new): item for key, item in kept.items()}
    if times:
        log.note(f"{artifact.name} {version} -> {artifact.version}: {describe(change)}", times)
    return changed


def rename(key: str, old: str, new: str) -> str:
    """A key under its new name, if it is of that state."""
    name, mode = split_mode(key)
    return new + mode if name == old else key


def split_mode(key: str) -> tuple[str, str]:
    """State of a mode is `NAME.INDEX`: its name, and the rest."""
    name, dot, mode = key.rpartition(".")
    return (name, dot + mode) if dot and mode.isdigit() else (key, "")


def describe(change: Change) -> str:
    """A change as the source says it."""
    kind, old, new, value = change
    return {"rename": f"rename {old} -> {new}", "drop": f"drop {old}", "add": f"add {new} = {value:g}"}[kind]
