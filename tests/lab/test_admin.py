"""An admin's commands on the lab's front-end, with both nodes: cache, volumes, fsck, explain, check."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.test_guests import AWAIT, DATASTORE, HOLD, MODES, THIN, Site, content, site_of
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import Disk, Image, Vm, vm_xml
from vafnebula.units import MIB

CLI = ["/opt/vafnebula/.venv/bin/python", "-I", "-m", "vafnebula.cli"]
RUNNING, DONE = ("3", "3"), ("6", "0")
BASE = "/var/lib/one//datastores"


class Admin:
    """Somebody who types commands on the front-end as oneadmin."""

    def __init__(self, site: Site) -> None:
        self.site, self.lab, self.core = site, site.lab, site.core
        self.images: dict[int, tuple[str, Image]] = {}
        hosts = "".join(
            f"<HOST><ID>{n}</ID><NAME>{node}</NAME><STATE>2</STATE></HOST>" for n, node in enumerate(self.lab.nodes)
        )
        self.core.pool("one.hostpool.info", f"<HOST_POOL>{hosts}</HOST_POOL>")
        system = "<SHARED>NO</SHARED><DISK_TYPE>BLOCK</DISK_TYPE>"
        targets = "<CLONE_TARGET>SYSTEM</CLONE_TARGET><LN_TARGET>SYSTEM</LN_TARGET>"
        kinds = [(DATASTORE, 0, f"<DRIVER>raw</DRIVER><DISK_TYPE>BLOCK</DISK_TYPE>{targets}")]
        stores = "".join(
            f"<DATASTORE><ID>{ids}</ID><NAME>ds{ids}</NAME><TYPE>{kind}</TYPE><TM_MAD>fs_lvm_snap</TM_MAD>"
            f"<BASE_PATH>{BASE}/{ids}</BASE_PATH><TEMPLATE>{attributes}</TEMPLATE></DATASTORE>"
            for ids, kind, attributes in [*((s, 1, system) for s in self.lab.spec.sds), *kinds]
        )
        self.core.pool("one.datastorepool.info", f"<DATASTORE_POOL>{stores}</DATASTORE_POOL>")

    def register(self, number: int, name: str, data: bytes) -> Image:
        image = self.site.image(name, data)
        self.images[number] = (name, image)
        pool = "".join(
            f"<IMAGE><ID>{n}</ID><NAME>{name}</NAME><DATASTORE_ID>{i.datastore}</DATASTORE_ID>"
            f"<SOURCE>{i.source}</SOURCE><SIZE>{i.size // MIB}</SIZE><PERSISTENT>0</PERSISTENT><STATE>1</STATE></IMAGE>"
            for n, (name, i) in self.images.items()
        )
        self.core.pool("one.imagepool.info", f"<IMAGE_POOL>{pool}</IMAGE_POOL>")
        return image

    def state(self, vm: Vm, state: tuple[str, str]) -> None:
        """What OpenNebula says of the VM from now on."""
        document = vm_xml(vm).replace(
            "<STATE>3</STATE><LCM_STATE>1<", f"<STATE>{state[0]}</STATE><LCM_STATE>{state[1]}<"
        )
        self.core._tell({"vm": vm.id, "xml": document})

    def run(self, *words: str, code: int = 0) -> Any:
        """Run a command; its JSON."""
        done = self.lab.run([*CLI, *words, "--json"], check=False, timeout=120)
        assert b"Traceback" not in done.err, done.err.decode()
        assert done.code == code, (done.out + done.err).decode()
        return json.loads(done.out)

    def says(self, *words: str, code: int = 0) -> str:
        """Run a command; what a person reads."""
        done = self.lab.run([*CLI, *words], check=False, timeout=120)
        assert done.code == code, (done.out + done.err).decode()
        assert b"Traceback" not in done.err
        return (done.out + done.err).decode()


@pytest.fixture
def admin(clean_lab: Lab) -> Iterator[Admin]:
    with site_of(clean_lab) as site:
        yield Admin(site)


@MODES
def test_the_life_of_a_cached_image(admin: Admin, sds: int) -> None:
    data = content(f"worker-{sds}", 8 * MIB)
    image = admin.register(7, "worker", data)
    words = ("--sds", str(sds))
    filled = admin.run("cache", "warm", "worker", *words, "--pin")
    assert [(r["host"], r["cache"], r["error"]) for r in filled] == [("n1", "miss", ""), ("n2", "miss", "")]
    assert {r["cache"] for r in admin.run("cache", "warm", "7", *words)} == {"hit"}
    rows = admin.run("cache", "list", *words)
    assert [(r["host"], r["name"], r["image"], r["disks"], r["pinned"]) for r in rows] == [
        ("n1", "worker (7)", f"{DATASTORE}/worker", 0, True),
        ("n2", "worker (7)", f"{DATASTORE}/worker", 0, True),
    ]
    vm = admin.site.of(sds, image)
    with admin.site.counted() as calls:
        admin.site.act("clone", vm)
    assert not any("vaf-fill" in call for call in calls), "it was there already"
    assert admin.site.holds(vm, data)

    assert [r["result"] for r in admin.run("cache", "verify", *words)] == ["same", "same"]
    assert admin.site.holds(vm, data), "its device is still there"
    refused = admin.run("cache", "evict", "worker", *words, code=1)
    assert all("it is pinned" in r["error"] for r in refused)
    admin.run("cache", "unpin", "worker", *words)
    there, gone = admin.run("cache", "evict", rows[0]["key"], *words, code=1)
    assert "volumes are made of it" in there["error"]
    assert gone["result"] == "evicted"
    assert [r["host"] for r in admin.run("cache", "list", *words)] == ["n1"]
    assert "no origin matches" in admin.says("cache", "pin", "nothing", code=2)
    assert "worker (7)" in admin.says("cache", "list")


def test_a_rotten_origin_is_found(admin: Admin) -> None:
    admin.register(7, "worker", content("worker", 4 * MIB))
    admin.run("cache", "warm", "worker", "--sds", str(THIN))
    rot = """
    origin=$(lvs --noheadings -o lv_name -S 'lv_name=~^vaf-origin' "$1" | tr -d ' ')
    lvchange -prw "$1/$origin"
    lvchange -ay -K "$1/$origin"
    printf rot | dd of="/dev/$1/$origin" bs=1 seek=100000 conv=notrunc,fsync status=none
    lvchange -an "$1/$origin"
    """
    admin.lab.sh("n2", rot, f"vg-one-{THIN}")
    found = {r["host"]: r["result"] for r in admin.run("cache", "verify", code=1)}
    assert found == {"n1": "same", "n2": "different"}
    assert "DIFFERENT" in admin.says("cache", "verify", "--host", "n2", code=1)
    admin.register(7, "worker", content("newer", 4 * MIB))
    assert {r["result"] for r in admin.run("cache", "verify")} == {"changed"}


def found(admin: Admin, *words: str, code: int = 1) -> dict[str, list[str]]:
    """What fsck finds, by kind."""
    kinds: dict[str, list[str]] = {}
    for row in admin.run("fsck", *words, code=code):
        kinds.setdefault(row["kind"], []).append(f"{row['host']} {row['what']} {row['done']}".strip())
    return kinds


@MODES
def test_fsck_finds_and_mends(admin: Admin, sds: int) -> None:
    site, vg = admin.site, f"vg-one-{sds}"
    data = content(f"fsck-{sds}", 4 * MIB)
    image = admin.register(7, "worker", data)
    linkless, lost, done, half = (site.of(sds, image) for _ in range(4))
    for vm in (linkless, lost, done):
        site.act("clone", vm)
        admin.state(vm, RUNNING)
    assert found(admin, code=0) == {}

    site.sh('rm "$1"', site.link(linkless))
    site.sh('lvremove -qq --yes "$1"', f"{vg}/lv-one-{lost.id}-0")
    admin.state(done, DONE)
    site.sh('lvcreate -qq --yes -n theirs -L 8M "$1"', vg)
    other = admin.register(8, "half", content("half", 6 * MIB))
    half = site.of(sds, other)
    site.sh(HOLD, site.path(other))  # the copy stops half way; a reboot undoes that
    started = site.core.start("clone", half.id, 0)
    site.sh(AWAIT)
    assert "half-filled" not in found(admin), "it is being filled just now"
    admin.lab.cut("n1")
    started.result(600)
    admin.lab.boot("n1")
    names = {
        "lost link": f"n1 {vg}/lv-one-{linkless.id}-0",
        "lost volume": f"n1 {vg}/lv-one-{lost.id}-0",
        "orphan": f"n1 {vg}/lv-one-{done.id}-0",
        "foreign": f"n1 {vg}/theirs",
    }
    before = site.state()
    kinds = found(admin)
    assert site.state() == before, "without --repair nothing is changed"
    [fill] = kinds.pop("half-filled")
    assert fill.startswith(f"n1 {vg}/vaf-fill-")
    assert kinds == {kind: [name] for kind, name in names.items()}

    mended = found(admin, "--repair")
    assert mended["lost link"] == [f"{names['lost link']} mended (linked)"]
    assert mended["orphan"] == [f"{names['orphan']} mended (removed)"]
    assert mended["half-filled"] == [f"{fill} mended (removed)"]
    assert mended["lost volume"] == [names["lost volume"]]
    assert mended["foreign"] == [names["foreign"]]
    assert found(admin) == {"lost volume": [names["lost volume"]], "foreign": [names["foreign"]]}
    assert site.holds(linkless, data)
    assert "theirs" in site.volumes(sds)
    assert f"lv-one-{done.id}-0" not in site.volumes(sds)
    assert site.sh('ls "$1"', f"/var/lib/one/datastores/{sds}").split() == [str(linkless.id), str(lost.id)]


def test_what_nobody_may_decide_but_a_person(admin: Admin) -> None:
    """The copy of a persistent image, and a VM that OpenNebula has no record of."""
    site = admin.site
    image = admin.register(7, "data", content("data", 4 * MIB))
    saved = site.of(THIN, Image(image.datastore, image.source, image.size, persistent=True))
    unknown = site.of(THIN, image)
    site.act("ln", saved)
    site.act("clone", unknown)
    admin.state(saved, DONE)
    admin.core._tell({"vm": unknown.id, "xml": ""})
    admin.core._tell({"vm": 999999, "xml": vm_xml(Vm(999999, "n1", THIN, ())).replace("<STATE>3<", "<STATE>6<")})
    with site.unchanged():
        kinds = found(admin, "--repair")
    assert kinds["orphan"] == [f"n1 vg-one-{THIN}/lv-one-{saved.id}-0"]
    assert kinds["unknown"] == [f"n1 vg-one-{THIN}/lv-one-{unknown.id}-0"]


def test_the_story_of_a_disk_and_all_volumes(admin: Admin) -> None:
    image = admin.register(7, "worker", content("worker", 4 * MIB))
    vm = admin.site.vm(THIN, Disk(0, image=image), Disk(1, size=8 * MIB), host="n2")
    Site(admin.lab, admin.core, "n2").act("clone", vm)
    Site(admin.lab, admin.core, "n2").act("mkimage", vm, 1)
    story = admin.run("explain", str(vm.id), "0")
    assert (story["host"], story["image"], story["kind"]) == ("n2", f"{DATASTORE}/worker", "thin")
    assert story["target"] == f"/dev/vg-one-{THIN}/lv-one-{vm.id}-0"
    text = admin.says("explain", str(vm.id), "0")
    assert f"a snapshot of {story['origin']}: image {DATASTORE}/worker, copied here" in text
    assert "no image is behind it" in admin.says("explain", str(vm.id), "1")
    assert "has no disk 5 on LVM" in admin.says("explain", str(vm.id), "5", code=2)
    assert "OpenNebula has no VM 424242" in admin.says("explain", "424242", code=2)

    listed = {(v["host"], v["name"]): v["what"] for v in admin.run("volumes", "--sds", str(THIN))}
    assert listed == {
        ("n1", "vaf-thinpool"): "pool",
        ("n2", "vaf-thinpool"): "pool",
        ("n2", f"lv-one-{vm.id}-0"): "disk",
        ("n2", f"lv-one-{vm.id}-1"): "disk",
        ("n2", story["origin"]): "origin",
    }
    admin.lab.sh("n2", "rm -rf /var/lib/one/datastores/100/*; lvremove -qq --yes -S lv_name=~^lv-one vg-one-100")
    admin.lab.sh("n2", "lvremove -qq --yes -S lv_name=~^vaf-origin vg-one-100")


def problems(admin: Admin, code: int = 1) -> list[str]:
    return [
        f"{f['where']}: {f['what']}; {f['advice']}" for f in admin.run("check", code=code) if f["level"] == "problem"
    ]


def test_check_finds_what_is_wrong_and_says_what_to_do(admin: Admin) -> None:
    admin.register(7, "worker", content("worker", 4 * MIB))
    assert problems(admin, code=0) == []
    assert "0 problems" in admin.says("check")
    admin.lab.sh("n2", "mv /etc/sudoers.d/vafnebula /run/away; chmod 0 /usr/bin/qemu-img")
    admin.lab.sh("n2", "umount /var/lib/one/datastores/1")
    try:
        found = problems(admin)
    finally:
        admin.lab.sh("n2", "mv /run/away /etc/sudoers.d/vafnebula; chmod 755 /usr/bin/qemu-img")
        admin.lab.sh("n2", "mount -n --bind /mnt/images/1 /var/lib/one/datastores/1")
    for wanted in (
        "n2: sudo refuses lvs, vgs, lvcreate, lvremove, lvchange, lvextend, lvrename, mkfs.xfs to oneadmin; run",
        "n2: programs are missing: qemu-img; ",
        "n2: image /var/lib/one/datastores/1/worker: No such file or directory; mount the image datastore",
    ):
        assert any(line.startswith(wanted) for line in found), (wanted, found)
    assert all(line.startswith("n2: ") for line in found)


def test_a_node_that_is_off_is_said_and_the_others_are_told(admin: Admin) -> None:
    admin.register(7, "worker", content("worker", MIB))
    admin.lab.cut("n2")
    try:
        text = admin.says("volumes", code=1)
        assert "n2: node cannot be reached by ssh" in text
        assert "n1" in text
        assert any(line.startswith("n2: node cannot be reached") for line in problems(admin))
    finally:
        admin.lab.boot("n2")
