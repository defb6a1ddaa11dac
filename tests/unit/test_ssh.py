"""What ssh left behind -> a reply or the right error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula import __version__, errors, ssh
from vafnebula.config import Site
from vafnebula.model import Reply
from vafnebula.process import Completed

OK = Reply(__version__, facts={"cache": "hit"}).to_json()
BUSY = Reply(__version__, error="Busy", text="the disk is in use: qemu; stop what uses it and retry").to_json()


def reply(out: bytes = b"", err: bytes = b"", code: int = 0) -> Reply:
    return ssh.reply("node1", Completed(("ssh",), code, out, err))


def test_the_command_line() -> None:
    assert ssh.command("node1", Site()) == [
        *["ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"],
        *["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4", "--", "node1"],
        'exec /usr/bin/python3 -I -S -X "pycache_prefix=$HOME/.cache/vafnebula" /var/tmp/one/vafnebula',
    ]


def test_the_sites_own_paths_are_quoted() -> None:
    remote = ssh.command("node1", Site(remote_dir="/srv/$x", python="/opt/py;thon"))[-1]
    assert "'/opt/py;thon' -I" in remote
    assert remote.endswith("'/srv/$x/vafnebula'")


def test_success() -> None:
    assert reply(OK + b"\n").facts == {"cache": "hit"}


@pytest.mark.parametrize("noise", [b"Welcome to node1!\n{not ours\n", b"\xff\x00\n", b"{}\n"])
def test_login_scripts_may_print_before_the_reply(noise: bytes) -> None:
    assert reply(noise + OK + b"\n", err=b"WARNING: something\nINFO: 7 else\n").facts == {"cache": "hit"}


def test_what_the_node_reports_is_raised_whatever_the_exit_code() -> None:
    for code in (0, 1, 255):
        with pytest.raises(errors.Busy, match="the disk is in use: qemu; stop"):
            reply(BUSY, code=code)


def test_an_unknown_report_is_a_bug() -> None:
    with pytest.raises(errors.Bug):
        reply(Reply(__version__, error="NoSuchClass", text="hm").to_json())


@pytest.mark.parametrize(
    ("err", "why"),
    [
        (b"ssh: Could not resolve hostname node1: Name or service not known\r\n", "by ssh: Could not resolve hostname"),
        (b"ssh: connect to host node1 port 22: Connection refused\r\n", "Connection refused"),
        (b"Warning: Permanently added 'node1'\r\noneadmin@node1: Permission denied (publickey).\r\n", "publickey"),
        (b"Host key verification failed.\n\n", "Host key verification failed"),
        (b"Timeout, server node1 not responding.\r\n", "not responding"),
        (b"", "the connection was lost"),
    ],
)
def test_255_is_unreachable(err: bytes, why: str) -> None:
    with pytest.raises(errors.Unreachable, match="try `ssh node1 true`") as raised:
        reply(err=err, code=255)
    assert why in str(raised.value)


def test_255_is_never_success() -> None:
    with pytest.raises(errors.Unreachable):
        reply(OK, code=255)


@pytest.mark.parametrize(
    ("done", "why"),
    [
        ({"err": b"bash: line 1: /usr/bin/python3: No such file or directory\n", "code": 127}, "cannot be started"),
        ({"err": b"sh: 1: exec: /usr/bin/python3: Permission denied\n", "code": 126}, "cannot be started"),
        ({"err": b"/usr/bin/python3: can't open file '/var/tmp/one/vafnebula': [Errno 2]\n", "code": 2}, "open file"),
        ({"err": b"/usr/bin/python3: can't find '__main__' module in '/var/tmp/one/vafnebula'\n", "code": 1}, "main"),
        ({"err": b"Traceback (most recent call last):\n  x\nImportError: no lvm\n", "code": 1}, "ImportError: no lvm"),
        ({"out": b"This account is not available\n", "code": 1}, "exit code 1 (This account is not available)"),
        ({"out": b"", "code": 0}, "gave no answer and exit code 0 (it said nothing)"),
        ({"out": b"{oops\n", "code": 0}, "not ours"),
        ({"out": b'{"version": "0.1.0"}\n', "code": 0}, "not ours"),
        ({"out": OK, "code": 1}, "exit code 1 after its answer"),
        ({"out": Reply("9.9").to_json()}, "is version 9.9"),
    ],
)
def test_a_node_package_that_does_not_work(done: dict[str, bytes | int], why: str) -> None:
    with pytest.raises(errors.NodePackage, match="onehost sync -f") as raised:
        reply(**done)  # type: ignore[arg-type]
    assert why in str(raised.value)


@given(st.binary(), st.binary(), st.integers(0, 255))
def test_any_output_is_a_reply_or_one_of_two_errors(out: bytes, err: bytes, code: int) -> None:
    with pytest.raises((errors.NodePackage, errors.Unreachable)) as raised:
        reply(out, err, code)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) <= errors.LIMIT
