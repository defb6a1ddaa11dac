"""What guests can rely on: their disks hold what was asked for, survive a power cut, and cached images stay untouched.

`Site` is also what the other tests of the driver in a lab use: OpenNebula's part, images, and looks at a node.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from tests.contract.opennebula_reader import read_7
from tests.lab.conftest import clean
from vafnebula.errors import LIMIT
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import ROOT, Disk, Done, Image, OpenNebula, Vm, argv, vm_xml
from vafnebula.units import MIB

DATASTORE = 1
THIN, THICK = 100, 200
MODES = pytest.mark.parametrize("sds", [pytest.param(THIN, id="thin"), pytest.param(THICK, id="thick")])
CONF = "remotes/etc/vafnebula/vafnebula.conf"

# PATTERN [PATH SIZE]...: what PATH holds in its first SIZE bytes, what follows them, how often PATTERN is in it
LOOK = """
import hashlib, json, sys
pattern, found = sys.argv[1].encode(), {}
for path, size in zip(sys.argv[2::2], map(int, sys.argv[3::2])):
    digest, position, rest, tail, count = hashlib.md5(), 0, 0, b"", 0
    with open(path, "rb", buffering=0) as device:
        while True:
            piece = device.read(1 << 20)
            if not piece:
                break
            inside = max(0, min(len(piece), size - position))
            digest.update(piece[:inside])
            rest += len(piece) - inside - piece.count(0, inside)
            if pattern:
                count += (tail + piece).count(pattern)
                tail = (tail + piece)[-len(pattern) + 1:]
            position += len(piece)
    found[path] = {"digest": digest.hexdigest(), "rest": rest, "size": position, "count": count}
print(json.dumps(found))
"""
STATE = """
vgs --noheadings -o vg_name,vg_seqno
find /dev -path '/dev/vg-one-*/*' ! -name vaf-thinpool -printf '%p %l\\n' | sort
cd /var/lib/one/datastores
find . -path './[0-9]*' -printf '%p %y %l %s\\n' | sort
"""
# A program of LVM's ($1...) is counted: its arguments and exit code go to /run/calls, which is emptied.
COUNT = """
: >/run/calls
chmod 666 /run/calls
for name; do
    rm -f "/usr/sbin/$name"
    cat >"/usr/sbin/$name" <<'END'
#!/bin/sh
/usr/sbin/lvm "${0##*/}" "$@"
code=$?
echo "${0##*/} $code $*" >>/run/calls
exit $code
END
    chmod 755 "/usr/sbin/$name"
