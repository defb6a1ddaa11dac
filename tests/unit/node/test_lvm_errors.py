from __future__ import annotations

import pytest

from vafnebula import errors
from vafnebula.errors import Error
from vafnebula.node import lvm_errors
from vafnebula.process import Completed

# Texts of lvm2 2.03.16 and sudo 1.9.13.
SAID: list[tuple[str, type[Error], str]] = [
    ('  Volume group "vg-one-9" not found\n  Cannot process volume group vg-one-9\n', errors.NoVolumeGroup, "vg-one-9"),
    ('  Volume group "vg-one-9" not found.\n', errors.NoVolumeGroup, "vg-one-9"),
    ('  Logical Volume "lv-one-7-0" already exists in volume group "vg"\n', errors.VolumeExists, "lv-one-7-0"),
    ("  Logical volume lv-one-7-0 already exists in Volume group vg.\n", errors.VolumeExists, "lv-one-7-0"),
    ("  Pool vaf-thinpool not found in Volume group vg.\n", errors.NoThinPool, "vaf-thinpool"),
    (
        "  Cannot create new thin volume, free space in thin pool vg/vaf-thinpool reached threshold.\n",
        errors.NoRoom,
        "thin pool of vg",
    ),
    (
        "  Free space in pool vg/vaf-thinpool is above threshold, new volumes are not allowed.\n",
        errors.NoRoom,
        "pool",
    ),
    ('  Volume group "vg" has insufficient free space (3 extents): 1024 required.\n', errors.NoRoom, "vg"),
    ("  Insufficient suitable allocatable extents for logical volume x: 5 more required\n", errors.NoRoom, "vg"),
    ("  Snapshot origin LV vaf-origin-1 not found in Volume group vg.\n", errors.NotFound, "vaf-origin-1"),
    ('  Failed to find logical volume "vg/lv-one-7-0"\n', errors.NotFound, "vg/lv-one-7-0"),
    ('  Existing logical volume "vaf-fill-1" not found in volume group "vg"\n', errors.NotFound, "vaf-fill-1"),
    ("  Logical volume vg/lv-one-7-0 in use.\n", errors.Busy, "vg/lv-one-7-0"),
    ("  Logical volume vg/lv-one-7-0 contains a filesystem in use.\n", errors.Busy, "vg/lv-one-7-0"),
    ("  Logical volume vg/lv-one-7-0 is used by another device.\n", errors.Busy, "vg/lv-one-7-0"),
    ("  device-mapper: remove ioctl on  (253:3) failed: Device or resource busy\n", errors.Busy, "vg"),
    ("sudo: a password is required\n", errors.SudoRefused, "lvs"),
    ("sudo: sorry, you must have a tty to run sudo\n", errors.SudoRefused, "lvs"),
    ("Sorry, user oneadmin is not allowed to execute '/sbin/lvs' as root on n1.\n", errors.SudoRefused, "lvs"),
    ("oneadmin is not in the sudoers file.\n", errors.SudoRefused, "lvs"),
    ("sudo: lvs: command not found\n", errors.SudoRefused, "lvs"),
    ("  Internal error: Something new.\n", errors.CommandFailed, "Internal error: Something new."),
    ("", errors.CommandFailed, "it said nothing"),
    ("  caf\xe9 \x00\n", errors.CommandFailed, "caf"),
]
BEFORE = [
    "",
    "  WARNING: Sum of all thin volume sizes (1.00 TiB) exceeds the size of thin pool vg/vaf-thinpool (1.00 GiB).\n",
    "sudo: unable to resolve host n1: Name or service not known\n",
    "sudo: setrlimit(RLIMIT_CORE): Operation not permitted\n",
]


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize(("text", "cls", "fact"), SAID)
def test_what_lvm_says_becomes_an_error_of_ours(text: str, cls: type[Error], fact: str, before: str) -> None:
    if before and cls is errors.CommandFailed:
        fact = "exit code 5"
    error = lvm_errors.explain("lvs", "vg", Completed(("lvs",), 5, b"", (before + text).encode("latin-1")))
    assert type(error) is cls
    assert fact in str(error)
