"""M14: a clone from a filled cache in a volume group of many volumes, beside one `lvs` and a bare `lvcreate -s`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from vafnebula import names, units
from vafnebula.bench.onnode import step, timed
from vafnebula.bench.record import Record, plain
from vafnebula.bench.rounds import Case, alternate
from vafnebula.bench.stage import SDS, Stage
from vafnebula.lab.opennebula import Image

VG = names.vg(SDS["thin"])
SIZE = units.GIB
VOLUMES = (50, 250, 1000)
LEAST = 7  # rounds: what is looked for is smaller than what one round wobbles by
WHAT: dict[str, tuple[str, float | None]] = {
    "action": ("whole action", 1),
    "deed": ("node process", 1),
    "S": ("bare lvcreate -s", None),
}

# $1 VG, $2 from, $3 to: thin volumes that are not active, all made by one process
GROW = f"""
for i in $(seq "$2" "$3"); do
    echo "lvcreate -qq -An -an -kn -V 64m -T $1/{names.THIN_POOL} -n other$i"
done | lvm >/dev/null
test "$(lvs --noheadings -S 'lv_name=~^other' "$1" | wc -l)" = "$3"
"""
TAKE = 'lvremove -qq --yes "$1/reference"'


def measure(stage: Stage) -> list[Record]:
    image = stage.image(SIZE, 90)
    stage.tell("filling the cache")
    origin = names.ORIGIN_PREFIX + str(stage.deed("thin", image).facts["origin"])
    took: dict[int, dict[str, list[float]]] = {}
    have = 0
    for count in VOLUMES:
        stage.tell(f"making volumes until there are {count}")
        stage.sh(GROW, VG, str(have + 1), str(count))
        took[count] = _with(stage, image, origin)
        have = count
    stage.clear(origins=True)
    return _records(took)


def _with(stage: Stage, image: Image, origin: str) -> dict[str, list[float]]:
    """Seconds in the VG as it is.  The clones stay, for the others must: a few more do not matter."""
    lvs, bare = ["sudo", "-n", "lvs", VG], stage.bare("thin", origin, image.size)
    cases: dict[str, Case] = {
        "lvs": lambda: timed(stage.lab, stage.node, [step(*lvs)])[0].seconds,
        "S": partial(_bare, stage, bare),
        "deed": lambda: stage.deed("thin", image).process,
        "action": lambda: stage.clone("thin", image).seconds,
    }
    return alternate(max(LEAST, stage.rounds), cases, stage.tell)


def _bare(stage: Stage, words: list[str]) -> float:
    seconds = timed(stage.lab, stage.node, [step(*words)])[0].seconds
    stage.sh(TAKE, VG)
    return seconds


def _records(took: dict[int, dict[str, list[float]]]) -> list[Record]:
    few, *more = VOLUMES
    lvs = took[more[-1]]["lvs"]
    records = [plain("M14", f"{count} volumes: lvs itself", "s, here", took[count]["lvs"]) for count in VOLUMES]
    for count in more:
        for name, (what, goal) in WHAT.items():
            case = f"{count} beside {few} volumes: {what} takes longer by"
            records.append(growth(case, took[few][name], took[count][name], lvs, goal))
    return records


def growth(case: str, few: Sequence[float], many: Sequence[float], lvs: Sequence[float], goal: float | None) -> Record:
    """How much longer it takes with many volumes, in `lvs` of them.

    Of the quickest rounds only: few and many volumes cannot take turns, and what else the machine did meanwhile would
    count in the medians.
    """
    return plain("M14", case, "x lvs", [(min(many) - min(few)) / min(lvs)], goal)
