"""Command lines: all that a real OpenNebula sent, and what must never get through."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula import errors, units
from vafnebula.tm import argv

CALLS = [
    tuple(line.split(" "))
    for line in (Path(__file__).parents[2] / "data/tm-calls.txt").read_text().splitlines()
    if not line.startswith("#")
]
STUBS = "/var/lib/one/remotes/tm/fs_lvm_snap"
SOURCE = "vm:/var/lib/one//datastores/101/0bc4"
DISK = "node1:/var/lib/one//datastores/100/3/disk.0"


def parse(name: str, *arguments: str) -> argv.Call:
    return argv.parse(f"{STUBS}/{name}", arguments)


@pytest.mark.parametrize("recorded", CALLS, ids=" ".join)
def test_every_recorded_call_is_understood(recorded: tuple[str, ...]) -> None:
    _, action, *arguments = recorded
    call = parse(action, *arguments)
    assert call.verb == action.split(".")[0]
    assert call.directory == f"/var/lib/one/datastores/{call.sds}/{call.vm}"
    assert call.root == "/var/lib/one/datastores"
    assert [str(call.vm), str(call.datastore)] == [a for a in arguments if a.isdigit()][-2:]


def test_the_recordings_hold_what_they_should() -> None:
    """Each action, one with a suffix, a directory, several system datastores and hosts."""
    parsed = [parse(action, *arguments) for _, action, *arguments in CALLS]
    assert {call.verb for call in parsed} == set(argv.SHAPES) - {"restore", "failmigrate"}  # which were never recorded
    assert any("." in action for _, action, *_ in CALLS)
    assert any(call.disk < 0 for call in parsed)
    assert {call.sds for call in parsed} == {100, 102, 104}
    assert {call.host for call in parsed} == {"localhost", "node1", "node2", "vm"}


def test_backup_and_restore() -> None:
    directory = "node1:/var/lib/one//datastores/100/3"
    call = parse("prebackup_live", directory, "0:2", "one-3", "-", "3", "100")
    assert (call.disk, call.disks, call.datastore) == (-1, (0, 2), 100)
    assert call.title == "prebackup_live of the VM on node1"
    call = parse("restore", directory, "3", "16", "-1", "2")
    assert (call.backup, call.increment, call.disk, call.datastore) == (16, -1, 2, 100)
    assert parse("restore", directory, "3", "16", "4", "-1").disk == -1


def test_clone() -> None:
    assert parse("clone", SOURCE, DISK, "3", "101") == argv.Call(
        verb="clone",
        host="node1",
        vm=3,
        disk=0,
        sds=100,
        datastore=101,
        root="/var/lib/one/datastores",
        directory="/var/lib/one/datastores/100/3",
        source="/var/lib/one/datastores/101/0bc4",
        remotes="/var/lib/one/remotes",
    )


def test_mv() -> None:
    """A migration to another system datastore, and the directory's line to the front-end."""
    old, new = "node1:/var/lib/one//datastores/100/3", "node2:/var/lib/one//datastores/104/3"
    call = parse("mv.trace", f"{old}/disk.1", f"{new}/disk.1", "3", "101")
    assert (call.from_host, call.from_sds, call.from_directory) == ("node1", 100, "/var/lib/one/datastores/100/3")
    assert (call.host, call.sds, call.directory) == ("node2", 104, "/var/lib/one/datastores/104/3")
    assert (call.disk, call.datastore) == (1, 101)
    assert parse("mv", old, "vm:/var/lib/one/datastores/100/3", "3", "100").disk == -1


@pytest.mark.parametrize(
    ("source", "destination", "ds"),
    [
        ("n1:/ds/100/3/disk.1", "n2:/ds/100/3/disk.2", "101"),
        ("n1:/ds/100/3/disk.1", "n2:/ds/100/3", "100"),
        ("n1:/ds/100/4/disk.1", "n2:/ds/100/3/disk.1", "101"),
        ("n1:/ds/100/3", "n2:/ds/104/3", "100"),
        ("n1:/ds/100/3/../3", "n2:/ds/104/3", "104"),
    ],
)
def test_a_move_of_one_thing_to_another_is_refused(source: str, destination: str, ds: str) -> None:
    with pytest.raises(errors.BadArgument):
        parse("mv", source, destination, "3", ds)


def test_live_migration() -> None:
    call = parse("premigrate", "node1", "node2", "/var/lib/one//datastores/100/3", "3", "100")
    assert (call.from_host, call.host, call.sds, call.disk) == ("node1", "node2", 100, -1)
    assert (call.remotes, call.caller) == ("/var/lib/one/remotes", "")
    assert parse("postmigrate", "node1", "node2", "/ds/100/3", "3", "100", "ssh").caller == "ssh"
    for wrong in ("/ds/100/3/disk.0", "/ds/100/4", "ds/100/3"):
        with pytest.raises(errors.BadArgument):
            parse("failmigrate", "node1", "node2", wrong, "3", "100")
    with pytest.raises(errors.BadArgument):
        parse("failmigrate", "node1", "node2", "/ds/100/3", "3", "100", "../ssh")


