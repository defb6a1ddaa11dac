"""M5: filling the cache from images with holes: time and bytes in proportion to what is allocated, nothing leaks."""

from __future__ import annotations

from vafnebula import names, units
from vafnebula.bench import content
from vafnebula.bench.cold import ALLOWED, P, cold
from vafnebula.bench.record import Record, plain, ratio
from vafnebula.bench.rounds import Case
from vafnebula.bench.stage import MODES, SDS, Stage
from vafnebula.lab.opennebula import Image

SIZE = units.GIB
HOLES = (10, 50, 90)  # percent
QEMU = ("qemu-img", "convert", "-f", "raw", "-O", "raw", "-n", "-t", "none", "-T", "none", "{image}", "{device}")
WHOLE = ("dd", "if={image}", "of={device}", "bs=64k", "conv=fdatasync")
PAINT = "former content of another disk"  # what a leak would show
# $1 VG: a volume over most of it is painted and removed
PAINTING = """
lvcreate -qq --yes -Wn -Zn -n paint -L "$2" "$1"
yes "$3" | dd of=/dev/$1/paint bs=1M iflag=fullblock oflag=direct status=none 2>/dev/null || :
lvremove -qq --yes "$1/paint"
"""
# $1 text, $2 device: lines with the text; zeros end a line, or a hole would be one that no memory holds
COUNTING = """
tr '\\0' '\\n' <"$2" | grep -a -c -F "$1" || [ $? -eq 1 ]
"""


def measure(stage: Stage) -> list[Record]:
    records = []
    for mode in MODES:
        for holes in HOLES:
            records += _mode(stage, mode, stage.image(SIZE // stage.share, holes), holes)
    return [*records, *_leak(stage)]


def _mode(stage: Stage, mode: str, image: Image, holes: int) -> list[Record]:
    data = sum(end - start for start, end in content.layout(image.size, holes))
    deeds, written = [], []

    def ours() -> float:
        before = stage.written()
        deed = stage.deed(mode, image)
        deeds.append(deed.seconds)
        written.append((stage.written() - before) / data)
        return deed.seconds

    cases: dict[str, Case] = {
        "ours": lambda: cold(stage, image, ours),
        "P": lambda: stage.into_fresh(mode, image, *P),
        "qemu-img": lambda: stage.into_fresh(mode, image, *QEMU),
        "dd bs=64k": lambda: stage.into_fresh(mode, image, *WHOLE),
    }
    took = stage.alternate({f"{mode}, {holes} % holes: {name}": case for name, case in cases.items()})
    took = {name.rsplit(": ", 1)[1]: samples for name, samples in took.items()}
    case = f"{mode} {units.human(image.size)}, {holes} % holes"
    bound = [ALLOWED * p * data / image.size for p in took["P"]]
    return [
        plain("M5", f"{case}: bytes written", "ratio to allocated", written, 1.05),
        ratio("M5", f"{case}: deed", "ratio to 1.15 P x allocated part", took["ours"], bound, 1),
        ratio("M5", f"{case}: deed", "ratio to qemu-img convert", took["ours"], took["qemu-img"], 1),
        ratio("M5", f"{case}: deed", "ratio to dd bs=64k conv=fdatasync", took["ours"], took["dd bs=64k"], 1),
    ]


def _leak(stage: Stage) -> list[Record]:
    """Lines of an older volume that can be read through a clone of an image with holes."""
    image, records = stage.image(SIZE // stage.share, HOLES[-1]), []
    for mode in MODES:
        stage.tell(f"{mode}: painting a volume, then looking for it in a clone")
        vg = names.vg(SDS[mode])
        stage.sh(PAINTING, vg, f"{2 * image.size}b", PAINT)
        if mode == "thin":
            stage.into_fresh(mode, image, "sh", "-c", f"yes '{PAINT}' | dd of={{device}} bs=1M iflag=fullblock || :")
        stage.deed(mode, image)
        device = stage.sh("ls -d /dev/$1/lv-one-*", vg).split()[0]
        found = stage.sh(COUNTING, PAINT, device)
        records.append(plain("M5", f"{mode}: lines of an older volume readable in a clone", "lines", [int(found)], 0))
        stage.clear(origins=True)
    return records
