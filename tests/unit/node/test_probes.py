from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.lvm import EXTENT, Lv
from tests.fakes.node import VG, Node
from vafnebula import config, errors, names
from vafnebula.node import lvm
from vafnebula.node.deeds.clone import clone
from vafnebula.node.deeds.delete import delete
from vafnebula.node.deeds.mkimage import mkimage
from vafnebula.node.deeds.mkswap import mkswap
from vafnebula.node.probes import capacity, disks, probe
from vafnebula.units import MIB

CHECKOUT = Path(__file__).parents[3]
PROBES = {"capacity": "host/system/vafnebula_capacity", "disks": "vm/monitor/vafnebula_disks"}


def free(node: Node, now: float = 0, **settings: object) -> int:
    """MiB that the probe would call free, `now` seconds from now at least."""
    [(size, unallocated)] = lvm.groups(node.host()).values()
    changed = node.with_settings(**settings)
    group = lvm.group(node.host(), VG)
    return capacity.of_group(group, size, unallocated, changed, 4e9 if now else now).free // MIB


def test_the_line_is_the_one_that_opennebulas_own_probe_prints(node: Node) -> None:
    site = config.Site(default=node.settings)
    [line] = capacity.capacity(node.host(), site).splitlines()
    found = re.fullmatch(r"DS = \[ ID = 0, USED_MB = (\d+), TOTAL_MB = (\d+), FREE_MB = (\d+) \]", line)
    assert found
    used, total, unused = map(int, found.groups())
    assert used + unused == total
    assert total == (32 if node.mode == "thin" else 64) * EXTENT // MIB


def test_a_thin_pool_has_room_below_its_limit(thin: Node) -> None:
    assert free(thin, pool_limit=100) == 128
    assert free(thin, pool_limit=75) == 96
    thin.occupy(40 * MIB)
    assert free(thin, pool_limit=100) == 40
    assert free(thin, pool_limit=50) == 0


def test_what_was_promised_is_not_promised_again(thin: Node) -> None:
    mkimage(thin.host(), thin.scratch("", size=100 * MIB), thin.settings)
    assert free(thin, pool_limit=100) == 28
    assert free(thin, pool_limit=100, overcommit=200) == 128
    assert free(thin, pool_limit=100, overcommit=50) == 0


def test_a_cached_image_counts_as_free_as_soon_as_it_may_go(node: Node) -> None:
    node.image("img", os.urandom(12 * MIB))
    whole = free(node, pool_limit=100)
    clone(node.host(), node.clone(), node.settings)
    in_use = free(node, now=1, pool_limit=100, overcommit=1000)
    assert in_use <= whole - 12
    delete(node.host(), node.delete(-1), node.settings)
    assert free(node, pool_limit=100) <= whole - 12, "it is too young"
    assert free(node, now=1, pool_limit=100) in (whole - 1, whole)  # LVM tells hundredths of a percent
    [origin] = node.origins()
    node.tag(origin, names.PINNED)
    assert free(node, now=1, pool_limit=100) <= whole - 12


def test_a_running_copy_has_reserved_its_room(thin: Node) -> None:
    tags = {names.OURS, names.reserve(30 * MIB)}
    thin.lvm.add(VG, Lv(f"{names.FILL_PREFIX}x", 40 * MIB, "thin", tags=tags))
    assert free(thin, pool_limit=100) == 98


@pytest.mark.parametrize("trouble", ["gone", "not zeroing"])
def test_a_pool_that_no_disk_could_be_made_in_has_no_room(thin: Node, trouble: str) -> None:
    """No line at all would make OpenNebula take the root file system's room."""
    with thin.lvm.metadata() as vgs:
        if trouble == "gone":
            del vgs[VG].lvs[names.THIN_POOL]
        vgs[VG].zeroing = trouble != "not zeroing"
    assert capacity.line(5, capacity.Capacity(0, 0)) == "DS = [ ID = 5, USED_MB = 0, TOTAL_MB = 0, FREE_MB = 0 ]\n"
    assert free(thin) == 0


def test_what_is_free_is_what_a_thick_disk_may_take(thick: Node) -> None:
    """The scheduler places a VM whose disks are smaller than FREE_MB."""
    room = free(thick)
    assert 200 < room < 256
    mkimage(thick.host(), thick.scratch("", size=(room - 1) * MIB), thick.settings)
    assert free(thick) == 0