def test_volatile_disks() -> None:
    swap, image = parse("mkswap", "16", DISK, "3", "100"), parse("mkimage", "20", "raw", DISK, "3", "100")
    assert (swap.size, swap.format, swap.source) == (16 * units.MIB, "", "")
    assert (image.size, image.format) == (20 * units.MIB, "raw")


def test_mvds_has_no_host_before_its_source() -> None:
    call = parse("mvds", DISK, "/var/lib/one//datastores/101/0bc4", "3", "101")
    assert call.source == "/var/lib/one/datastores/101/0bc4"
    with pytest.raises(errors.BadArgument, match="absolute"):
        parse("mvds", DISK, SOURCE, "3", "101")
    with pytest.raises(errors.BadArgument, match="absolute"):
        parse("mvds", DISK, "", "3", "101")


def test_delete_of_a_directory_and_of_a_disk() -> None:
    assert parse("delete", DISK, "3", "101").disk == 0
    assert parse("delete", "node1:/var/lib/one//datastores/100/3", "3", "100").disk == -1
    assert parse("delete", "node1:/var/lib/one//datastores/100/3//", "3", "100").disk == -1


@pytest.mark.parametrize("name", ["clone", "clone.ssh", "clone.fs_lvm_snap", "clone.a.b"])
def test_a_suffix_names_another_driver_and_changes_nothing(name: str) -> None:
    assert parse(name, SOURCE, DISK, "3", "101").verb == "clone"


@pytest.mark.parametrize("name", ["move", "move.clone", "", ".clone", "clone~", "-clone", "monitor"])
def test_another_action_is_refused(name: str) -> None:
    with pytest.raises(errors.BadArgument, match="action"):
        parse(name, SOURCE, DISK, "3", "101")


def test_the_image_is_looked_for_below_the_nodes_root() -> None:
    """A self-contained front-end keeps its datastores elsewhere than the nodes."""
    source = "fe:/srv/cloud/one/var//datastores/101/0bc4"
    call = parse("clone", source, "node1:/var/lib/one/datastores/100/3/disk.0", "3", "101")
    assert call.image == "/var/lib/one/datastores/101/0bc4"


