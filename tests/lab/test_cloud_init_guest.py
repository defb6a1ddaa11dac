"""A guest with cloud-init: USER_DATA is a program that finds its variables and its OneGate token on the context CD."""

from __future__ import annotations

import base64
from pathlib import Path

from tests.lab.machines import Machines, loop_device
from tests.unit.context.examples import GOOD, write
from vafnebula.context import guest
from vafnebula.context.build import build
from vafnebula.context.load import load

DEFINITION = GOOD + "    agent: cloud-init\n    context: {token: true, late: {A: 'wn $VMID'}, script: s.sh}\n"
SCRIPT = '#!/bin/sh\necho "$A $ONEGATE_TOKEN" >>/root/said\n'


def test_variables_and_token_reach_the_script_at_every_boot(tmp_path: Path) -> None:
    built = build(load(write(tmp_path, {"cluster.yaml": DEFINITION, "s.sh": SCRIPT})), "worker")
    variables = guest.context(built.template, {"VMID": "7"})
    cd = tmp_path / "cd"
    write(cd, {"context.sh": guest.context_sh(variables), "token.txt": "t-7"})
    made = ("mkfs.ext4", "-q", "-L", "CONTEXT", "-d", str(cd))  # not every kernel that runs tests reads ISO 9660
    with loop_device(tmp_path / "image", "8M", *made) as device, Machines(tmp_path, "172.16.1.1") as machines:
        machine = machines.boot("guest", "172.16.1.10")
        machine.sh('mknod "$1" b 7 "${1#/dev/loop}"; mkdir /dev/disk/by-label', device)
        machine.sh('ln -s "$1" /dev/disk/by-label/CONTEXT', device)
        machine.write("/var/lib/cloud/instance/scripts/part-001", base64.b64decode(variables["USER_DATA"]), "0700")
        machine.run("/var/lib/cloud/instance/scripts/part-001")
        assert machine.sh("cat /root/said") == "wn 7 t-7\n"
        machine.run("run-parts", "/var/lib/cloud/scripts/per-boot")  # what cloud-init does at the next boots
        assert machine.sh("cat /root/said") == "wn 7 t-7\nwn 7 t-7\n"
        assert device not in machine.sh("cat /proc/mounts")
