"""Every stub, run as OpenNebula runs it: recorded arguments and environment, empty stdin, a shell in between."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.contract.frontend import CHECKOUT, Frontend
from tests.contract.opennebula_reader import SENTENCE, read_6, read_7
from tests.fakes.oned import Oned, Raw, free_port
from vafnebula import __version__, errors
from vafnebula.model import Order, Reply

ROOT = "/var/lib/one//datastores"
CLONE = ("clone", f"vm:{ROOT}/101/0bc4bcd34ed3b7783ad9b46092d9b591", f"node1:{ROOT}/100/3/disk.0", "3", "101")
LN = ("ln", f"vm:{ROOT}/101/5f9a45dee0caa24535b2946abb02823b", f"node1:{ROOT}/100/3/disk.1", "3", "101")
MKIMAGE = ("mkimage", "20", "raw", f"node1:{ROOT}/100/3/disk.2", "3", "100")
MKSWAP = ("mkswap", "16", f"node1:{ROOT}/100/3/disk.3", "3", "100")
MVDS = ("mvds", f"node1:{ROOT}/100/3/disk.1", f"{ROOT}/101/5f9a45dee0caa24535b2946abb02823b", "3", "101")
DELETE = ("delete", f"node1:{ROOT}/100/3/disk.0", "3", "101")
DELETE_DIRECTORY = ("delete", f"node1:{ROOT}/100/3", "3", "100")
ATTACH = ("clone", f"vm:{ROOT}/101/7ef3b39f6726399d837ad9ca567245e4", f"node1:{ROOT}/100/3/disk.6", "3", "101")
TM_MAD_SYSTEM = ("ln", f"vm:{ROOT}/103/ba7a726341a1c152b3527e42f2bcb4d8", f"node1:{ROOT}/100/20/disk.1", "20", "103")
SNAP_CREATE = ("snap_create", f"node2:{ROOT}/100/3/disk.0", "1", "3", "101")
SNAP_CREATE_LIVE = ("snap_create_live", f"node1:{ROOT}/100/3/disk.0", "0", "3", "101")
SNAP_DELETE = ("snap_delete", f"node2:{ROOT}/100/3/disk.0", "1", "3", "101")
SNAP_REVERT = ("snap_revert", f"node2:{ROOT}/100/3/disk.0", "0", "3", "101")
RESIZE = ("resize", f"node1:{ROOT}/100/3/disk.0", "96", "3", "101")
CPDS = ("cpds", f"node2:{ROOT}/100/3/disk.0", f"{ROOT}/101/b2ca03b1dc9896f3cd2e7f641aa75edc", "-1", "3", "101")
CPDS_SNAPSHOT = ("cpds", f"node2:{ROOT}/100/3/disk.0", f"{ROOT}/101/e7c9a7ba4443cb65cea761f97aa13224", "0", "3", "101")
SILENT = [
    DELETE,
    DELETE_DIRECTORY,
    SNAP_CREATE,
    SNAP_CREATE_LIVE,
    SNAP_DELETE,
    SNAP_REVERT,
    RESIZE,
    CPDS,
    CPDS_SNAPSHOT,
]
CALLS = [CLONE, LN, MKIMAGE, MKSWAP, MVDS, ATTACH, TM_MAD_SYSTEM, *SILENT]
"""SILENT ones need nothing from the API."""


def failed(frontend: Frontend, *call: str) -> str:
    """The one line of a call that must fail: read alike by 6.10 and 7.x, and nothing of it sent to another VM."""
    done = frontend.run(*call)
    assert (done.code, done.out) == (1, b"")
    line = done.err.decode().removesuffix("\n")
    assert line.isprintable()
    assert len(line) <= errors.LIMIT
    assert str(CHECKOUT) not in line
    for read in (read_6, read_7):
        seen = read(done.err)
        assert seen.info == line
        assert seen.routed == ()
        assert seen.user is not None
        assert seen.user.startswith(f"{SENTENCE}: {call[0]}")
    return line


@pytest.mark.parametrize("call", CALLS, ids=lambda c: f"{c[0]}-{c[-2]}-{c[-1]}")
def test_success_is_silent_and_costs_one_ssh_and_one_api_call(
    frontend: Frontend, oned: Oned, call: tuple[str, ...]
) -> None:
    done = frontend.run(*call)
    assert (done.code, done.out, done.err) == (0, b"", b"")
    assert len(oned.calls) == (0 if call in SILENT else 1)
    [(arguments, stdin)] = frontend.ssh_calls
    place = next(word for word in call if f":{ROOT}/100/" in word)
    assert arguments[arguments.index("--") + 1] == place.split(":")[0]
    order = Order.from_json(stdin, __version__)
    assert order.request.verb == call[0].removesuffix("_live")


def test_what_the_node_is_told(frontend: Frontend) -> None:
    frontend.configure("[storage]\nmode = thick\n[storage 100]\ncow_percent = 50\n[frontend]\nremote_dir = /srv/one\n")
    frontend.run(*CLONE)
    [(arguments, stdin)] = frontend.ssh_calls
    assert arguments[-1].endswith(" /srv/one/vafnebula")
    order = json.loads(stdin)
    assert order["request"] == {
        "disk": {"vm": 3, "disk": 0, "seq": 3, "sds": 100, "directory": "/var/lib/one/datastores/100/3"},
        "image": {"datastore": 101, "path": "/var/lib/one/datastores/101/0bc4bcd34ed3b7783ad9b46092d9b591"},
        "size": 64 * 2**20,
    }
    assert (order["settings"]["mode"], order["settings"]["cow_percent"]) == ("thick", 50)


def test_a_suffixed_name_is_the_same_action(frontend: Frontend) -> None:
    """one_tm falls back from clone.ssh to clone; a site may have a link of that name all the same."""
    frontend.stub("clone.ssh").symlink_to("clone")
    done = frontend.run("clone.ssh", *CLONE[1:])
    assert (done.code, done.err) == (0, b"")
    assert b'"verb": "clone"' in frontend.ssh_calls[0][1]


def test_noise_of_the_node_stays_there(frontend: Frontend) -> None:
    frontend.answer(b"Welcome!\n" + Reply(__version__).to_json() + b"\n", b"INFO: 7 perl: warning: Setting locale\n")
    done = frontend.run(*CLONE)
    assert (done.code, done.out, done.err) == (0, b"", b"")


def test_nothing_is_written_beside_the_stubs(frontend: Frontend) -> None:
    """What Python would leave in remotes/ goes to every node with the next onehost sync."""
    before = sorted(frontend.remotes.rglob("*"))
    frontend.run(*CLONE)
    assert sorted(frontend.remotes.rglob("*")) == before
    assert any((frontend.home / ".cache/vafnebula").rglob("*.pyc"))


@pytest.mark.parametrize("call", CALLS, ids=lambda c: f"{c[0]}-{c[-2]}-{c[-1]}")
def test_what_the_node_reports_is_what_the_user_sees(frontend: Frontend, call: tuple[str, ...]) -> None:
    frontend.reply("NoRoom", "vg-one-100 lacks room: 8 GiB wanted, 1 GiB free; remove VMs, evict images or add a disk")
    place = next(word for word in call if f":{ROOT}/100/" in word)
    what = "the VM directory" if call == DELETE_DIRECTORY else f"disk {place[-1]}"
    assert failed(frontend, *call) == (
        f"{call[0]} of {what} on {place.split(':')[0]}: "
        "vg-one-100 lacks room: 8 GiB wanted, 1 GiB free; remove VMs, evict images or add a disk"
    )


@pytest.mark.parametrize("text", ["404 not found", "ERROR: 404 not found", "INFO: 3 x", "- x", "a\nERROR: 12\nb", ""])
def test_f03_no_text_of_a_node_reaches_another_vm(frontend: Frontend, text: str) -> None:
    """`ERROR: 404 not found` crashed a real 7.4: it looked for VM 404."""
    frontend.reply("CopyFailed", text)
    failed(frontend, *CLONE)


def test_a_signal_kills_the_node_half(frontend: Frontend) -> None:
    frontend.answer(code=255)
    assert "connection was lost" in failed(frontend, *CLONE)


@pytest.mark.parametrize(
    ("err", "code", "why"),
    [
        (b"ssh: Could not resolve hostname node1: Name or service not known\n", 255, "Could not resolve hostname"),
        (b"ssh: connect to host node1 port 22: Connection refused\n", 255, "Connection refused"),
        (b"oneadmin@node1: Permission denied (publickey).\n", 255, "Permission denied"),
        (b"bash: line 1: /usr/bin/python3: No such file or directory\n", 127, "onehost sync -f"),
        (b"/usr/bin/python3: can't open file '/var/tmp/one/vafnebula': [Errno 2]\n", 2, "onehost sync -f"),
        (b"Traceback (most recent call last):\nImportError: x\n", 1, "ImportError: x"),
        (b"ERROR: 404 not found\nINFO: 12\n", 3, "exit code 3"),
    ],
)
def test_ssh_and_node_package(frontend: Frontend, err: bytes, code: int, why: str) -> None:
    frontend.answer(err=err, code=code)
    assert why in failed(frontend, *CLONE)


def test_another_version_of_the_node_package(frontend: Frontend) -> None:
    frontend.reply("NodePackage", str(errors.NodePackage(why="is version 0.0.9, the front-end is 0.1.0")))
    assert "onehost sync -f" in failed(frontend, *CLONE)


def test_ssh_is_missing(frontend: Frontend) -> None:
    (frontend.bin / "ssh").unlink()
    frontend.environment["PATH"] = str(frontend.bin)
    assert "the program ssh cannot be started (No such file" in failed(frontend, *DELETE)


def test_the_api_is_down(frontend: Frontend) -> None:
    (frontend.home / ".one/one_endpoint").write_text(f"http://127.0.0.1:{free_port()}/RPC2\n")
    assert "Connection refused" in failed(frontend, *CLONE)
    assert frontend.ssh_calls == []
    assert frontend.run(*DELETE).code == 0


def test_the_api_is_slow(frontend: Frontend) -> None:
    frontend.configure("[frontend]\napi_timeout = 1\n")
    with Raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000, pause=0.05) as server:
        (frontend.home / ".one/one_endpoint").write_text(server.url)
        assert "timed out after 1 s" in failed(frontend, *CLONE)
    assert frontend.ssh_calls == []


def test_credentials(frontend: Frontend) -> None:
    (frontend.home / ".one/one_auth").write_text("oneadmin:wrong-secret\n")
    line = failed(frontend, *CLONE)
    assert "authenticated" in line
    assert "wrong-secret" not in line
    (frontend.home / ".one/one_auth").unlink()
    assert "one_auth cannot be read" in failed(frontend, *CLONE)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("<VM><ID>3</ID>", "malformed XML"),
        ("", "malformed XML"),
        ("<VM><ID>3</ID></VM>", "no disk 0"),
        ("<VM><ID>4</ID></VM>", "it is VM 4"),
    ],
)
def test_the_record_cannot_be_used(frontend: Frontend, oned: Oned, document: str, why: str) -> None:
    oned.vms[3] = document
    assert why in failed(frontend, *CLONE)
    assert frontend.ssh_calls == []


@pytest.mark.parametrize(
    ("call", "disk", "values"),
    [
        (MKIMAGE, 2, {"FS": "xfs; reboot"}),
        (MKIMAGE, 2, {"VAF_LABEL": "ERROR: 404 not found"}),
        (MKSWAP, 3, {"VAF_LABEL": "$(reboot)"}),
        (CLONE, 0, {"SIZE": "-1"}),
        (LN, 1, {"TYPE": "CDROM INFO: 7"}),
    ],
)
def test_hostile_templates(
    frontend: Frontend, oned: Oned, call: tuple[str, ...], disk: int, values: dict[str, str]
) -> None:
    oned.change(3, disk, values)
    assert f"DISK/{next(iter(values))}" in failed(frontend, *call)
    assert frontend.ssh_calls == []


@pytest.mark.parametrize(
    "call",
    [
        ("clone",),
        (*CLONE, "extra"),
        ("clone", CLONE[1], f"node1:{ROOT}/100/3/disk.1/../..", "3", "101"),
        ("clone", CLONE[1], f"-oProxyCommand=reboot:{ROOT}/100/3/disk.0", "3", "101"),
        ("clone", CLONE[1], f"node1:{ROOT}/100/3/disk.0", "4", "101"),
        ("clone", CLONE[1], f"node1:{ROOT}/100/3/kernel", "3", "101"),
        ("clone", CLONE[1], "ERROR: 404 not found", "3", "101"),
        ("mkimage", "20", "ext4", f"node1:{ROOT}/100/3/disk.2", "3", "100"),
        ("delete", f"node1:{ROOT}/100/3", "3", "101"),
        ("delete", "--help", "3", "100"),
        ("mvds", MVDS[1], "\x1b[31mred", "3", "101"),
        ("ln", "vm:/\udcff\udcfe", LN[2], "3", "101"),
        ("snap_create", SNAP_CREATE[1], "-1", "3", "101"),
        ("snap_revert", SNAP_REVERT[1], "1;reboot", "3", "101"),
        ("resize", RESIZE[1], "0", "3", "101"),
        ("resize", RESIZE[1], "-96", "3", "101"),
        ("cpds", CPDS[1], CPDS[2], "-2", "3", "101"),
        ("cpds", CPDS[1], f"vm:{CPDS[2]}", "-1", "3", "101"),
    ],
)
def test_malformed_calls_reach_nobody(frontend: Frontend, oned: Oned, call: tuple[str, ...]) -> None:
    failed(frontend, *call)
    assert frontend.ssh_calls == []
    assert oned.calls == []


def test_the_site_file_is_wrong(frontend: Frontend) -> None:
    frontend.configure("[storage]\nmod = thin\n")
    assert "did you mean mode" in failed(frontend, *DELETE)
    assert frontend.ssh_calls == []


def test_the_interpreter_is_missing(frontend: Frontend) -> None:
    (frontend.remotes / "vafnebula/python").unlink()
    done = frontend.run(*CLONE)
    assert (done.code, done.out) == (1, b"")
    assert done.err.decode().startswith("clone: no Python at ")
    assert done.err.count(b"\n") == 1


@pytest.mark.parametrize("missing", ["model.py", "errors.py", "log.py", "tm/argv.py", "tm/clone.py", "tm/main.py"])
def test_a_module_is_missing(frontend: Frontend, missing: str) -> None:
    """An installation that was cut off: still one line, and no path of a source file."""
    package = frontend.remotes / "vafnebula/vafnebula"
    package.unlink()
    shutil.copytree(CHECKOUT / "vafnebula", package, ignore=shutil.ignore_patterns("lab", "node", "__pycache__"))
    (package / missing).unlink()
    done = frontend.run(*CLONE)
    line = done.err.decode().removesuffix("\n")
    assert (done.code, done.out) == (1, b"")
    assert line.isprintable()
    assert str(frontend.home) not in line
    assert re.match(r"vafnebula cannot be started|clone.*: internal error", line)


def test_nobody_reads_stderr(frontend: Frontend) -> None:
    """OpenNebula closes the pipes of an action that it cancels."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [frontend.stub("clone")],
        env=frontend.environment,
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
        timeout=60,
    )
    os.close(writing)
    assert done.returncode == 1


