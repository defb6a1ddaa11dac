"""The stubs around backups, which get the VM's record on stdin, and restore, which starts OpenNebula's own programs."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.contract.frontend import CHECKOUT, Frontend
from tests.contract.test_stubs import ROOT, failed
from tests.fakes.oned import Oned
from vafnebula import __version__
from vafnebula.model import Order

RECORD = (CHECKOUT / "tests/data/tm-backup-stdin.xml").read_bytes()
BACKUP = (f"node1:{ROOT}/100/23", "0", "one-23", "-", "23", "100")
RESTORE = ("restore", f"node1:{ROOT}/100/3", "3", "16", "-1", "-1")
HERE = "/var/lib/one/datastores/100/3/.restore"
LS = '#!/bin/sh\necho "$*" >"$0.argv"\ncat >"$0.stdin"\necho \'%s\'\n'
DOWNLOADER = '#!/bin/sh\necho "$*" >>"$0.argv"\nprintf "image of %s" "$2"\n'


def request(frontend: Frontend, call: int = -1) -> dict[str, object]:
    body: dict[str, object] = json.loads(frontend.ssh_calls[call][1])["request"]
    return body


@pytest.mark.parametrize("verb", ["prebackup", "prebackup_live", "postbackup", "postbackup_live"])
def test_the_recorded_call(frontend: Frontend, oned: Oned, verb: str) -> None:
    done = frontend.run(verb, *BACKUP, stdin=RECORD)
    assert (done.code, done.out, done.err) == (0, b"", b"")
    assert oned.calls == []
    [(_, stdin)] = frontend.ssh_calls
    order = Order.from_json(stdin, __version__).request
    assert (order.verb, order.vm, order.disks) == (verb.removesuffix("_live"), 23, [0])
    assert order.place == "/var/lib/one/datastores/100/23/backup"
    if verb.startswith("pre"):
        assert (order.increment, order.keep, order.live) == (0, False, verb.endswith("_live"))
        assert base64.b64decode(order.record) == RECORD


def configured(mode: str, last: int, result: str = "") -> bytes:
    words = f"<MODE><![CDATA[{mode}]]></MODE><LAST_INCREMENT_ID><![CDATA[{last}]]></LAST_INCREMENT_ID>"
    text = RECORD.replace(b"<BACKUP_CONFIG>", b"<BACKUP_CONFIG>" + words.encode())
    return text.replace(b"</VM>", result.encode() + b"</VM>")


@pytest.mark.parametrize(
    ("mode", "last", "wanted"),
    [("FULL", -1, (0, False)), ("INCREMENT", -1, (0, True)), ("INCREMENT", 0, (1, True)), ("increment", 6, (7, True))],
)
def test_full_or_which_increment(frontend: Frontend, mode: str, last: int, wanted: tuple[int, bool]) -> None:
    frontend.run("prebackup", *BACKUP, stdin=configured(mode, last))
    made = request(frontend)
    assert (made["increment"], made["keep"]) == wanted


def test_a_failed_backup(frontend: Frontend) -> None:
    text = configured("INCREMENT", 3, "<BACKUP_RESULT>FAILURE</BACKUP_RESULT>")
    frontend.run("postbackup", *BACKUP, stdin=text)
    made = request(frontend)
    assert (made["failed"], made["last"]) == (True, 3)


def test_backups_below_another_directory(frontend: Frontend) -> None:
    conf = frontend.remotes / "etc/datastore/datastore.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text('#BACKUP_BASE_PATH="/no"\nBACKUP_BASE_PATH="/var/big"\nOTHER=1\n')
    frontend.run("prebackup", *BACKUP, stdin=RECORD)
    assert request(frontend)["place"] == "/var/big/23/backup"


@pytest.mark.parametrize(
    ("stdin", "why"),
    [
        (b"", "malformed XML"),
        (b"<VM><ID>24</ID></VM>", "is not it"),
        (configured("INCREMENT", 0).replace(b"[0]]></LAST", b"[x]]></LAST"), "cannot be used"),
        (configured("FULL", -1).replace(b"<MODE>", b"<INTERACTIVE>YES</INTERACTIVE><MODE>"), "set INTERACTIVE=NO"),
    ],
)
def test_what_stdin_may_not_be(frontend: Frontend, stdin: bytes, why: str) -> None:
    done = frontend.run("prebackup", *BACKUP, stdin=stdin)
    assert done.code == 1
    assert why in done.err.decode()
    assert frontend.ssh_calls == []


@pytest.fixture
def repository(frontend: Frontend, oned: Oned) -> Path:
    """A backup datastore with OpenNebula's programs for it, which know two disks of backup 16."""
    oned.others["one.image.info", 16] = "<IMAGE><ID>16</ID><DATASTORE_ID>105</DATASTORE_ID></IMAGE>"
    oned.others["one.datastore.info", 105] = "<DATASTORE><ID>105</ID><DS_MAD>rsync</DS_MAD></DATASTORE>"
    where = frontend.remotes / "datastore"
    disks = {"0": "rsync://105//0:ab/disk.0.0", "2": "rsync://105//0:ab/disk.2.0", "tpm": "rsync://105//x"}
    for name, text in (("rsync/ls", LS % json.dumps(disks)), ("downloader.sh", DOWNLOADER)):
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_text(text)
        (where / name).chmod(0o755)
    return where


