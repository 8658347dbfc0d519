"""State dicts of an earlier version of a rule, in the words of the version that is bound."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch

from ._errors import MigrationWarning
from ._optc import Artifact, Changes

Group = dict[str, Any]
Entry = dict[str, Any]
Layout = list[tuple[str, str, list[int]]]


class Log:
    """What was done, and how often."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def note(self, line: str) -> None:
        self._counts[line] += 1

    def warn(self) -> None:
        """Tells it, after everything was found to fit."""
        counted = sorted(self._counts.items())
        warn(line if count == 1 else f"{line} ({count} times)" for line, count in counted)


def warn(lines: Iterable[str]) -> None:
    """One warning for all that was migrated."""
    text = "\n".join(lines)
    if text:
        warnings.warn(MigrationWarning(text), stacklevel=3)


def changes(group: Group, artifact: Artifact) -> Changes:
    """What has changed since the versions that wrote a group of a state dict."""
    return artifact.changes_since(group.get("versions", {}))


def options(group: Group, artifact: Artifact, since: Changes, log: Log) -> Group:
    """The options of that group by the names of today."""
    found = {key: value for key, value in group.items() if key != "versions"}
    for key in artifact.complete({}):
        if key not in found:
            take(found, key, since.former_options(key), log)
    return keep(found, since.dropped_option, log)


def entry(found: Entry, layout: Layout, since: Changes, log: Log) -> Entry:
    """The state of a parameter likewise."""
    found = dict(found)
    for key, _, shape in layout:
        former, added = since.former(key), since.added(key)
        if key not in found and former is not None:
            take(found, key, [former], log)
        if key not in found and added is not None:
            found[key] = torch.full(shape, added[0])
            log.note(added[1])
    return keep(found, since.dropped, log)


def take(found: dict[str, Any], key: str, names: Iterable[tuple[str, str]], log: Log) -> None:
    """Gives something that has an earlier name its name of today."""
    for name, line in names:
        if name in found:
            found[key] = found.pop(name)
            return log.note(line)


def keep(found: dict[str, Any], dropped: Any, log: Log) -> dict[str, Any]:
    """What is still there."""
    gone = {key: line for key in found if (line := dropped(key)) is not None}
    for line in gone.values():
        log.note(line)
    return {key: value for key, value in found.items() if key not in gone}
