"""The property above all: a deed stopped at any step leaves nothing behind, and succeeds when it is run again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fakes.host import FakeHost, Fault, Killed
from tests.fakes.node import Node, NodeMaker, Picture
from vafnebula import errors, names
from vafnebula.model import Settings
from vafnebula.node.host import Host

Deed = Callable[[Host, Any, Settings], "dict[str, object]"]
MODES = ("thin", "thick")
FAULTS = ("fail", "interrupt", "broken", "kill")
UNDONE = ("fail", "interrupt")  # after these the deed could still undo what it did


def matrix(
    clean: Sequence[Callable[[Node], Any]], after_a_crash: Sequence[Callable[[Node], Any]] = ()
) -> pytest.MarkDecorator:
    """Starting states by mode by kind of fault; a second crash on top of a first one teaches nothing new."""
    cases = [(start, mode, kind) for start in clean for mode in MODES for kind in FAULTS]
    cases += [(start, mode, kind) for start in after_a_crash for mode in MODES for kind in UNDONE]
    names = ["-".join((start.__name__, mode, kind)) for start, mode, kind in cases]
    return pytest.mark.parametrize(("start", "mode", "kind"), cases, ids=names)


def nothing_left(node: Node, before: Picture) -> None:
    """Nothing is there that was not there before, but for a finished origin."""
    after = node.picture()
    for name, volume in after.volumes.items():
        if before.volumes.get(name) != volume:
            assert is_finished_origin(name, volume), f"{name} is left behind"
    new_files = {f: held for f, held in after.files.items() if before.files.get(f) != held}
    assert new_files == {}


def is_finished_origin(name: str, volume: tuple[object, ...]) -> bool:
    kind, _, origin, tags, readonly = volume
    assert isinstance(tags, frozenset)
    ours = name.startswith((names.ORIGIN_PREFIX, names.FILL_PREFIX)) and names.COMPLETE in tags
    return ours and kind in ("thin", "linear") and not origin and readonly is True


@dataclass(frozen=True)
class Case:
    """`prepare` makes the starting state and returns the request; `check` says whether the deed's result is right.

    `left` judges the node after the stopped run by the picture before it.
    """

    deed: Deed
    prepare: Callable[[Node], Any]
    check: Callable[[Node], None]
    left: Callable[[Node, Picture], None] = nothing_left
    settled: bool = True  # the same request, once more, changes nothing
    heals: str = ""  # a step whose failure the deed itself gets over


def survives(case: Case, make_node: NodeMaker, mode: str, kind: str) -> None:
    """Stop the deed by `kind` at every step, then run it again, and once more."""
    for step in range(1, _steps(case, make_node(mode)) + 1):
        node = make_node(mode)
        request = case.prepare(node)
        before = node.picture()
        host = node.host(Fault(step, kind))
        try:
            case.deed(host, request, node.settings)
        except (errors.Error, Killed):
            pass
        else:
            assert host.steps[step - 1] == case.heals, f"it went on after {host.steps[step - 1]} had failed"
            continue
        if kind in UNDONE:
            case.left(node, before)
        case.deed(node.host(), request, node.settings)
        case.check(node)
        if case.settled:
            changes_nothing(case.deed, node, request)
            continue
        case.deed(node.host(), request, node.settings)
        case.check(node)


def _steps(case: Case, node: Node) -> int:
    request = case.prepare(node)
    host = node.host()
    case.deed(host, request, node.settings)
    case.check(node)
    return len(host.steps)


def changes_nothing(deed: Deed, node: Node, request: Any) -> FakeHost:
    """Run a finished deed once more."""
    before, host = node.picture(), node.host()
    deed(host, request, node.settings)
    assert node.picture() == before
    assert host.changes == [] or deed.__name__ == "delete"
    assert host.copies == host.formats == []
    return host


def killed(deed: Deed, node: Node, request: Any, step: int | str) -> None:
    """A run that dies when `step` has had its effect."""
    with contextlib.suppress(Killed):
        deed(node.host(Fault(step, "kill")), request, node.settings)
        raise AssertionError(f"there was no step {step}")
