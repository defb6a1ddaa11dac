"""Every deed, struck at every step, on real LVM: see storm.py, which does the striking on the node."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vafnebula.lab import Lab

STORM = "/tmp/storm.py"  # gone after a power cut
MATRIX_LIMIT = 3600.0  # seconds; a bound for a stuck node, not a measure
NODE_OF = {"thin": ("n1", 100), "thick": ("n2", 200)}

# The points at which power may fail, as (mode, scenario, step before which it fails, how far the step got).
CUTS = {
    "thin: volume of the origin created": ("thin", "clone-cold", "copy", "kill"),
    "thin: half copied": ("thin", "clone-cold", "copy", "midway"),
    "thin: copied but not tagged": ("thin", "clone-cold", "lvchange", "kill"),
    "thin: tagged but not renamed": ("thin", "clone-cold", "lvrename", "kill"),
    "thin: snapshot made but not linked": ("thin", "clone-cold", "publish", "kill"),
    "thick: half copied": ("thick", "clone-cold", "copy", "midway"),
    "thick: snapshot made but not linked": ("thick", "clone-cold", "publish", "kill"),
    "thin: a revert between its two renames": ("thin", "snap_revert", "lvrename#2", "kill"),
    "thin: a revert that is done but for the old disk": ("thin", "snap_revert", "lvremove", "kill"),
    "thin: an image that is half copied": ("thin", "cpds", "copy", "midway"),
    "thin: an image that is proven but not renamed": ("thin", "cpds", "rename", "kill"),
    "thick: a restore between its two renames": ("thick", "restore", "lvrename#2", "kill"),
    "thin: disk half received": ("thin", "mv", "receive", "midway"),
    "thick: disk received but not linked": ("thick", "mv", "publish", "kill"),
    "thin: all received, the source about to go": ("thin", "mv-rest", "ask", "kill"),
    "thin: the source's volumes gone, its directory not": ("thin", "drop", "remove_tree", "kill"),
    "thin: disk saved but its volume still there": ("thin", "mvds", "lvremove", "kill"),
}


def send(lab: Lab, node: str) -> None:
    code = (Path(__file__).parent / "storm.py").read_bytes()
    lab.ssh(node, ["sh", "-c", f"cat > {STORM}"], input=code)


def test_every_step_may_fail_or_be_the_last(clean_lab: Lab) -> None:
    """Both modes at once, each on a node of its own."""
    storms = {}
    for mode, (node, sds) in NODE_OF.items():
        send(clean_lab, node)
        storms[mode] = clean_lab.popen(["ssh", node, f"exec python3 -I {STORM} matrix {mode} {sds}"])
    rows = []
    try:
        for mode, storm in storms.items():
            done = storm.wait(MATRIX_LIMIT)
            found = [json.loads(line) for line in done.out.splitlines()]
            assert done.code == 0, f"{mode}: the matrix ended after {len(found)} strikes: {done.why}"
            rows += found
    finally:
        for storm in storms.values():
            storm.kill()
    scenarios = {row["scenario"] for row in rows}
    wanted = {"clone-cold", "clone-warm", "ln", "mkswap", "mkimage", "mvds", "delete", "delete-all"}
    assert wanted | {"mv", "mv-rest", "drop"} <= scenarios
    assert {"snap_create", "snap_delete", "snap_revert", "resize", "cpds", "backup", "restore"} <= scenarios
    assert {row["strike"] for row in rows} == {"fail", "kill", "midway"}
    assert [row for row in rows if not row["ok"]] == []


@pytest.mark.parametrize("point", CUTS)
def test_power_may_fail(clean_lab: Lab, point: str) -> None:
    mode, scenario, step, strike = CUTS[point]
    node, sds = NODE_OF[mode]
    send(clean_lab, node)
    place = [mode, str(sds), scenario]
    running = clean_lab.popen(["ssh", node, f"exec python3 -I {STORM} halt {' '.join(place)} {step} {strike}"])
    try:
        assert running.line(60) == b"HALT\n"
        clean_lab.cut(node)
    finally:
        running.kill()
    clean_lab.boot(node)
    send(clean_lab, node)
    done = clean_lab.ssh(node, ["python3", "-I", STORM, "again", *place], check=False)
    assert (done.code, done.out) == (0, b"GOOD\n"), done.why
