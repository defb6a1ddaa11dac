"""An admin's commands on the lab's front-end, with both nodes: cache, volumes, fsck, explain, check."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.test_guests import AWAIT, DATASTORE, HOLD, THICK, THIN, Site, content, eventually, site_of
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import Disk, Image, Vm, vm_xml
from vafnebula.units import MIB

CLI = ["/opt/vafnebula/.venv/bin/python", "-I", "-m", "vafnebula.cli"]
MODES = (THIN, THICK)
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


def test_the_life_of_cached_images_in_both_modes(admin: Admin) -> None:
    data = content("worker", 8 * MIB)
    image = admin.register(7, "worker", data)
    places = [(host, sds) for host in ("n1", "n2") for sds in MODES]

    def told(*words: str, code: int = 0) -> dict[tuple[str, int], Any]:
        return {(row["host"], row["sds"]): row for row in admin.run("cache", *words, code=code)}

    filled = told("warm", "worker", "--pin")
    assert sorted(filled) == places
    assert {(r["cache"], r["error"]) for r in filled.values()} == {("miss", "")}
    assert {r["cache"] for r in told("warm", "7", "--host", "n1").values()} == {"hit"}
    rows = told("list")
    assert sorted(rows) == places
    expected = ("worker (7)", f"{DATASTORE}/worker", 0, True)
    assert {(r["name"], r["image"], r["disks"], r["pinned"]) for r in rows.values()} == {expected}

    vms = [admin.site.of(sds, image) for sds in MODES]
    with admin.site.counted() as calls:
        for vm in vms:
            admin.site.act("clone", vm)
    assert not any("vaf-fill" in call for call in calls), "it was there already"
    assert {r["result"] for r in told("verify").values()} == {"same"}
    assert admin.site.all_hold(vms, data), "their devices are still there"

    assert all("it is pinned" in r["error"] for r in told("evict", "worker", "--host", "n2", code=1).values())
    told("unpin", "worker")
    tried = told("evict", "worker", code=1)
    for sds in MODES:
        assert "volumes are made of it" in tried["n1", sds]["error"]
        assert tried["n2", sds]["result"] == "evicted"
    assert sorted(told("list")) == places[:2]
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


def test_fsck_finds_and_mends_in_both_modes(admin: Admin) -> None:
    site, data = admin.site, content("fsck", 4 * MIB)
    image, other = admin.register(7, "worker", data), admin.register(8, "half", content("half", 6 * MIB))
    names: dict[str, list[str]] = {"lost link": [], "lost volume": [], "orphan": [], "foreign": []}
    kept = []
    for sds in MODES:
        vg = f"vg-one-{sds}"
        linkless, lost, done = (site.of(sds, image) for _ in range(3))
        for vm in (linkless, lost, done):
            site.act("clone", vm)
            admin.state(vm, DONE if vm is done else RUNNING)
        script = 'rm "$2"; lvremove -qq --yes "$1/$3"; lvcreate -qq --yes -n theirs -L 8M "$1"'
        site.sh(script, vg, site.link(linkless), f"lv-one-{lost.id}-0")
        volumes = (f"lv-one-{linkless.id}-0", f"lv-one-{lost.id}-0", f"lv-one-{done.id}-0", "theirs")
        for kind, volume in zip(names, volumes):
            names[kind].append(f"n1 {vg}/{volume}")
        kept.append((linkless, lost, done))

    site.sh(HOLD, site.path(other))  # the copies stop half way; a reboot undoes that
    started = [site.core.start("clone", site.of(sds, other).id, 0) for sds in MODES]
    for sds in MODES:
        eventually(lambda sds=sds: any(n.startswith("vaf-fill-") for n in site.volumes(sds)), "the fill")  # type: ignore[misc]
    site.sh(AWAIT)
    assert "half-filled" not in found(admin), "it is being filled just now"
    admin.lab.cut("n1")
    for job in started:
        job.result(600)
    admin.lab.boot("n1")

    before = site.state()
    kinds = found(admin)
    assert site.state() == before, "without --repair nothing is changed"
    fills = kinds.pop("half-filled")
    assert [fill.rpartition("/")[0] for fill in fills] == [f"n1 vg-one-{sds}" for sds in MODES]
    assert kinds == names

    mended = found(admin, "--repair")
    assert mended["lost link"] == [f"{name} mended (linked)" for name in names["lost link"]]
    for kind, which in (("orphan", names["orphan"]), ("half-filled", fills)):
        assert mended[kind] == [f"{name} mended (removed)" for name in which]
    left = {kind: names[kind] for kind in ("lost volume", "foreign")}
    assert {kind: mended[kind] for kind in left} == left
    assert found(admin) == left
    for sds, (linkless, lost, done) in zip(MODES, kept):
        assert site.holds(linkless, data)
        volumes = site.volumes(sds)
        assert "theirs" in volumes
        assert f"lv-one-{done.id}-0" not in volumes
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
        "n2: sudo refuses lvs, vgs, lvcreate, ",
        "n2: programs are missing: qemu-img; ",
        "n2: image /var/lib/one/datastores/1/worker: No such file or directory; mount the image datastore",
    ):
        assert any(line.startswith(wanted) for line in found), (wanted, found)
    assert all(line.startswith("n2: ") for line in found)
