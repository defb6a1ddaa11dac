"""The second backend: QEMU without KVM, and the stock kernel that Debian ships for clouds.

The kernel is fetched once with apt and kept beside the project's environment; nothing is installed.  The lab's root
comes through virtiofs where UML has hostfs; from the overlay on, both backends run the same guest/init.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

from vafnebula import errors, process
from vafnebula.lab.errors import LabError
from vafnebula.lab.spec import INSIDE, Spec

PACKAGE = "linux-image-cloud-amd64"
FETCH = 600  # seconds for the download of 50 MB
# in the order in which they depend on each other
MODULES = (
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci",
    "fs/fuse/fuse",
    "fs/fuse/virtiofs",
    "fs/overlayfs/overlay",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
    "drivers/block/virtio_blk",
    "drivers/char/hw_random/virtio-rng",
)
APPEND = "console=ttyS0 quiet mitigations=off nokaslr tsc=reliable no_timer_check panic=-1 net.ifnames=0"


def cache() -> Path:
    """Where the unpacked kernel is kept: in the virtual environment when there is one."""
    here = Path(sys.prefix) if sys.prefix != sys.base_prefix else Path("/var/cache/vafnebula-lab")
    return here / "lab-kernel"


def fetch() -> None:
    """Have the kernel: vmlinuz and lib/modules/VERSION below `cache`.  Raises LabError."""
    home = cache()
    if home.exists():
        return
    home.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="lab-kernel-", dir=home.parent))
    try:
        depends = process.run(["apt-cache", "depends", PACKAGE], timeout=FETCH).out.decode()
        package = re.search(r"Depends: (linux-image-\S+)", depends)
        if not package:
            raise LabError(what="kernel", why=f"apt does not know {PACKAGE}", advice="run `apt-get update`")
        process.run(["apt-get", "-q", "download", package[1]], timeout=FETCH, cwd=str(scratch))
        archive = next(scratch.glob("*.deb"))
        process.run(["dpkg-deb", "-x", str(archive), str(scratch / "kernel")], timeout=FETCH)
        version = next((scratch / "kernel/lib/modules").iterdir()).name
        process.run(["depmod", "-b", str(scratch / "kernel"), version], timeout=FETCH)
        next((scratch / "kernel/boot").glob("vmlinuz-*")).rename(scratch / "kernel/vmlinuz")
        (scratch / "kernel").chmod(0o755)
        (scratch / "kernel").rename(home)
    except errors.CommandFailed as e:
        advice = "run `apt-get update` and try again"
        raise LabError(what="kernel for QEMU", why=str(e), advice=advice) from e
    finally:
        shutil.rmtree(scratch)


def version(kernel: Path) -> str:
    """The kernel's version, from its modules below `kernel`."""
    return next((kernel / "lib/modules").iterdir()).name


def initrd(own: Path, guest: Path, kernel: Path) -> None:
    """Write `own`/initrd: busybox, the modules that reach the root, and the node's seed."""
    tree = own / "initrd.d"
    for name in ("bin", "m", "proc", "sys", "dev", "root", "low", "up"):
        (tree / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    shutil.copy(guest / "stage1-qemu", tree / "init")
    for number, module in enumerate(MODULES):  # loaded in the order of their names
        source = kernel / f"lib/modules/{version(kernel)}/kernel/{module}.ko"
        shutil.copy(source, tree / f"m/{number:02}-{source.name}")
    (tree / "version").symlink_to(version(kernel))
    shutil.move(own / "seed", tree / "seed")
    listing = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    archive = process.run(
        ["cpio", "-o", "-H", "newc", "--quiet"], input=listing.encode(), timeout=60, cwd=str(tree)
    ).out
    (own / "initrd").write_bytes(archive)
    shutil.rmtree(tree)


def argv(spec: Spec, node: str) -> list[str]:
    """The machine: guest/qemu starts virtiofsd for it first."""
    own = INSIDE / node
    drives = []
    for number, image in enumerate(["home.img", *spec.data_disks.values()]):
        options = f"file={own}/{image},format=raw,if=none,id=d{number},cache=writeback,discard=ignore"
        drives += ["-drive", options, "-device", f"virtio-blk-pci,drive=d{number}"]
    # fmt: off
    return [
        str(INSIDE / "guest/qemu"), str(own / "virtiofs.sock"),
        "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "Nehalem-v1", "-smp", "1",
        "-m", str(spec.mem),
        "-object", f"memory-backend-memfd,id=m,size={spec.mem}M,share=on", "-machine", "memory-backend=m",
        "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
        "-kernel", str(INSIDE / "kernel/vmlinuz"), "-initrd", str(own / "initrd"), "-append", APPEND,
        "-chardev", f"socket,id=c0,path={own}/virtiofs.sock", "-device", "vhost-user-fs-pci,chardev=c0,tag=lab",
        "-netdev", f"tap,id=n0,ifname=tap-{node},script=no,downscript=no",
        "-device", f"virtio-net-pci,netdev=n0,mac={spec.mac(node)},romfile=",
        "-device", "virtio-rng-pci",
        *drives,
    ]
    # fmt: on
