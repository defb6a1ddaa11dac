"""install.sh into a directory (DESTDIR): what is placed, that a second time changes nothing, and that all of it goes.

The lab has the same on a node, with sudo and LVM (tests/lab/test_install.py).
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vafnebula import __version__
from vafnebula.lab import deploy

CHECKOUT = Path(__file__).parents[2]
REMOTES = "var/lib/one/remotes"
EL = 'NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n'


def install(*words: str, code: int = 0, **environment: object) -> str:
    """Run install.sh; what it printed on both streams."""
    done = subprocess.run(
        [CHECKOUT / "install.sh", *words],
        env={**os.environ, "PYTHON": sys.executable, **{k: str(v) for k, v in environment.items()}},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def picture(root: Path) -> dict[str, object]:
    """Every path below `root` but those of the virtual environment, with mode, mtime and digest."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if "/venv/" in name:
            continue
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[name] = (stat.filemode(status.st_mode), 0 if path.is_dir() else status.st_mtime_ns, content)
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A front-end's file system with an oned.conf of its own, installed once."""
    root = tmp_path_factory.mktemp("site")
    (root / "etc/one").mkdir(parents=True)
    (root / "etc/one/oned.conf").write_text(
        'TM_MAD = [ EXECUTABLE = "one_tm",\n  ARGUMENTS = "-t 15 -d ssh,mine" ]\n'
        'DATASTORE_MAD = [\n  ARGUMENTS = "-t 15 -d fs,own -s ssh" ]\nOTHER = [ ARGUMENTS = "-d x" ]\n'
    )
    before = picture(root)
    told = install("frontend", DESTDIR=root)
    assert {name: picture(root)[name] for name in before} == before, "oned.conf is the site's"
    assert '"-t 15 -d ssh,mine,fs_lvm_snap"' in told
    assert '"-t 15 -d fs,own -s ssh,fs_lvm_snap"' in told
    for needed in ('TM_MAD_CONF = [\n    NAME = "fs_lvm_snap"', "VM_RESTRICTED_ATTR", "INHERIT_VNET_ATTR", "SYSTEM_DS"):
        assert needed in told
    return root


def test_a_second_installation_changes_nothing(site: Path) -> None:
    before = picture(site)
    assert install("frontend", DESTDIR=site) == ""
    assert picture(site) == before


def test_remotes_hold_what_the_lab_deploys(site: Path) -> None:
    """Two lists of the same files, in two languages."""
    wanted = {str(f.path): (f.executable, f.content) for f in deploy.plan(CHECKOUT) if f.path.name != "vafnebula.conf"}
    found = {
        str(p.relative_to(site / REMOTES)): (os.access(p, os.X_OK), p.read_bytes())
        for p in (site / REMOTES).rglob("*")
        if p.is_file() and p.name != "vafnebula.conf"
    }
    assert set(found) == set(wanted)
    assert [name for name in found if found[name][1] != wanted[name][1]] == []
    # oneadmin owns and runs them, root's permission bits do not matter there
    assert [n for n in found if bool((site / REMOTES / n).stat().st_mode & 0o100) != wanted[n][0]] == []


def test_the_command_line_runs_in_its_own_environment(site: Path) -> None:
    python = site / "usr/lib/vafnebula/venv/bin/python"
    done = subprocess.run([python, "-I", "-m", "vafnebula.cli", "--version"], capture_output=True, text=True, cwd="/")
    assert done.stdout == f"vafnebula, version {__version__}\n"
    started = (site / "usr/bin/vafnebula").read_text().splitlines()[-1]
    assert started == 'exec /usr/lib/vafnebula/venv/bin/python -I -m vafnebula.cli "$@"'


def test_a_site_keeps_its_changes_and_gets_new_versions_of_the_rest(site: Path) -> None:
    conf, stub = site / REMOTES / "etc/vafnebula/vafnebula.conf", site / REMOTES / "tm/fs_lvm_snap/clone"
    original, manifest = conf.read_text(), site / "var/lib/vafnebula/frontend"
    conf.write_text("[net]\nmode = enforce\n")
    # as if an older version had put another stub there, and a file that is no more
    stub.write_text("old\n")
    gone = stub.with_name("gone")
    gone.write_text("old\n")
    digest = hashlib.sha256(b"old\n").hexdigest()
    lines = [line for line in manifest.read_text().splitlines() if not line.endswith("/fs_lvm_snap/clone")]
    old = [f"file {digest} /{REMOTES}/tm/fs_lvm_snap/{name}" for name in ("clone", "gone")]
    manifest.write_text("\n".join([*lines, *old]) + "\n")
    assert "vafnebula.conf has local changes and stays" in install("frontend", DESTDIR=site)
    assert conf.read_text() == "[net]\nmode = enforce\n"
    assert stub.read_bytes() == (CHECKOUT / "mads/tm/fs_lvm_snap/clone").read_bytes()
    assert not gone.exists()
    conf.write_text(original)
    assert install("frontend", DESTDIR=site) == ""


def test_a_dry_run_says_what_it_would_do_and_does_nothing(tmp_path: Path) -> None:
    told = install("frontend", "--dry-run", DESTDIR=tmp_path)
    assert f"would write /{REMOTES}/tm/fs_lvm_snap/clone" in told
    assert list(tmp_path.iterdir()) == []
    told = install("node", "--dry-run", "--sds", "100", "--device", "/dev/nothing", DESTDIR=tmp_path)
    assert "would write /etc/sudoers.d/vafnebula" in told
    assert list(tmp_path.iterdir()) == []


def test_without_a_net_section_hooks_would_enforce_so_they_are_left_out(tmp_path: Path) -> None:
    conf = tmp_path / REMOTES / "etc/vafnebula/vafnebula.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text("[storage]\nmode = thick\n")
    told = install("frontend", "--dry-run", DESTDIR=tmp_path)
    assert "has no section [net]" in told
    assert "50-vafnebula" not in told