def test_context_is_opennebulas_own(frontend: Frontend) -> None:
    common = frontend.remotes / "tm/ssh/context"  # where an installation has it
    common.parent.mkdir()
    common.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >&2\nexit 2\n')
    common.chmod(0o755)
    arguments = ("/var/lib/one/vms/3/context.sh", f"{ROOT}/2/397f:'init.sh'", f"node1:{ROOT}/100/3/disk.5", "3", "100")
    done = frontend.run("context", *arguments)
    assert (done.code, done.out) == (2, b"")
    assert done.err.decode().splitlines() == list(arguments)
    common.unlink()
    done = frontend.run("context", *arguments)
    assert done.code == 1
    assert done.err.startswith(b"context: OpenNebula's own")


def test_a_checkout_runs_by_itself(frontend: Frontend, tmp_path: Path) -> None:
    """mads/ has the shape of remotes/: its stubs work where they are."""
    stub = CHECKOUT / "mads/tm/fs_lvm_snap/clone"
    done = subprocess.run([stub, *CLONE[1:]], env=frontend.environment, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_stubs_are_small_and_say_what_they_are() -> None:
    stubs = sorted((CHECKOUT / "mads/tm/fs_lvm_snap").iterdir())
    assert {s.name for s in stubs} >= {"clone", "ln", "mkswap", "mkimage", "mvds", "delete", "context"}
    for stub in stubs:
        lines = stub.read_text().splitlines()
        assert len(lines) <= 15, stub
        assert lines[1].startswith(f"# {stub.name}: ")
        for word in ("ARGUMENTS", "STDIN", "RETURNS", "CALLED"):
            assert any(line.startswith(f"# {word} ") for line in lines), (stub, word)
        assert os.access(stub, os.X_OK)
