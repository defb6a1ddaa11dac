from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from vafnebula import __version__, config
from vafnebula.admin import check
from vafnebula.model import Settings
from vafnebula.node.deeds.inspect import LVM_CONF, SUDO, TOOLS
from vafnebula.one import pools

CHECKOUT = Path(__file__).parents[3]
IMAGE = "/ds/1/img"
POOL = {"zero": "zero", "lv_when_full": "error", "data_percent": "10.0", "metadata_percent": "5.0"}
FACTS: dict[str, Any] = {
    "now": 100.5,
    "python": "3.9.2",
    "sudo": dict.fromkeys(SUDO, True),
    "tools": dict.fromkeys(TOOLS, True),
    "group_disk": True,
    "lock_dir": True,
    "lvm_conf": {
        **{key.rpartition("/")[2]: "1" for key in LVM_CONF},
        "scan_lvs": "0",
        "thin_pool_autoextend_threshold": "80",
        "thin_check_executable": "/usr/sbin/thin_check",
    },
    "pools": {"vg-one-100": POOL},
    "images": {IMAGE: 512},
}


def judged(site: config.Site | None = None, **changes: Any) -> list[check.Finding]:
    facts = {**FACTS, **changes}
    found = check.node("n1", facts, site or config.Site(), [100], {IMAGE: 512}, 100.0, 1.0)
    return [f for f in found if f.level != check.OK]


def test_a_fit_node() -> None:
    assert judged() == []


@pytest.mark.parametrize(
    ("changes", "level", "says", "advice"),
    [
        ({"sudo": {**FACTS["sudo"], "vgs": False}}, "problem", "sudo refuses vgs", "run install.sh node"),
        ({"tools": {**FACTS["tools"], "thin_check": False}}, "problem", "thin_check", "thin-provisioning-tools"),
        ({"group_disk": False}, "problem", "group disk", "usermod -aG disk oneadmin"),
        ({"lock_dir": False}, "problem", "directory for locks", "lock_dir"),
        ({"now": 90.0}, "warning", "clock is off by 10 s", "chrony"),
        ({"now": 110.0}, "warning", "clock is off by 9 s", "chrony"),
        ({"pools": {}}, "problem", "no volume group vg-one-100", "--sds 100 --device"),
        ({"pools": {"vg-one-100": {}}}, "problem", "has no thin pool", "mode = thick"),
        ({"pools": {"vg-one-100": {**POOL, "zero": ""}}}, "problem", "does not zero", "lvchange -Zy"),
        ({"pools": {"vg-one-100": {**POOL, "lv_when_full": "queue"}}}, "warning", "hang", "--errorwhenfull y"),
        (
            {"pools": {"vg-one-100": {**POOL, "data_percent": "85.1"}}},
            "warning",
            "data of the thin pool is 85.1",
            "evict",
        ),
        (
            {"pools": {"vg-one-100": {**POOL, "metadata_percent": "91"}}},
            "problem",
            "metadata of the thin pool",
            "extend",
        ),
        ({"images": {IMAGE: "No such file or directory"}}, "problem", "No such file", "mount"),
        ({"images": {IMAGE: 511}}, "problem", "another size", "mount"),
        ({"images": {}}, "problem", IMAGE, "mount"),
        ({"lvm_conf": {}}, "warning", "lvmconfig", "lvm.conf"),
        ({"lvm_conf": {**FACTS["lvm_conf"], "scan_lvs": "1"}}, "problem", "inside volumes", "scan_lvs = 0"),
        (
            {"lvm_conf": {**FACTS["lvm_conf"], "thin_pool_autoextend_threshold": "100"}},
            "warning",
            "does not extend",
            "thin_pool_autoextend_threshold = 80",
        ),
        ({"lvm_conf": {**FACTS["lvm_conf"], "monitoring": "0"}}, "warning", "does not monitor", "monitoring = 1"),
        ({"lvm_conf": {**FACTS["lvm_conf"], "thin_check_executable": ""}}, "warning", "does not check", "thin_check"),
    ],
)
def test_what_is_wrong_is_found_and_says_what_to_do(
    changes: dict[str, Any], level: str, says: str, advice: str
) -> None:
    [finding] = judged(**changes)
    assert finding.level == level
    assert says in finding.what
    assert advice in finding.advice


def test_a_thick_datastore_needs_no_pool_and_no_word_about_pools() -> None:
    site = config.Site(default=Settings(mode="thick"))
    conf = {**FACTS["lvm_conf"], "thin_pool_autoextend_threshold": "100"}
    assert judged(site, pools={"vg-one-100": {}}, lvm_conf=conf) == []


def store(number: int, kind: str, **attributes: str) -> pools.Datastore:
    return pools.Datastore(number, f"ds{number}", kind, pools.DRIVER, "/ds", attributes)


def test_datastores() -> None:
    system = store(100, "system", SHARED="NO", DISK_TYPE="BLOCK")
    image = store(1, "image", DRIVER="raw", DISK_TYPE="block", CLONE_TARGET="SYSTEM", LN_TARGET="SYSTEM")
    assert {f.level for f in check.datastores([system, image])} == {check.OK}
    wrong = store(100, "system", SHARED="YES", DISK_TYPE="FILE")
    found = [f for f in check.datastores([wrong, image]) if f.level == check.PROBLEM]
    assert [f.what for f in found] == ["SHARED is YES, not NO", "DISK_TYPE is FILE, not BLOCK"]
    assert all("onedatastore update 100" in f.advice for f in found)
    missing = [f.what for f in check.datastores([]) if f.level == check.PROBLEM]
    assert missing == [f"no {kind} datastore has TM_MAD = fs_lvm_snap" for kind in ("image", "system")]


def test_snapshots_that_would_stay_listed_with_an_image() -> None:
    """OpenNebula 6.10 does not know the attribute; later ones copy it from TM_MAD_CONF, where YES is the default."""
    right = {"DRIVER": "raw", "DISK_TYPE": "BLOCK", "CLONE_TARGET": "SYSTEM", "LN_TARGET": "SYSTEM"}
    for value, level in (("NO", check.OK), ("YES", check.PROBLEM)):
        found = check.datastores([store(1, "image", **right, PERSISTENT_SNAPSHOTS=value)])
        assert [f.level for f in found if f.where == "datastore 1"] == [level]


def test_whether_monitoring_knows_the_datastores() -> None:
    told, silent = pools.Host(0, "n1", 2, {100: 5 << 30}), pools.Host(1, "n2", 2, {})
    assert [(f.level, f.where) for f in check.monitored([told, silent], [100])] == [
        (check.OK, "n1"),
        (check.WARNING, "n2"),
    ]


def test_the_front_ends_own_drivers(tmp_path: Path) -> None:
    assert check.worst(list(check.front_end(str(tmp_path)))) == check.PROBLEM
    package = tmp_path / "vafnebula/vafnebula"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('__version__ = "0.0.1"\n')
    assert check.worst(list(check.front_end(str(tmp_path)))) == check.PROBLEM
    (package / "__init__.py").write_text(f'__version__ = "{__version__}"\n')
    assert check.worst(list(check.front_end(str(tmp_path)))) == check.OK


def test_the_programs_that_are_checked_are_those_of_the_sudo_rule() -> None:
    rules = (CHECKOUT / "share/sudoers/vafnebula").read_text()
    allowed = re.findall(r"/usr/sbin/([a-z.]+)", rules)
    assert set(SUDO) == set(allowed)
