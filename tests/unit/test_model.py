from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula import errors
from vafnebula.model import (
    VERBS,
    Clone,
    Delete,
    DiskRef,
    Image,
    Link,
    MakeImage,
    MakeSwap,
    Order,
    Reply,
    Save,
    Settings,
    request_class,
)
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
from vafnebula.model_points import PostBackup, PreBackup, Resize, Restore, SaveAs, SnapCreate, SnapDelete, SnapRevert

VERSION = "1.2.3"
DISK = DiskRef(7, 1, 2, 100, "/ds/100/7")
IMAGE = Image(1, "/ds/1/img")
PLACE = Place("n1", 100, "/ds/100/7", "/usr/bin/python3", "/var/tmp/one", 10)
REQUESTS = [
    Clone(DISK, IMAGE, 0),
    Link(DISK, IMAGE, 4096, True),
    MakeSwap(DISK, 4096, "swap"),
    MakeImage(DISK, 4096, "xfs", ""),
    Save(DISK, IMAGE),
    Delete(7, -1, 100, "/ds/100/7"),
    SnapCreate(DISK, 3),
    SnapDelete(DISK, 3),
    SnapRevert(DISK, 3),
    Resize(DISK, 4096),
    SaveAs(DISK, IMAGE, -1),
    PreBackup(7, -1, 100, "/ds/100/7", "/ds/100/7/backup", [0, 2], 1, True, True, "eA=="),
    PostBackup(7, -1, 100, "/ds/100/7", "/ds/100/7/backup", [], -1, False),
    Restore(7, -1, 100, "/ds/100/7", [0]),
    Survey("/ds"),
    Inspect(["/ds/1/img"]),
    Warm(100, IMAGE, 0, True),
    Pin(100, "abc", False),
    Evict(100, "abc"),
    Scrub(100, "abc", "/ds"),
    Settle(100, "abc"),
    Relink(DISK),
    Move(7, 1, 2, 100, "/ds/100/7", PLACE),
    Offer(7, 1, 100, "/ds/100/7", True),
    Send(7, 1, 100, "/ds/100/7", ["lv-one-7-1"], ["origin"], False),
    Receive(7, 1, 2, 100, "/ds/100/7"),
    Drop(7, -1, 100, "/ds/100/7", ["lv-one-7-1"], False),
    Premigrate(7, -1, 2, 100, "/ds/100/7", PLACE),
    Postmigrate(7, -1, 2, 100, "/ds/100/7", PLACE),
    Failmigrate(7, -1, 2, 100, "/ds/100/7"),
    Activate(-1, -1, "/ds"),
]


def test_every_verb_is_tried_here() -> None:
    assert {type(r) for r in REQUESTS} == {request_class(verb) for verb in VERBS}


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: r.verb)
def test_an_order_arrives_as_it_was_sent(request_: Any) -> None:
    order = Order(VERSION, request_, Settings(mode="thick", verify=True, lock_dir="/x"))
    assert Order.from_json(order.to_json(), VERSION) == order


@given(st.text(), st.text(), st.dictionaries(st.text(), st.integers() | st.text() | st.booleans() | st.none()))
def test_a_reply_arrives_as_it_was_sent(error: str, text: str, facts: dict[str, Any]) -> None:
    reply = Reply(VERSION, error, text, facts)
    assert Reply.from_json(reply.to_json()) == reply


def test_a_disk_knows_its_names() -> None:
    assert (DISK.vg, DISK.volume, DISK.device) == ("vg-one-100", "lv-one-7-1", "/dev/vg-one-100/lv-one-7-1")
    assert DISK.link == "/ds/100/7/disk.1"


def body(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(Order(VERSION, REQUESTS[0]).to_json())
    return {**made, **changes}


def refused(value: Any) -> str:
    with pytest.raises(errors.BadArgument) as refusal:
        Order.from_json(value if isinstance(value, bytes) else json.dumps(value).encode(), VERSION)
    return str(refusal.value)


@pytest.mark.parametrize("text", [b"", b"{", b"null", b"[]", b"7", b'"x"', b"{}", b"\xff\xfe", b'{"version": "1.2.3"}'])
def test_what_is_not_an_order_is_refused(text: bytes) -> None:
    assert "malformed" in refused(text)


@pytest.mark.parametrize("verb", ["", "format", None, 7, ["clone"], {"clone": 1}])
def test_an_unknown_verb_is_refused(verb: Any) -> None:
    assert "unknown" in refused(body(verb=verb))


@pytest.mark.parametrize("missing", ["size", "disk", "image"])
def test_a_missing_key_is_refused(missing: str) -> None:
    request = body()["request"]
    del request[missing]
    assert "keys do not match" in refused(body(request=request))


def test_an_unknown_key_is_refused_at_every_depth() -> None:
    request, settings = body()["request"], body()["settings"]
    assert "Clone" in refused(body(request={**request, "extra": 1}))
    assert "DiskRef" in refused(body(request={**request, "disk": {**request["disk"], "extra": 1}}))
    assert "Settings" in refused(body(settings={**settings, "extra": 1}))


@pytest.mark.parametrize("value", ["0", 0.0, None, True, [0], {}])
def test_a_number_of_another_type_is_refused(value: Any) -> None:
    assert "not of type int" in refused(body(request={**body()["request"], "size": value}))


@pytest.mark.parametrize("field", [f.name for f in fields(Settings)])
def test_every_setting_has_its_type(field: str) -> None:
    refused(body(settings={**body()["settings"], field: None}))
    refused(body(settings={**body()["settings"], field: [1]}))


@pytest.mark.parametrize("value", [None, [], 7, "x"])
def test_a_record_that_is_no_object_is_refused(value: Any) -> None:
    refused(body(request=value))
    refused(body(settings=value))


@pytest.mark.parametrize("version", ["1.2.4", "", None, 1])
def test_a_sender_of_another_version_is_told_to_sync(version: Any) -> None:
    with pytest.raises(errors.NodePackage, match="onehost sync -f"):
        Order.from_json(json.dumps(body(version=version, verb="unknown to us")).encode(), VERSION)


@pytest.mark.parametrize("text", [b"", b"bash: python3: command not found", b"[]", b'{"version": 1}', b"\xff"])
def test_an_answer_that_is_not_ours_is_said_so(text: bytes) -> None:
    with pytest.raises(errors.NodePackage, match="not ours"):
        Reply.from_json(text)


def test_a_reply_with_another_key_is_not_ours() -> None:
    with pytest.raises(errors.NodePackage):
        Reply.from_json(json.dumps({**asdict(Reply(VERSION)), "extra": 1}).encode())


def test_records_do_not_change() -> None:
    with pytest.raises(AttributeError):
        DISK.vm = 8  # type: ignore[misc]
    assert replace(DISK, vm=8).volume == "lv-one-8-1"
