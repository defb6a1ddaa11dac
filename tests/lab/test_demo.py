"""The demo: its scenario leaves nothing but the cached image behind, and stopping it leaves nothing at all."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from vafnebula.demo.screen import Screen
from vafnebula.demo.story import Plan, Story
from vafnebula.lab import Lab, state
from vafnebula.lab.opennebula import OpenNebula
from vafnebula.units import MIB


def test_the_scenario_plays_and_leaves_the_cached_image_only(clean_lab: Lab) -> None:
    said = io.StringIO()
    with OpenNebula(clean_lab) as one:
        told = Story(clean_lab, one, Screen(Console(file=said)), Plan(size=32 * MIB, workers=2, repeats=1)).play()
    assert len(told.rows) == 8
    assert all(row.seconds > 0 and row.beside > 0 for row in told.rows)
    assert told.volumes.count("vaf-origin-") > 5  # the origin, and as that of its snapshots
    for node in clean_lab.nodes:
        volumes = clean_lab.sh(node, "lvs --noheadings -o lv_name vg-one-100 vg-one-200").split()
        assert [v for v in volumes if not v.startswith("vaf-origin-")] == ["vaf-thinpool"]
        assert clean_lab.sh(node, "ls /var/lib/one/datastores/100") == ""


def test_an_interrupt_is_one_line_and_takes_the_lab_away() -> None:
    program = Path(sys.executable).with_name("vafnebula")
    with subprocess.Popen([program, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("For comparison"):
                break
        demo.send_signal(signal.SIGINT)
        _, said = demo.communicate(timeout=60)
    assert (demo.returncode, said) == (130, "demo: stopped by SIGINT; the lab is gone\n")
    assert not state.directory(f"demo-{demo.pid}").exists()