def test_restore(frontend: Frontend, repository: Path) -> None:
    done = frontend.run(*RESTORE)
    assert (done.code, done.out, done.err) == (0, b"", b"")
    assert (repository / "rsync/ls.argv").read_text() == "-i -1\n"
    told = (repository / "rsync/ls.stdin").read_text()
    assert told.startswith("<DS_DRIVER_ACTION_DATA>")
    assert "<DS_MAD>rsync" in told
    assert "<VM>" in told
    assert "<IMAGE><ID>16</ID>" in told
    sent = {stdin: arguments for arguments, stdin in frontend.ssh_calls}
    for disk in (0, 2):
        arguments = sent[f"image of rsync://105//0:ab/disk.{disk}.0".encode()]
        wanted = f"umask 077; mkdir -p {HERE} && exec dd of={HERE}/disk.{disk} bs=1M conv=fsync status=none"
        assert arguments[-2:] == ["node1", wanted]
    [order] = [json.loads(stdin) for stdin in sent if stdin.startswith(b"{")]
    assert (order["verb"], order["request"]["disks"]) == ("restore", [0, 2])


def test_restore_of_one_disk(frontend: Frontend, repository: Path) -> None:
    frontend.run(*RESTORE[:-1], "2")
    assert request(frontend)["disks"] == [2]
    assert "there are no disk 1 in it" in failed(frontend, *RESTORE[:-1], "1")


def test_what_was_brought_goes_when_the_rest_cannot_be(frontend: Frontend, repository: Path) -> None:
    (repository / "downloader.sh").write_text(
        '#!/bin/sh\ncase $2 in *disk.2*) echo "no such file" >&2; exit 3;; esac\n'
    )
    line = failed(frontend, *RESTORE)
    assert "copy failed: " in line
    assert "(disk 2 of backup 16)" in line
    [order] = [json.loads(stdin) for _, stdin in frontend.ssh_calls if stdin.startswith(b"{")]
    assert (order["verb"], order["request"]["disks"]) == ("restore", [])


def test_a_datastore_that_cannot_list(frontend: Frontend, repository: Path) -> None:
    (repository / "rsync/ls").write_text("#!/bin/sh\necho 'cannot reach the repository' >&2\nexit 255\n")
    assert "cannot reach the repository" in failed(frontend, *RESTORE)
    (repository / "rsync/ls").write_text("#!/bin/sh\necho '[]'\n")
    assert "backup image 16 cannot be restored" in failed(frontend, *RESTORE)
    assert frontend.ssh_calls == []


def test_a_backup_that_opennebula_does_not_know(frontend: Frontend, oned: Oned) -> None:
    assert "does the user of ~/.one/one_auth see image 16?" in failed(frontend, *RESTORE)
    oned.others["one.image.info", 16] = "<IMAGE><ID>16</ID><DATASTORE_ID>105</DATASTORE_ID></IMAGE>"
    oned.others["one.datastore.info", 105] = "<DATASTORE><DS_MAD>../../bin</DS_MAD></DATASTORE>"
    assert "no usable DS_MAD" in failed(frontend, *RESTORE)
