from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.host import Fault
from tests.fakes.lvm import EXTENT, Vg
from tests.fakes.node import Node
from vafnebula import __version__, errors
from vafnebula.model import VERBS, DiskRef, Order, Reply
from vafnebula.model_admin import Evict, Inspect, Pin, Relink, Scrub, Settle, Survey, Warm
from vafnebula.model_moves import (
    Activate,
    Drop,
    Failmigrate,
    Move,
    Offer,
    Place,
    Postmigrate,
    Premigrate,
    Receive,
    Send,
)
from vafnebula.node import main
from vafnebula.node.host import Host


def order(node: Node, request: Any, version: str = __version__) -> bytes:
    return Order(version, request, node.settings).to_json()


def test_a_deed_is_done_and_its_facts_are_told(node: Node) -> None:
    reply = main.answer(order(node, node.clone()), node.host())
    assert (reply.version, reply.error, reply.text) == (__version__, "", "")
    assert (reply.facts["result"], reply.facts["cache"]) == ("made", "miss")
    assert reply.facts["seconds"] > 0
    assert Reply.from_json(reply.to_json()) == reply
    assert node.disk_holds(node.image_content())


def moves(node: Node) -> dict[str, Any]:
    """Requests of the deeds that move a VM: of one that is nowhere yet."""
    old = DiskRef(7, 0, 0, 1, str(node.root / "ds/1/7"))
    there = (7, -1, 1, 0, node.disk().directory)
    with node.lvm.metadata() as vgs:
        vgs["vg-one-1"] = Vg(1 << 30)
    place = Place("", 1, old.directory, "", "", 1)
    return {
        "mv": Move(*there, place),
        "offer": Offer(7, 0, 0, node.disk().directory, held=False),
        "send": Send(7, 0, 0, node.disk().directory, ["lv-one-7-0"], [""], held=False),
        "receive": Receive(*there),
        "drop": Drop(7, -1, 1, old.directory, [], held=False),
        "premigrate": Premigrate(*there, place),
        "postmigrate": Postmigrate(*there, place),
        "failmigrate": Failmigrate(*there),
        "activate": Activate(-1, -1, str(node.root / "ds")),
    }


@pytest.mark.parametrize("verb", VERBS)
def test_every_deed_answers(node: Node, verb: str) -> None:
    requests = {
        "clone": node.clone(8), "ln": node.link(), "mkswap": node.swap(), "mkimage": node.scratch(),
        "mvds": node.save(), "delete": node.delete(-1), "snap_create": node.snap_create(1),
        "snap_delete": node.snap_delete(), "snap_revert": node.snap_revert(), "resize": node.resize(2 * EXTENT),
        "cpds": node.save_as(), "prebackup": node.prebackup(live=False), "postbackup": node.postbackup(),
        "restore": node.restore(), "survey": Survey("/nowhere"), "inspect": Inspect([]),
        "warm": Warm(0, node.image(), 0, False), "pin": Pin(0, node.key(), True), "evict": Evict(0, node.key()),
        "scrub": Scrub(0, node.key(), "/nowhere"), "settle": Settle(0, "x"), "relink": Relink(node.disk()),
        **moves(node),
    }  # fmt: skip
    if verb in ("pin", "evict", "scrub"):
        main.answer(order(node, requests["warm"]), node.host())
    if verb == "relink":
        main.answer(order(node, node.clone()), node.host())
    if verb in ("offer", "send"):
        main.answer(order(node, node.link()), node.host())
    if verb in ("mvds", "snap_create", "snap_delete", "snap_revert", "resize", "cpds", "prebackup"):
        main.answer(order(node, node.link()), node.host())
        main.answer(order(node, node.snap_create()), node.host())
    refused = verb.startswith("snap_") and node.mode == "thick"
    assert main.answer(order(node, requests[verb]), node.host()).error == ("NeedsThin" if refused else "")


def test_an_expected_error_is_an_answer(node: Node) -> None:
    reply = main.answer(order(node, node.clone(size=1)), node.host())
    assert reply.error == "ImageTooLarge"
    assert "at least 2 MB" in reply.text
    assert isinstance(errors.rebuilt(reply.error, reply.text), errors.ImageTooLarge)


def test_another_version_is_an_answer(node: Node) -> None:
    reply = main.answer(order(node, node.clone(), version="0"), node.host())
    assert (reply.error, reply.version) == ("NodePackage", __version__)


def nothing_helps(error: BaseException) -> Fault:
    def fail() -> None:
        raise error

    return Fault(1, "call", fail)


@pytest.mark.parametrize(
    ("error", "name", "text"),
    [
        (RuntimeError("a\0 b\n\udcff"), "Bug", "RuntimeError in clone"),
        (AssertionError(), "Bug", "AssertionError in clone"),
        (RecursionError(), "Bug", "RecursionError in clone"),
        (MemoryError(), "Bug", "MemoryError in clone"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), "Bug", "UnicodeDecodeError in clone"),
        (PermissionError(13, "Permission denied", "/ds/0/7"), "SystemRefused", "/ds/0/7: Permission denied"),
        (OSError("no number"), "SystemRefused", "node: no number"),
        (errors.Interrupted(why="SIGTERM"), "Interrupted", "SIGTERM"),
    ],
)
def test_whatever_a_deed_raises_is_an_answer(node: Node, error: BaseException, name: str, text: str) -> None:
    reply = main.answer(order(node, node.clone()), node.host(nothing_helps(error)))
    assert reply.error == name
    assert text in reply.text
    assert "/main.py" not in reply.text
    assert "Traceback" not in reply.text


@given(st.binary())
def test_any_bytes_are_answered(text: bytes) -> None:
    assert main.answer(text, Host()).error == "BadArgument"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=40)
@given(verb=st.sampled_from(list(VERBS)) | json_values, request=json_values, settings=json_values)
def test_any_json_is_answered(verb: object, request: object, settings: object) -> None:
    body = {"version": __version__, "verb": verb, "request": request, "settings": settings}
    assert main.answer(json.dumps(body).encode(), Host()).error == "BadArgument"


def test_json_without_end_is_answered() -> None:
    assert main.answer(b"[" * 100_000, Host()).error in ("Bug", "BadArgument")


RUN = [sys.executable, "-c", "from vafnebula.node import main; main.main()"]


def test_the_program_answers_one_line_and_ends_well() -> None:
    done = subprocess.run(RUN, input=b"{}", capture_output=True, check=True)
    assert done.stdout.count(b"\n") == 1
    assert Reply.from_json(done.stdout).error == "BadArgument"
    assert done.stderr == b""


def test_when_nobody_reads_the_reply_the_program_still_ends_well() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(RUN, input=b"{}", stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert done.returncode == 0
    assert done.stderr == b""
