"""The lab's own root: the host's programs read-only, everything else new and in memory.

    /usr             the host's, read-only
    /etc             a read-only copy of the host's; /etc/passwd, group and hosts are the lab's
    /dev             the few devices that are needed, and a /dev/shm of its own
    /var /run /tmp   empty; gone with the lab
    /lab             the lab's state directory on the host: the only place on a disk
    CHECKOUT         this project's tree at its own path, read-only (also /opt/vafnebula), with its interpreter

Front-end and nodes see this root only: the nodes through hostfs or virtiofs as the lower half of an overlay.  So a
node cannot write the host's files, and a checkout below somebody's 0700 directory can be read by oneadmin: the
directories above it are new here.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import sys
from pathlib import Path

from vafnebula import process
from vafnebula.lab import accounts, qemu
from vafnebula.lab.spec import FRONTEND, NETWORK, Spec

LIMIT = 30  # seconds for any of the small commands here
DEVICES = {  # with their numbers, for a host that lacks one
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
    "fuse": (10, 229),
    "net/tun": (10, 200),
}
DIRECTORIES = {
    "dev proc sys etc usr root home mnt srv opt lab var/lib var/log/glusterfs var/cache var/spool": 0o755,
    "run/lock run/sshd run/gluster var/lib/glusterd var/log/glusterfs/bricks": 0o755,
    "tmp var/tmp dev/shm": 0o1777,
}


def checkout() -> Path:
    """The directory that contains this package: a checkout, or site-packages."""
    return Path(__file__).resolve().parents[2]


def code_directories() -> list[Path]:
    """Everything outside /usr that must be readable to run this project's code: its tree and its interpreters."""
    tree = checkout()
    wanted = [tree, Path(sys.prefix), Path(sys.base_prefix)]
    python = tree / ".venv/bin/python"
    if python.exists():
        wanted += [tree / ".venv", python.resolve().parents[1]]
    wanted += [p.resolve() for p in wanted]
    kept: list[Path] = []
    for path in sorted(set(wanted)):
        if not any(path.is_relative_to(above) for above in [Path("/usr"), *kept]):
            kept.append(path)
    return kept


def build(spec: Spec, home: Path, code: list[Path]) -> None:
    """Make the root below `home`/root and move into it.  Runs in the lab's new namespaces.

    Raises CommandFailed or OSError.
    """
    root = home / "root"
    root.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", "mode=755", "lab", str(root))
    for paths, mode in DIRECTORIES.items():
        for path in paths.split():
            (root / path).mkdir(parents=True, exist_ok=True)
            (root / path).chmod(mode)
    for link, target in {"run": "../run", "lock": "../run/lock"}.items():
        (root / "var" / link).symlink_to(target)  # relative: also followed from outside, by /proc/PID/root
    _bind(Path("/usr"), root / "usr")
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        _same(Path("/", name), root / name)
    _etc(spec, root)
    _devices(root)
    for directory in code:
        _code(directory, root)
    opt = root / "opt/vafnebula"
    if not opt.exists():
        opt.symlink_to(checkout())
    _mount("--bind", str(home), str(root / "lab"))
    if spec.backend == "qemu":
        _kernel(root / "lab/kernel")
    _mount("-t", "proc", "proc", str(root / "proc"))
    _mount("-t", "sysfs", "-o", "ro", "sys", str(root / "sys"))
    _enter(root)
    socket.sethostname(FRONTEND)
    _network(spec)


def _same(path: Path, new: Path) -> None:
    """/bin and the like: a link where /usr is merged, else a directory."""
    if path.is_symlink():
        new.symlink_to(path.readlink())
    elif path.is_dir():
        new.mkdir()
        _bind(path, new)


def _etc(spec: Spec, root: Path) -> None:
    """A copy, because a file that is mounted over one of the host's goes when the host replaces its own: that is what
    installing a package does to /etc/passwd."""
    etc = root / "etc"
    process.run(["cp", "-a", "--", "/etc/.", str(etc)], timeout=LIMIT)
    for name, text in (("hosts", spec.hosts), ("passwd", accounts.passwd()), ("group", accounts.group())):
        file = etc / name
        file.unlink(missing_ok=True)  # a link would lead out of the lab
        file.write_text(text)
        file.chmod(0o644)
    _bind(etc, etc)


def _devices(root: Path) -> None:
    _mount("-t", "tmpfs", "-o", "mode=755", "dev", str(root / "dev"))
    for name, (major, minor) in DEVICES.items():
        device = root / "dev" / name
        device.parent.mkdir(exist_ok=True)
        if Path("/dev", name).exists():
            device.touch()
            _mount("--bind", f"/dev/{name}", str(device))
        else:
            os.mknod(device, 0o600 | stat.S_IFCHR, os.makedev(major, minor))
    for name, target in {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}.items():
        (root / "dev" / name).symlink_to(f"/proc/self/fd{target}")
    for name, kind, options in (("pts", "devpts", "mode=620,ptmxmode=666,newinstance"), ("shm", "tmpfs", "mode=1777")):
        (root / "dev" / name).mkdir()
        _mount("-t", kind, "-o", options, name, str(root / "dev" / name))
    (root / "dev/ptmx").symlink_to("pts/ptmx")


def _code(path: Path, root: Path) -> None:
    """Show `path` at its own place; a copy with readable modes when others may not read it (umask 077)."""
    new = root / path.relative_to("/")
    new.mkdir(parents=True, exist_ok=True)
    samples = [path, *path.glob("*"), *path.glob("*/__init__.py"), *path.glob("bin/*"), *path.glob(".venv/*")]
    if all(p.is_symlink() or p.stat().st_mode & 0o004 for p in samples):
        _bind(path, new)
        return
    skip = shutil.ignore_patterns(".git", "__pycache__")
    shutil.copytree(path, new, symlinks=True, ignore=skip, dirs_exist_ok=True)
    process.run(["chmod", "-R", "go+rX", "--", str(new)], timeout=LIMIT)


def _kernel(new: Path) -> None:
    """Show the kernel of the QEMU nodes and its modules at `new`."""
    new.mkdir()
    _bind(qemu.cache(), new)


def _enter(root: Path) -> None:
    """pivot_root: what nsenter finds as the root of this mount namespace from now on."""
    os.chdir(root)
    (root / "mnt/old").mkdir()
    process.run(["pivot_root", ".", "mnt/old"], timeout=LIMIT)
    os.chroot(".")
    os.chdir("/")
    process.run(["umount", "-l", "/mnt/old"], timeout=LIMIT)
    Path("/mnt/old").rmdir()
    os.umask(0o022)


def _network(spec: Spec) -> None:
    """The lab's bridge with the front-end's address, and one tap per node."""
    lines = ["link set lo up", "link add lab0 type bridge", f"addr add {NETWORK}.1/24 dev lab0", "link set lab0 up"]
    for node in spec.node_names:
        tap = f"tap-{node}"
        lines += [f"tuntap add dev {tap} mode tap", f"link set {tap} master lab0 up"]
    process.run(["ip", "-batch", "-"], input="\n".join(lines).encode(), timeout=LIMIT)


def _bind(source: Path, target: Path) -> None:
    """Show `source` read-only at `target`."""
    _mount("--bind", str(source), str(target))
    _mount("-o", "remount,bind,ro", str(target))


def _mount(*arguments: str) -> None:
    process.run(["mount", "-n", *arguments], timeout=LIMIT)