done
"""
UNCOUNT = """
for name; do ln -sf /usr/sbin/lvm "/usr/sbin/$name"; done
cat /run/calls
"""
# dd waits when it has copied half of the file $1, until /tmp/hold is gone; /tmp/held says that it waits
HOLD = """
rm -f /tmp/held
: >/tmp/hold
if [ ! -e /usr/bin/dd.real ]; then cp -p /usr/bin/dd /usr/bin/dd.real; fi
cat >/usr/bin/dd.held <<END
#!/bin/sh
if [ "\\$1" = "if=$1" ]; then
    for word; do
        case \\$word in count=*) half=\\$(((\\${word#count=} + 1) / 2)) ;; esac
    done
    /usr/bin/dd.real "\\$@" "count=\\$half" 2>/dev/null
    : >/tmp/held
    while [ -e /tmp/hold ]; do sleep 0.05; done
fi
exec /usr/bin/dd.real "\\$@"
END
chmod 755 /usr/bin/dd.held
mv /usr/bin/dd.held /usr/bin/dd
"""
AWAIT = "until [ -e /tmp/held ]; do sleep 0.05; done"
LET_GO = """
cp -p /usr/bin/dd.real /usr/bin/dd.free
mv /usr/bin/dd.free /usr/bin/dd
rm /tmp/hold
"""
PROGRAMS = ("lvs", "vgs", "lvcreate", "lvremove", "lvchange", "lvextend", "lvrename")


@dataclass(frozen=True)
class Look:
    """What a device or file holds: a digest of the bytes asked for, and how many others are not zero."""

    digest: str
    rest: int
    size: int
    count: int


class Core(OpenNebula):
    """OpenNebula, whose records may also say what no test lab's Disk can."""

    def record_as(self, vm: Vm, disk: int, **attributes: str) -> None:
        """The VM's record, with other attributes of a disk than its Disk can say."""
        root = ET.fromstring(vm_xml(vm))
        [element] = [d for d in root.iterfind("TEMPLATE/DISK") if d.findtext("DISK_ID") == str(disk)]
        for name, value in attributes.items():
            child = element.find(name)
            if child is None:
                child = ET.SubElement(element, name)
            child.text = value
        self.vms[vm.id] = vm
        self._tell({"vm": vm.id, "xml": ET.tostring(root, encoding="unicode")})


class Site:
    """A lab as its users see it: images are registered, VMs come and go on one node of it."""

    _ids = itertools.count(1001)

    def __init__(self, lab: Lab, core: Core, node: str = "n1") -> None:
        self.lab, self.core, self.node = lab, core, node

    # ---- what there is

    def image(self, name: str, data: bytes, *, persistent: bool = False) -> Image:
        """A registered image that holds `data`; with holes where it is zero for long."""
        path = self.lab.datastore(DATASTORE) / name
        self.lab.put(path, b"")
        self.lab.run(["dd", f"of={path}", "bs=64k", "conv=sparse", "iflag=fullblock", "status=none"], input=data)
        self.lab.run(["truncate", "-s", str(len(data)), str(path)])
        if not self.lab.spec.gluster:
            self.lab.put(path, data)
        return Image(DATASTORE, f"{ROOT}/{DATASTORE}/{name}", len(data), persistent)

    def path(self, image: Image) -> str:
        """The image's file, on front-end and nodes."""
        return image.source.replace("//", "/")

    def vm(self, sds: int, *disks: Disk, host: str = "") -> Vm:
        """A new VM, known to OpenNebula."""
        vm = Vm(next(self._ids), host or self.node, sds, disks)
        self.core.record(vm)
        return vm

    def of(self, sds: int, image: Image, size: int = 0) -> Vm:
        """A new VM with one disk of `image`."""
        return self.vm(sds, Disk(0, image=image, size=size))

    def configure(self, text: str = "") -> None:
        """Put `text` before what the site file says about modes; the front-end alone reads it."""
        modes = "".join(f"[storage {sds}]\nmode = {mode}\n" for sds, mode in self.lab.spec.sds.items())
        self.lab.put(f"/var/lib/one/{CONF}", (text + modes).encode())

    @contextlib.contextmanager
    def configured(self, text: str) -> Iterator[None]:
        self.configure(text)
        try:
            yield
        finally:
            self.configure()

    # ---- what is done

    def act(self, verb: str, vm: Vm, disk: int = 0) -> Done:
        return self.core.act(verb, vm.id, disk)

    def refusal(self, verb: str, vm: Vm, disk: int = 0) -> str:
        """The one line of an action that must fail."""
        return refusal(self.core.start(verb, vm.id, disk).result(600))

    def stub(self, verb: str, vm: Vm, disk: int = 0, **env: str) -> Done:
        """Call an action with more in its environment."""
        done = self.lab.run(argv(verb, vm, disk), env=env, check=False)
        return Done(done.argv, done.code, 0.0, done.out.decode(), done.err.decode())

    def sh(self, script: str, *arguments: str) -> str:
        return self.lab.sh(self.node, script, *arguments)

    # ---- what it looks like on the node

    def link(self, vm: Vm, disk: int = 0) -> str:
        return f"{vm.directory}/disk.{disk}".replace("//", "/")

    def look(self, paths: dict[str, int], pattern: str = "") -> dict[str, Look]:
        """Read devices or files on the node, each with the number of bytes that are of interest."""
        words = [word for path, size in paths.items() for word in (path, str(size))]
        command = ["python3", "-I", "-c", LOOK, pattern, *words]
        done = self.lab.ssh(self.node, command, user="root", timeout=120)
        return {path: Look(**found) for path, found in json.loads(done.out).items()}

    def holds(self, vm: Vm, data: bytes, disk: int = 0) -> bool:
        """Whether the disk holds `data` and nothing but zeros behind it."""
        return self.all_hold([vm], data, disk)

    def all_hold(self, vms: list[Vm], data: bytes, disk: int = 0) -> bool:
        seen = self.look({self.link(vm, disk): len(data) for vm in vms})
        return len(seen) == len(vms) and all((s.digest, s.rest) == (md5(data), 0) for s in seen.values())

    def state(self) -> str:
        """The VGs' sequence numbers and every file below the datastores: equal when nothing was changed."""
        return self.sh(STATE)

    def volumes(self, sds: int) -> dict[str, dict[str, str]]:
        """Name -> what LVM reports, without the thin pool."""
        fields = "lv_name,lv_attr,lv_tags,origin,lv_size,segtype,data_percent"
        report = self.sh(f"lvs --reportformat json --units b --nosuffix -o {fields} vg-one-{sds}")
        rows: list[dict[str, str]] = json.loads(report)["report"][0]["lv"]
        return {row["lv_name"]: row for row in rows if row["lv_name"] != "vaf-thinpool"}

    def origins(self, sds: int) -> dict[str, dict[str, str]]:
        return {name: row for name, row in self.volumes(sds).items() if name.startswith(("vaf-origin-", "vaf-fill-"))}

    @contextlib.contextmanager
    def unchanged(self, *, counters: bool = True) -> Iterator[None]:
        """Nothing is different after the block; without `counters`, the VGs' sequence numbers may be."""
        before = self.state()
        yield
        after = self.state()
        if not counters:
            before, after = (re.sub(r"(?m)^ *(vg-one-\d+) +\d+$", r"\1", text) for text in (before, after))
        assert after == before

    @contextlib.contextmanager
    def held(self, image: Image) -> Iterator[Callable[[], None]]:
        """The copy of an image stops half way, until the block ends; the yielded function waits for that."""
        self.sh(HOLD, self.path(image))
        try:
            yield lambda: self.sh(AWAIT) and None
        finally:
            self.sh(LET_GO)

    @contextlib.contextmanager
    def counted(self) -> Iterator[list[str]]:
        """LVM's commands while the block runs, as `lvcreate 0 ARGUMENTS`; filled in at its end."""
        calls: list[str] = []
        self.sh(COUNT, *PROGRAMS)
        try:
            yield calls
        finally:
            calls += self.sh(UNCOUNT, *PROGRAMS).splitlines()


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def content(seed: str, size: int) -> bytes:
    return hashlib.shake_128(seed.encode()).digest(size)


def holed(seed: str) -> bytes:
    """9 MiB and a bit: data, a hole, data up to an odd length."""
    return content(seed, 2 * MIB) + bytes(6 * MIB) + content(seed + "-", MIB + 777)


def refusal(done: Done) -> str:
    """The line of a failed action, which must be as OpenNebula can take it."""
    assert done.code == 1, done
    assert done.out == ""
    assert done.err.endswith("\n"), done.err
    line = done.err[:-1]
    assert line.isprintable(), line
    assert 0 < len(line) <= LIMIT, line
    assert "Traceback" not in line
    assert ".py" not in line
    assert not re.match(r"(?i)\W*(error|info|warn(ing)?|debug)\b", line), line
    read = read_7(done.err.encode())
    assert (read.info, read.routed) == (line, ())
    return line


def eventually(true: Callable[[], bool], what: str) -> None:
    """Wait for what another process is about to do."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.02)


@contextlib.contextmanager
def site_of(lab: Lab) -> Iterator[Site]:
    """OpenNebula at work in a lab whose first node is clean; clean again afterwards."""
    clean(lab, "n1")
    with Core(lab) as core:
        yield Site(lab, core)
    if lab.running("n1"):
        clean(lab, "n1")
    images = lab.datastore(DATASTORE)
    lab.run(["find", str(images), "-mindepth", "1", "-delete"], user="root")


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    with site_of(lab) as made:
        yield made


@MODES
def test_cached_images_stay_untouched_whatever_is_done_with_them(site: Site, sds: int) -> None:
    data = holed(f"origin-{sds}")
    image = site.image(f"origin-{sds}", data)
    persistent = replace(image, persistent=True)
    vm = site.vm(sds, Disk(0, image=image), Disk(1, image=image), Disk(2, image=persistent), Disk(3, size=8 * MIB))
    site.core.record_as(vm, 1, TYPE="CDROM")
    for verb, disk in (("clone", 0), ("ln", 1), ("ln", 2), ("mkimage", 3), ("delete", 2), ("delete", 0)):
        site.act(verb, vm, disk)
        origins = site.origins(sds)
        assert len(origins) == 1, verb
        [(name, row)] = origins.items()
        attr = row["lv_attr"]
        assert name.startswith("vaf-origin-")
        assert attr[1] == "r", f"{verb}: {attr} is not read-only"
        assert sds == THICK or (attr[4], attr[9]) == ("-", "k"), f"{verb}: {attr} is active, or will be after a boot"
        assert "vaf.complete" in row["lv_tags"].split(",")
    written = site.lab.ssh(site.node, ["dd", "if=/dev/zero", f"of={site.link(vm, 1)}", "count=1"], check=False)
    assert written.code != 0, "a read-only disk was written"
    assert site.holds(vm, data, 1)


@pytest.fixture(scope="module")
def cut(site: Site) -> dict[int, tuple[Vm, bytes]]:
    """A VM of each mode whose guest wrote, on a node that lost its power and is back; and its first disk's content."""
    vms = {}
    guest = content("guest", MIB)
    for sds in (THIN, THICK):
        data = holed(f"boot-{sds}")
        image = site.image(f"boot-{sds}", data)
        persistent = replace(image, persistent=True)
        disks = Disk(0, image=image), Disk(1, image=persistent), Disk(2, kind="swap", size=8 * MIB)
        vm = site.vm(sds, *disks)
        for verb, disk in (("clone", 0), ("ln", 1), ("mkswap", 2)):
            site.act(verb, vm, disk)
        site.lab.ssh(site.node, ["dd", f"of={site.link(vm)}", "conv=notrunc,fsync", "bs=1M"], input=guest)
        vms[sds] = vm, guest + data[MIB:]
    site.sh("sync")
    site.lab.cut(site.node)
    site.lab.boot(site.node)
    return vms


@pytest.mark.parametrize(
    "sds",
    [
        pytest.param(THIN, id="thin"),
        pytest.param(THICK, id="thick"),
    ],
)
def test_disks_come_back_after_a_power_cut(site: Site, cut: dict[int, tuple[Vm, bytes]], sds: int) -> None:
    """By LVM alone, as every boot activates volumes; OpenNebula knows nothing of the power cut."""
    vm, data = cut[sds]
    if sds == THIN:
        states = {row["lv_attr"][4] for row in site.origins(sds).values()}
        assert states == {"-"}, "the boot made a cached image active"
    seen = site.look({site.link(vm): len(data), site.link(vm, 1): len(data), site.link(vm, 2): 0})
    first, second, _ = seen.values()
    assert (first.digest, first.rest) == (md5(data), 0)
    assert (second.digest, second.rest) == (md5(holed(f"boot-{sds}")), 0)
    assert site.sh('blkid -p -o value -s TYPE "$1"', site.link(vm, 2)) == "swap\n"
    site.act("clone", vm)
    assert site.look({site.link(vm): len(data)})[site.link(vm)] == first, "a retry changed the disk"


def test_the_helpers_see_what_is_there(site: Site) -> None:
    """Looks that saw nothing would prove nothing."""
    path = "/tmp/look"
    site.sh("printf 'xxpatternxx\\0\\0patternpattern' >\"$1\"", path)
    seen = site.look({path: 2}, "pattern")[path]
    assert (seen.digest, seen.rest, seen.size, seen.count) == (md5(b"xx"), 23, 27, 3)
    with site.counted() as calls:
        site.sh("lvs -o lv_name vg-one-100 >/dev/null; lvremove -qq vg-one-100/none 2>/dev/null || :")
    assert calls == ["lvs 0 -o lv_name vg-one-100", "lvremove 5 -qq vg-one-100/none"]
    assert "vg-one-100" in site.state()