def test_the_sizes_of_disks(node: Node) -> None:
    clone(node.host(), node.clone(), node.settings)
    mkswap(node.host(), type(node.swap())(node.disk(disk=1), EXTENT, "swap"), node.settings)
    node.write_disk("lv-one-7-1", os.urandom(2 * MIB))
    node.lvm.add(VG, Lv("lv-one-8-0", EXTENT, "foreign"))
    [line] = disks.disks(node.host(), config.Site()).splitlines()
    found = re.fullmatch(r'VM = \[ ID = 7, MONITOR = "([A-Za-z0-9+/=]+)" \]', line)
    assert found
    sizes = base64.b64decode(found[1]).decode().splitlines()
    assert [re.sub(r"SIZE=\d+\]", "SIZE=n]", size) for size in sizes] == [
        "DISK_SIZE=[ID=0,SIZE=n]",
        "DISK_SIZE=[ID=1,SIZE=n]",
    ]
    if node.mode == "thin":
        assert sizes[1] in ("DISK_SIZE=[ID=1,SIZE=2]", "DISK_SIZE=[ID=1,SIZE=3]")


def row(**changes: str) -> lvm.Volume:
    values = {
        "lv_name": "lv-one-7-0", "lv_size": str(40 * MIB), "lv_attr": "Vwi-a-tz--", "lv_tags": "vafnebula",
        "origin": "", "pool_lv": "vaf-thinpool", "segtype": "thin", "data_percent": "25.00",
        "metadata_percent": "", "lv_time": "1",
        "zero": "",
    }  # fmt: skip
    [volume] = lvm.parse_lvs(json.dumps({"report": [{"lv": [{**values, **changes}]}]}).encode())
    return volume


def decoded(*volumes: lvm.Volume) -> list[str]:
    found = re.findall(r'MONITOR = "([^"]*)"', disks.lines(volumes))
    return [size for text in found for size in base64.b64decode(text).decode().splitlines()]


def test_disk_snapshots_are_told_when_they_are_known() -> None:
    inactive = {"lv_attr": "Vri---tz-k", "data_percent": ""}
    holding = {**inactive, "lv_tags": f"vafnebula,vaf.holds={9 * MIB}"}
    assert decoded(row()) == ["DISK_SIZE=[ID=0,SIZE=10]"]
    assert decoded(row(lv_name="lv-one-7-0-s3", **holding)) == ["SNAPSHOT_SIZE=[ID=3,DISK_ID=0,SIZE=9]"]
    assert decoded(row(lv_name="lv-one-7-0-s3")) == ["SNAPSHOT_SIZE=[ID=3,DISK_ID=0,SIZE=10]"]
    assert decoded(row(lv_name="lv-one-7-0-s3", **inactive)) == []
    assert decoded(row(lv_name="lv-one-7-0-b1")) == []
    assert decoded(row(lv_tags="")) == []


def test_a_probe_that_cannot_know_prints_nothing(
    thin: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "etc/vafnebula/vafnebula.conf"
    site.parent.mkdir(parents=True)
    monkeypatch.setattr(probe, "Host", thin.host)
    probe.main("capacity", str(tmp_path))
    assert capsys.readouterr().out.startswith("DS = [")
    site.write_text("[storage]\nmod = thin\n")
    probe.main("capacity", str(tmp_path))
    assert capsys.readouterr().out == ""
    with pytest.raises(errors.BadArgument):
        probe.said("everything", str(tmp_path), thin.host())


@pytest.mark.parametrize("name", PROBES)
def test_a_stub_always_ends_well(tmp_path: Path, name: str) -> None:
    """On a machine without LVM, sudo rule, package: nothing is printed and the code is 0."""
    remotes = tmp_path / "one"
    shutil.copytree(CHECKOUT / "mads/im", remotes / "im")
    stub = remotes / "im/kvm-probes.d" / PROBES[name]
    environment = {"HOME": str(tmp_path), "PATH": str(tmp_path / "bin") + ":/usr/bin:/bin"}

    def run() -> tuple[int, bytes]:
        done = subprocess.run([stub], env=environment, input=b"<X/>", stdout=subprocess.PIPE, timeout=60, check=False)
        return done.returncode, done.stdout

    assert run() == (0, b"")
    (remotes / "vafnebula").mkdir()
    (remotes / "vafnebula/python").symlink_to(sys.executable)
    (remotes / "vafnebula/vafnebula").symlink_to(CHECKOUT / "vafnebula")
    (tmp_path / "bin").mkdir()
    sudo = tmp_path / "bin/sudo"
    for answer in ("exit 1", "echo garbage", "echo '{\"report\": []}'", "kill -9 $PPID"):
        sudo.write_text(f"#!/bin/sh\n{answer}\n")
        sudo.chmod(0o755)
        assert run() == (0, b""), answer


def test_the_stubs_are_small_and_bounded() -> None:
    for path in PROBES.values():
        stub = CHECKOUT / "mads/im/kvm-probes.d" / path
        lines = stub.read_text().splitlines()
        assert len(lines) <= 15
        assert any(line.startswith("timeout -s KILL ") for line in lines)
        assert lines[-1] == "exit 0"
        assert os.access(stub, os.X_OK)