def test_what_somebody_else_put_there_stops_it_before_anything_is_written(tmp_path: Path) -> None:
    stub = tmp_path / REMOTES / "tm/fs_lvm_snap/ln"
    stub.parent.mkdir(parents=True)
    stub.write_text("not ours\n")
    before = picture(tmp_path)
    assert "exists and is not from this installer" in install("frontend", DESTDIR=tmp_path, code=1)
    assert picture(tmp_path) == before


def test_a_self_contained_opennebula(tmp_path: Path) -> None:
    told = install("frontend", "--dry-run", ONE_LOCATION="/srv/one", DESTDIR=tmp_path)
    assert "would write /srv/one/var/remotes/tm/fs_lvm_snap/clone" in told
    assert "would write /srv/one/bin/vafnebula" in told
    assert "In /srv/one/etc/oned.conf" in told
    written = [line for line in told.splitlines() if line.startswith("would write")]
    assert all(line.startswith("would write /srv/one/") for line in written)


@pytest.mark.parametrize(
    ("verb", "packages"),
    [("frontend", ("python3.11", "openssh-clients")), ("node", ("device-mapper-persistent-data", "qemu-img", "lvm2"))],
)
def test_el_has_other_package_names(tmp_path: Path, verb: str, packages: tuple[str, ...]) -> None:
    release = tmp_path / "os-release"
    release.write_text(EL)
    told = install(verb, "--dry-run", OS_RELEASE=release)
    [line] = [line for line in told.splitlines() if "would install packages:" in line]
    assert set(packages) <= set(line.split())
    assert "thin-provisioning-tools" not in told


def test_an_unknown_distribution_is_refused(tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text("ID=plan9\n")
    assert "knows Debian, Ubuntu and the EL family" in install("node", "--dry-run", OS_RELEASE=release, code=1)


@pytest.mark.parametrize(
    "words",
    [
        ("node", "--sds", "1;reboot", "--device", "/dev/sdb"),
        ("node", "--sds", "100"),
        ("node", "--device", "/dev/sdb"),
        ("node", "--sds", "100", "--device", "sdb"),
        ("node", "--sds", "100", "--device", "/dev/sdb\n/dev/sdc"),
        ("node", "--sds", "100", "--device", "/dev/$(reboot)"),
        ("node", "--host", "-oProxyCommand=reboot"),
        ("node", "--host", "n1;reboot"),
        ("node", "--mode", "fat"),
        ("node", "--chunk", "3"),
        ("node", "--sds"),
        ("node", "--everything"),
        ("frontend", "extra"),
        ("uninstall", "--host"),
    ],
)
def test_bad_words_are_refused_before_anything_happens(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert "install.sh: " in install(*words, DESTDIR=tmp_path, code=1)
    assert list(tmp_path.iterdir()) == []


def test_a_nodes_files_and_their_removal(tmp_path: Path) -> None:
    (tmp_path / "etc/sudoers.d").mkdir(parents=True)
    (tmp_path / "etc/sudoers.d/site").write_text("# theirs\n")
    before = picture(tmp_path)
    install("node", DESTDIR=tmp_path)
    placed = picture(tmp_path)
    for rules in ("vafnebula", "vafnebula-net"):
        assert placed[f"etc/sudoers.d/{rules}"][0] == "-r--r-----"  # type: ignore[index]
        assert (tmp_path / "etc/sudoers.d" / rules).read_bytes() == (CHECKOUT / "share/sudoers" / rules).read_bytes()
    assert "etc/systemd/system/vafnebula-activate.service" in placed
    assert install("node", DESTDIR=tmp_path) == ""
    assert picture(tmp_path) == placed
    install("uninstall", DESTDIR=tmp_path)
    assert picture(tmp_path) == before


def test_an_interrupted_installation_is_finished_or_removed(tmp_path: Path) -> None:
    """The manifest knows of a file before it is there."""
    install("node", DESTDIR=tmp_path)
    whole = picture(tmp_path)
    manifest = tmp_path / "var/lib/vafnebula/node"
    for name in ("vafnebula-activate.service", "vafnebula-net-reconcile.timer"):
        (tmp_path / "etc/systemd/system" / name).unlink()
    install("node", DESTDIR=tmp_path)
    assert set(picture(tmp_path)) == set(whole)
    manifest.write_text("".join(line for line in manifest.read_text().splitlines(keepends=True)))
    (tmp_path / "etc/sudoers.d/vafnebula").unlink()
    install("uninstall", DESTDIR=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_zz_uninstall_leaves_nothing_but_what_was_there(site: Path) -> None:
    conf = site / REMOTES / "etc/vafnebula/vafnebula.conf"
    original = conf.read_text()
    conf.write_text(original + "# mine\n")
    would = install("uninstall", "--dry-run", DESTDIR=site)
    assert "would be removing /usr/lib/vafnebula/venv" in would
    assert "vafnebula.conf has local changes and stays" in install("uninstall", DESTDIR=site)
    left = [p for p in site.rglob("*") if p.is_file()]
    assert sorted(left) == sorted([conf, site / "etc/one/oned.conf"])
    conf.unlink()
    for above in list(conf.parents)[: len(conf.relative_to(site).parents) - 1]:
        above.rmdir()
    assert [str(p.relative_to(site)) for p in site.rglob("*")] == ["etc/one", "etc/one/oned.conf"] or sorted(
        str(p.relative_to(site)) for p in site.rglob("*")
    ) == ["etc", "etc/one", "etc/one/oned.conf"]
    assert "nothing of vafnebula is installed here" in install("uninstall", DESTDIR=site)
