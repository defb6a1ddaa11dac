"""M8: the end of a disk that its VM has written to: wall time, and bytes that the removal itself writes."""

from __future__ import annotations

from functools import partial

from vafnebula import names, units
from vafnebula.bench.record import Record, plain, ratio
from vafnebula.bench.rounds import Case
from vafnebula.bench.stage import MODES, SDS, Stage
from vafnebula.lab.opennebula import Disk, Image

SIZE = units.GIB
CHANGED = 128 * units.MIB
LITTLE = 1024  # KiB: LVM's metadata and the thin pool's, no data


def measure(stage: Stage) -> list[Record]:
    image = stage.image(SIZE, 90)
    written: dict[str, list[float]] = {mode: [] for mode in MODES}
    cases: dict[str, Case] = {}
    for mode in MODES:
        stage.clone(mode, image)
        stage.clear()
        cases[f"{mode} ssh S"] = partial(_bare, stage, mode)
        cases[f"{mode} delete"] = partial(_delete, stage, mode, image, written[mode])
    took = stage.alternate(cases)
    stage.clear(origins=True)
    records = []
    for mode in MODES:
        case = f"{mode} 1 GiB, {units.human(CHANGED)} changed: delete"
        bare = took[f"{mode} ssh S"]
        records += [
            plain("M8", f"{case}, bytes written", "KiB", written[mode], LITTLE),
            ratio("M8", f"{case}, whole action", "ratio to ssh S", took[f"{mode} delete"], bare),
        ]
    return records


def _bare(stage: Stage, mode: str) -> float:
    origin = stage.sh("lvs --noheadings -o lv_name $1 | grep vaf-origin", names.vg(SDS[mode])).strip()
    seconds = stage.one.run(["ssh", "--", stage.node, *stage.bare(mode, origin, SIZE)]).seconds
    stage.clear()
    return seconds


def _delete(stage: Stage, mode: str, image: Image, written: list[float]) -> float:
    vm = stage.vm(mode, Disk(0, image))
    stage.one.act("clone", vm.id, 0)
    device = names.device(names.vg(vm.sds), names.disk_volume(vm.id, 0))
    stage.sh('dd if=/dev/zero of="$1" bs=1M count="$2" oflag=direct; sync', device, str(CHANGED // units.MIB))
    before = stage.written()
    seconds = stage.one.act("delete", vm.id, 0).seconds
    stage.sh("sync")
    written.append((stage.written() - before) / units.KIB)
    return seconds
