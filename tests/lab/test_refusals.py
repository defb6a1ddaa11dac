"""Bad input and a bad world: one clear line each, and nothing changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.lab.test_guests import (
    CONF,
    DATASTORE,
    THICK,
    THIN,
    Site,
    content,
    eventually,
    holed,
    refusal,
    site_of,
)
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import ROOT, STUBS, Disk, Image, Vm, argv
from vafnebula.lab.spec import FRONTEND
from vafnebula.units import GIB, MIB

NODE_PACKAGE = "/var/tmp/one/vafnebula"
MAKING = ("clone", "ln", "mkswap", "mkimage")
BAD_IMAGES = """
cd "$1"
mkdir dir
mkfifo fifo
: >empty
qemu-img create -q -f raw base 1M
qemu-img create -q -f qcow2 -b base -F raw backed
qemu-img create -q -f qcow2 -o data_file=outside,data_file_raw=on external 1M
head -c 60 external >cut
"""
# Serves what no sane API says, by path; /slow never answers.
BAD_API = """
import http.server, time
RPC = ("<?xml version='1.0'?><methodResponse><params><param><value><array><data><value><boolean>1</boolean></value>"
       "<value><string>%s</string></value><value><i4>0</i4></value></data></array></value></param></params>"
       "</methodResponse>")
ANSWERS = {
    "/html": "<html><body>It works!</body></html>",
    "/cut": "<?xml version='1.0'?><methodResponse><par",
    "/record": RPC % "&lt;VM&gt;&lt;ID&gt;1",
    "/other": RPC % "&lt;VM&gt;&lt;ID&gt;99999&lt;/ID&gt;&lt;/VM&gt;",
    "/entity": RPC % "&lt;!DOCTYPE x [&lt;!ENTITY e SYSTEM 'file:///etc/passwd'&gt;]&gt;&lt;VM&gt;&amp;e;&lt;/VM&gt;",
}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        if self.path == "/slow":
            time.sleep(3600)
        body = ANSWERS[self.path].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 2634), Handler)