@pytest.mark.parametrize("source", ["/srv/images/0bc4", "/srv/images/1101/0bc4", "/0bc4"])
def test_an_image_outside_its_datastore_is_taken_as_it_is(source: str) -> None:
    assert parse("clone", f"fe:{source}", DISK, "3", "101").image == source


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (("clone",), "expected FE:SOURCE HOST:SDIR/disk.N VM DS"),
        (("clone", SOURCE, DISK, "3", "101", "extra"), "number of arguments 5"),
        (("delete", DISK, "3"), r"HOST:SDIR\[/disk.N\] VM DS"),
        (("clone", SOURCE, DISK, "4", "101"), "does not belong to VM 4"),
        (("clone", SOURCE, DISK, "3x", "101"), "VM '3x'"),
        (("clone", SOURCE, DISK, "-3", "101"), "VM '-3'"),
        (("clone", SOURCE, DISK, "3", ""), "DS ''"),
        (("clone", SOURCE, DISK, "3", "99999999999"), "DS"),
        (("mkswap", "16", DISK, "3", "101"), "the destination is in datastore 100"),
        (("mkimage", "16", "raw", DISK, "3", "101"), "the destination is in datastore 100"),
        (("delete", "node1:/var/lib/one/datastores/100/3", "3", "101"), "the destination is in datastore 100"),
        (("prebackup", DISK, "0", "one-3", "-", "3", "100"), "expected <datastores>"),
        (("prebackup", "node1:/var/lib/one/datastores/100/3", "0:0", "one-3", "-", "3", "100"), "named twice"),
        (("prebackup", "node1:/var/lib/one/datastores/100/3", "0:x", "one-3", "-", "3", "100"), "disk 'x'"),
        (("restore", "node1:/var/lib/one/datastores/100/3", "3", "-1", "0", "0"), "IMAGE '-1'"),
        (("snap_revert", DISK, "-1", "3", "101"), "SNAPID '-1'"),
        (("cpds", DISK, "/var/lib/one/datastores/101/x", "-2", "3", "101"), "SNAPID '-2'"),
        (("mkswap", "0", DISK, "3", "100"), "SIZE '0'"),
        (("mkimage", "20", "ext4", DISK, "3", "100"), "FORMAT 'ext4' .*DISK/FS"),
        (("mkimage", "20", "", DISK, "3", "100"), "FORMAT ''"),
        (("clone", SOURCE, "node1:/var/lib/one/datastores/100/3/kernel", "3", "101"), "another TM_MAD"),
        (("clone", SOURCE, "node1:/var/lib/one/datastores/100/3/initrd", "3", "101"), "another TM_MAD"),
        (("clone", SOURCE, "node1:/var/lib/one/datastores/100/3", "3", "101"), "expected <datastores>"),
        (("clone", SOURCE, DISK + ".snap", "3", "101"), "expected <datastores>"),
        (("clone", SOURCE, DISK + ".snap/0", "3", "101"), "expected <datastores>"),
        (("clone", SOURCE, DISK + "/../..", "3", "101"), r"contain \. or \.\."),
        (("clone", "vm:/var/lib/one/../../etc/shadow", DISK, "3", "101"), r"contain \. or \.\."),
        (("clone", SOURCE, "node1:/var/lib/one/datastores/100/3/./disk.0", "3", "101"), r"contain \. or \.\."),
        (("clone", SOURCE, "node1:var/lib/one/datastores/100/3/disk.0", "3", "101"), "absolute"),
        (("clone", SOURCE, "node1:/100/3/disk.0", "3", "101"), "expected <datastores>"),
        (("clone", SOURCE, "/var/lib/one/datastores/100/3/disk.0", "3", "101"), "HOST:PATH"),
        (("clone", "/var/lib/one/datastores/101/0bc4", DISK, "3", "101"), "HOST:PATH"),
        (("clone", SOURCE, ":/var/lib/one/datastores/100/3/disk.0", "3", "101"), "host ''"),
        (("clone", SOURCE, "-oProxyCommand=reboot:/x/100/3/disk.0", "3", "101"), "host '-oProxyCommand=reboot'"),
        (("clone", SOURCE, "root@node1:/x/100/3/disk.0", "3", "101"), "not a host name"),
        (("clone", SOURCE, "node1;reboot:/x/100/3/disk.0", "3", "101"), "not a host name"),
        (("clone", SOURCE, "node1:/x/100/3/disk.00", "3", "101"), "disk '00'"),
        (("clone", SOURCE, "node1:/x/100/03/disk.0", "3", "101"), "VM '03'"),
        (("clone", SOURCE, "node1:/x/0100/3/disk.0", "3", "101"), "datastore '0100'"),
        (("clone", "vm:/images/with blank", DISK, "3", "101"), "without blanks"),
        (("clone", "vm:/images/a:b", DISK, "3", "101"), "colons"),
        (("clone", "vm:/images/\x1b[31m", DISK, "3", "101"), "control"),
        (("clone", "vm:/images/a\nINFO: 7", DISK, "3", "101"), "control"),
        (("clone", "vm:/" + "x" * 2000, DISK, "3", "101"), "short"),
    ],
)
def test_what_is_malformed_or_hostile_is_refused(call: tuple[str, ...], why: str) -> None:
    with pytest.raises(errors.BadArgument, match=why):
        parse(*call)


ids = st.integers(0, 2**31 - 1)
slashes = st.sampled_from(["/", "//", "///"])
words = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,15}", fullmatch=True)


@given(st.lists(words, min_size=1, max_size=4), slashes, words, ids, ids, ids, ids)
def test_any_place_is_read_back(
    root: list[str], slash: str, host: str, sds: int, vm: int, disk: int, image: int
) -> None:
    where = slash + slash.join([*root, str(sds), str(vm), f"disk.{disk}"])
    call = parse("clone", f"fe:/srv/{image}/file", f"{host}:{where}", str(vm), str(image))
    assert (call.host, call.sds, call.vm, call.disk, call.datastore) == (host, sds, vm, disk, image)
    assert call.root == "/" + "/".join(root)
    assert call.directory == f"{call.root}/{sds}/{vm}"
    assert call.image == f"{call.root}/{image}/file"


texts = st.text(st.characters(codec="utf-8")) | st.sampled_from(
    [SOURCE, DISK, "3", "101", "100", "raw", "node1:/x/100/3", "/x/101/y", "node1:/x/100/3/disk.1/../..", "-h", ""]
)


@given(st.sampled_from([*argv.SHAPES, "mv", "clone.ssh"]), st.lists(texts, max_size=6))
def test_any_words_are_refused_or_harmless(name: str, arguments: list[str]) -> None:
    try:
        call = parse(name, *arguments)
    except errors.BadArgument as e:
        assert str(e).isprintable()
        return
    assert not call.host.startswith("-")
    assert call.host.isascii()
    for path in filter(None, (call.directory, call.source, call.image)):
        assert path.startswith("/")
        assert path.isprintable()
        assert not {"", ".", ".."} & set(path.split("/")[1:]) or path == "/"
        assert " " not in path