open("/tmp/bad-api", "w").close()
server.serve_forever()
"""


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    with site_of(lab) as made:
        yield made


@pytest.fixture(scope="module")
def good(site: Site) -> Image:
    """An image that is cached in both modes already."""
    image = site.image("good", content("good", MIB))
    for sds in (THIN, THICK):
        site.act("clone", site.of(sds, image))
    return image


def with_all(site: Site, image: Image, sds: int, host: str = "") -> Vm:
    """A VM with a disk for each verb, in the order of MAKING."""
    persistent = replace(image, persistent=True)
    disks = Disk(0, image=image), Disk(1, image=persistent), Disk(2, kind="swap", size=8 * MIB), Disk(3, size=8 * MIB)
    return site.vm(sds, *disks, host=host)


def refusals(site: Site, calls: dict[str, tuple[str, Vm, int]]) -> dict[str, str]:
    """The lines of several actions, all at once."""
    begun = {name: site.core.start(verb, vm.id, disk) for name, (verb, vm, disk) in calls.items()}
    return {name: refusal(future.result(600)) for name, future in begun.items()}


def all_say(lines: dict[str, str], pattern: str) -> None:
    for name, line in lines.items():
        assert re.search(pattern, line), f"{name}: {line}"


# ---- images


def test_images_that_cannot_become_disks(site: Site) -> None:
    place = str(site.lab.datastore(DATASTORE))
    site.lab.run(["sh", "-euc", BAD_IMAGES, "sh", place])
    site.image("secret", b"x" * 512)
    site.lab.run(["sh", "-c", "chown root: $1; chmod 000 $1", "sh", f"{place}/secret"], user="root")
    site.image("large", content("large", 3 * MIB))
    wanted = {
        "missing": "image cannot be read on the node: No such file",
        "dir": "image cannot become a disk: it is a directory",
        "fifo": "it is not a regular file",
        "empty": "it is empty",
        "secret": "image cannot be read on the node: Permission denied",
        "backed": "it needs a backing file",
        "external": "its data is in another file",
        "cut": "qcow2 header is cut off",
        "large": f"the image has {3 * MIB} bytes but the disk only {2 * MIB}; set DISK/SIZE to at least 3 MB",
    }
    calls = {}
    for name in wanted:
        image = Image(DATASTORE, f"{ROOT}/{DATASTORE}/{name}", 2 * MIB)
        calls[f"{name} clone"] = "clone", site.of(THIN, image), 0
        if name in ("missing", "backed", "large"):
            calls[f"{name} ln"] = "ln", site.of(THICK, replace(image, persistent=True)), 0
    with site.unchanged():
        lines = refusals(site, calls)
    for name, line in lines.items():
        image_name, verb = name.split()
        assert line.startswith(f"{verb} of disk 0 on n1: ")
        assert wanted[image_name] in line


@pytest.mark.parametrize(
    ("verb", "sds", "change"),
    [("clone", THIN, "shrinks"), ("clone", THICK, "changes"), ("ln", THIN, "changes")],
)
def test_an_image_that_changes_while_it_is_copied(site: Site, verb: str, sds: int, change: str) -> None:
    data = holed(f"{verb}-{sds}")
    image = site.image(f"{verb}-{sds}", data, persistent=verb == "ln")
    path = site.path(image)
    vm = site.of(sds, image)
    look = ["stat", "-c", "%y %s", path]
    before = site.lab.ssh(site.node, look).out
    with site.unchanged(counters=False):
        with site.held(image) as half:
            running = site.core.start(verb, vm.id, 0)
            half()
            if change == "shrinks":
                site.lab.run(["truncate", "-s", str(3 * MIB), path])
            else:
                site.lab.run(["dd", "if=/dev/zero", f"of={path}", "bs=1M", "count=1", "conv=notrunc"])
            # the mount may show attributes of a second ago
            eventually(lambda: site.lab.ssh(site.node, look).out != before, "the change")
        line = refusal(running.result(60))
        site.lab.run(["truncate", "-s", str(len(data)), path])
    if change == "shrinks":
        assert re.search(rf"copy failed: \d+ of \d+ bytes were copied \({path}\)", line)
        now = data[: 3 * MIB] + bytes(len(data) - 3 * MIB)
    else:
        assert "image changed while it was copied" in line
        now = bytes(MIB) + data[MIB:]
    site.act(verb, vm)
    assert site.holds(vm, now)


def test_an_image_that_is_gone_when_its_disk_comes_back(site: Site) -> None:
    data = content("back", MIB)
    image = site.image("back", data, persistent=True)
    vm = site.of(THIN, image)
    site.act("ln", vm)
    site.lab.run(["rm", site.path(image)])
    with site.unchanged():
        line = site.refusal("mvds", vm)
    assert "image cannot be read on the node: No such file" in line
    site.image("back", bytes(MIB))
    site.act("mvds", vm)
    saved = ["cat", site.path(image)]
    eventually(lambda: site.lab.run(saved, check=False).out == data, "the image")  # the mount remembers the one before
    assert "lv-one" not in " ".join(n for n in site.volumes(THIN) if n.startswith(f"lv-one-{vm.id}-"))


# ---- the node


def test_no_room(site: Site, good: Image) -> None:
    """Nothing is evicted in vain either: what is cached here was used a moment ago."""
    site.lab.run(["qemu-img", "create", "-q", "-f", "qcow2", f"{site.lab.datastore(1)}/huge", "100G"])
    huge = Image(DATASTORE, f"{ROOT}/{DATASTORE}/huge", 100 * GIB)
    calls = {
        "thin clone": ("clone", site.of(THIN, huge), 0),
        "thin ln": ("ln", site.of(THIN, replace(huge, persistent=True)), 0),
        "thick clone": ("clone", site.of(THICK, good, 100 * GIB), 0),
        "thick mkswap": ("mkswap", site.vm(THICK, Disk(0, kind="swap", size=100 * GIB)), 0),
    }
    with site.unchanged():
        lines = refusals(site, calls)
    all_say(lines, rf"lacks room: {100 * GIB} bytes wanted, \d+ bytes free; remove VMs, evict images or add a disk")
    free = int(site.sh("vgs --noheadings --units b --nosuffix -o vg_free vg-one-200"))
    for name, line in lines.items():
        where = "thin pool of vg-one-100" if name.startswith("thin") else "volume group vg-one-200"
        assert f"{where} lacks room" in line
        assert name.startswith("thin") or f" {free} bytes free" in line
        assert 0 < int(re.findall(r"(\d+) bytes free", line)[0]) < 8 * GIB


def test_unknown_volume_group(site: Site, good: Image) -> None:
    vm = with_all(site, good, 999)
    with site.unchanged():
        calls = {"clone": 0, "ln": 1, "mkimage": 3, "mvds": 1}
        lines = refusals(site, {verb: (verb, vm, disk) for verb, disk in calls.items()})
        site.act("delete", vm, -1)
    all_say(lines, "volume group vg-one-999 does not exist on the node")


def test_hosts_that_cannot_be_entered(site: Site, good: Image) -> None:
    """One that nobody knows, and one without sshd: the front-end itself, where a delete needs no ssh."""
    with site.unchanged():
        for host, why in (("nowhere", "resolve|[Nn]ame"), (FRONTEND, "Connection refused")):
            vm = with_all(site, good, THIN, host)
            calls = {verb: (verb, vm, disk) for disk, verb in enumerate(MAKING)}
            deletes = {"delete": ("delete", vm, 0), "delete all": ("delete", vm, -1)}
            lines = refusals(site, calls if host == FRONTEND else calls | deletes)
            all_say(
                lines, rf" on {host}: node cannot be reached by ssh: .*({why}).*; try `ssh {host} true` as oneadmin"
            )
            if host == FRONTEND:
                site.act("delete", vm, 0)
                site.act("delete", vm, -1)


def test_sudo_refuses(site: Site, good: Image) -> None:
    vm = with_all(site, good, THIN)
    site.sh("mv /etc/sudoers.d/vafnebula /root/vafnebula")
    try:
        with site.unchanged():
            # each on a disk of its own: a delete interrupts whatever is at work on its disk
            lines = refusals(site, {v: (v, vm, disk) for v, disk in (("clone", 0), ("mkimage", 3), ("delete", 1))})
    finally:
        site.sh("mv /root/vafnebula /etc/sudoers.d/vafnebula")
    all_say(lines, r"sudo refuses lv\w+ to oneadmin on the node; install share/sudoers/vafnebula in /etc/sudoers.d")
    site.act("clone", vm)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        pytest.param("rm -r $1", "the node package (gave no answer|cannot be started).*onehost sync -f", id="missing"),
        pytest.param("rm -r $1/vafnebula/node", "the node package gave no answer.*onehost sync -f", id="half"),
        pytest.param(
            "echo '__version__ = \"0.0.0\"' >$1/vafnebula/__init__.py",
            r"the node package is version 0\.0\.0, the front-end is .*onehost sync -f",
            id="other",
        ),
    ],
)
def test_node_package(site: Site, good: Image, damage: str, says: str) -> None:
    vm = with_all(site, good, THIN)
    site.sh(f"cp -a $1 /root/package; {damage}", NODE_PACKAGE)
    try:
        with site.unchanged():
            lines = refusals(site, {"clone": ("clone", vm, 0), "delete": ("delete", vm, 0)})
    finally:
        site.sh('rm -rf "$1"; mv /root/package "$1"', NODE_PACKAGE)
    all_say(lines, says)
    site.act("clone", vm)


# ---- OpenNebula


def test_api_that_gives_no_record(site: Site, good: Image) -> None:
    vm = site.of(THIN, good)
    unknown = replace(vm, id=vm.id + 500000)
    api = site.lab.popen(["python3", "-I", "-c", BAD_API])
    wanted = {
        "down": "at http://127.0.0.1:1/RPC2 gave no answer .*Connection refused; is oned running",
        "slow": "timed out after 1 s; is oned busy",
        "html": "not XML-RPC of OpenNebula",
        "cut": "malformed XML",
        "record": "record of VM .* cannot be used: malformed XML",
        "other": "record of VM .* cannot be used: it is VM 99999",
        "entity": "record of VM .* cannot be used: it has a document type",
    }
    try:
        eventually(lambda: site.lab.outside("/tmp/bad-api").exists(), "the bad API")
        with site.unchanged(), site.configured("[frontend]\napi_timeout = 1\n"):
            for name, says in wanted.items():
                url = "http://127.0.0.1:1/RPC2" if name == "down" else f"http://127.0.0.1:2634/{name}"
                line = refusal(site.stub("clone", vm, ONE_XMLRPC=url))
                assert re.search(says, line), f"{name}: {line}"
            assert re.search("Error getting virtual machine", refusal(site.stub("clone", unknown)))
            assert refusal(site.stub("clone", vm, ONE_AUTH="/nonexistent")).count(
                "credentials /nonexistent cannot be read"
            )
            # a VM must be removable all the same
            assert site.stub("delete", vm, ONE_XMLRPC="http://127.0.0.1:1/RPC2").code == 0
    finally:
        api.kill()


def test_hostile_arguments(site: Site, good: Image) -> None:
    vm = with_all(site, good, THIN)
    good_calls = [argv(verb, vm, disk) for disk, verb in enumerate(MAKING)]
    good_calls += [argv("mvds", vm, 1), argv("delete", vm, 0), argv("delete", vm)]
    place = f"n1:{vm.directory}"
    # what is said instead of the destination, and what instead of any argument
    places = [
        f"{place}/disk.1/../..",
        f"{place}/disk.1/../../..",
        f"{place}/../{vm.id - 1}/disk.0",
        f"{place}/disk.-1",
        f"{place}/disk.01",
        f"{place}/disk.0;reboot",
        f"{place}/disk.0 /etc",
        f"{place}/disk.0\n/etc",
        f"{place}/disk.99999999999",
        f"{place}/disk.$(id)",
        f"n1:{ROOT}/100/{vm.id + 1}/disk.0",
        f"n1:{ROOT}/../../100/{vm.id}/disk.0",
        "n1:/",
        "n1:relative/100/7/disk.0",
        f"-oProxyCommand=id:{vm.directory}/disk.0",
        f"n1 id:{vm.directory}/disk.0",
        f"$(id):{vm.directory}/disk.0",
        f"root@n1:{vm.directory}/disk.0",
        f":{vm.directory}/disk.0",
        "n1",
        "",
    ]
    calls = []
    for call in good_calls:
        where = next(i for i, word in enumerate(call) if word.startswith("n1:"))
        # every stub takes its words by the same rules: all of them on one stub, a few on each
        for bad in places if "/clone" in call[0] else (places[0], places[14]):
            calls.append([*call[:where], bad, *call[where + 1 :]])
        calls += [call[:-1], [*call[:-2], "7;id", call[-1]]]
    for size in ("-1", "0", "1e3", "99999999999", "", "8 8", "$(id)"):
        calls.append([f"{STUBS}/mkswap", size, f"{place}/disk.3", str(vm.id), "100"])
    calls.append([f"{STUBS}/mkimage", "8", "--help", f"{place}/disk.3", str(vm.id), "100"])
    for source in ("/etc/passwd/../shadow", "relative", "-if=/etc/shadow", "/a b", "/a\nb", ""):
        calls.append([f"{STUBS}/clone", f"{FRONTEND}:{source}", f"{place}/disk.0", str(vm.id), "1"])
        calls.append([f"{STUBS}/mvds", f"{place}/disk.1", source, str(vm.id), "1"])
    with site.unchanged():
        ended = [site.core.begin(call) for call in calls]
        lines = [refusal(future.result(600)) for future in ended]
    for call, line in zip(calls, lines):
        assert re.search("is not acceptable", line), (call, line)


def test_hostile_records(site: Site, good: Image) -> None:
    """What a user may write into a template."""
    vms = {}
    for name, disk, attribute, value in (
        ("label", 2, "VAF_LABEL", "a b"),
        ("option", 3, "VAF_LABEL", "-L;reboot"),
        ("long", 3, "VAF_LABEL", "x" * 13),
        ("fs", 3, "FS", "xfs -f /dev/ubda"),
        ("path", 3, "FS", "../../bin/sh"),
        ("ntfs", 3, "FS", "ntfs"),
        ("size", 0, "SIZE", "-5"),
        ("sizes", 1, "SIZE", "10;id"),
        ("type", 1, "TYPE", "CDROM\nFILE"),
    ):
        vm = with_all(site, good, THIN)
        site.core.record_as(vm, disk, **{attribute: value})
        vms[f"{attribute} {name}"] = MAKING[disk], vm, disk
    vm = with_all(site, good, THIN)
    site.core.record_as(vm, 0, DISK_ID="4")
    with site.unchanged():
        for name, line in refusals(site, vms).items():
            assert re.search(rf"DISK/{name.split()[0]} .* is not acceptable", line), f"{name}: {line}"
        assert "there is no disk 0 in it" in site.refusal("clone", vm)


# ---- what is in the way


@pytest.mark.parametrize(
    ("sds", "verbs"),
    [pytest.param(THIN, ("clone", "mkswap", "mvds"), id="thin"), pytest.param(THICK, ("ln", "mkimage"), id="thick")],
)
def test_a_foreign_volume_in_the_way(site: Site, good: Image, sds: int, verbs: tuple[str, ...]) -> None:
    vm = with_all(site, good, sds)
    calls = {verb: (verb, vm, 1 if verb == "mvds" else MAKING.index(verb)) for verb in verbs}
    site.sh(
        """
        cd "/dev/vg-one-$1"
        vg=vg-one-$1 vm=$2
        shift 2
        for disk; do
            lvcreate -qq --yes -Wn -n "lv-one-$vm-$disk" -L 4M "$vg"
            echo precious >"lv-one-$vm-$disk"
        done
        """,
        str(sds),
        str(vm.id),
        *(str(disk) for _, _, disk in calls.values()),
    )
    with site.unchanged():
        lines = refusals(site, calls)
        for disk in (0, -1):
            site.act("delete", vm, disk)
    all_say(lines, rf"volume vg-one-{sds}/lv-one-{vm.id}-\d exists but was not made by vafnebula; remove or rename it")
    assert site.sh(f"cat /dev/vg-one-{sds}/lv-one-{vm.id}-? | grep -c precious") == f"{len(verbs)}\n"


def test_a_file_in_place_of_the_link(site: Site, good: Image) -> None:
    vm = with_all(site, good, THIN)
    directory = vm.directory.replace("//", "/")
    script = 'mkdir "$1"; for n in 0 1 2 3; do echo precious >"$1/disk.$n"; done; chown -R oneadmin: "$1"'
    site.sh(script, directory)
    with site.unchanged():
        lines = refusals(site, {verb: (verb, vm, disk) for disk, verb in enumerate(MAKING)})
    all_say(lines, rf"{directory}/disk\.\d, which is not a link, exists but was not made by vafnebula")
    assert site.sh('cat "$1"/disk.?', directory) == "precious\n" * 4


def test_site_file_that_cannot_be_used(site: Site, good: Image) -> None:
    vm = site.of(THIN, good)
    with site.unchanged():
        for text, says in (
            ("[storage]\nmodus = thick\n", "unknown key modus; did you mean mode"),
            ("mode\n", CONF[-15:]),
        ):
            with site.configured(text):
                assert says in site.refusal("clone", vm)
