"""The API read, against a real XML-RPC server and against servers that misbehave."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.oned import Oned, Raw, free_port
from vafnebula import errors
from vafnebula.one import rpc

RUNNING = Path(__file__).parents[2] / "data/vm/vm-running.xml"
PASSWORD = "opennebula"
FAULT = (
    b"<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>-506</int></value></member>"
    b"<member><name>faultString</name><value>no method</value></member></struct></value></fault></methodResponse>"
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with credentials, and no variable that points elsewhere."""
    (tmp_path / ".one").mkdir()
    (tmp_path / ".one/one_auth").write_text(f"oneadmin:{PASSWORD}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ONE_AUTH", "ONE_XMLRPC"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def oned(monkeypatch: pytest.MonkeyPatch) -> Iterator[Oned]:
    with Oned([RUNNING]) as server:
        monkeypatch.setenv("ONE_XMLRPC", server.url)
        yield server


def failure(vm: int = 3, timeout: float = 5) -> str:
    """The sentence of the ApiFailed that asking gives; without the password, whatever it is."""
    with pytest.raises(errors.ApiFailed) as raised:
        rpc.vm_xml(vm, timeout)
    assert PASSWORD not in str(raised.value)
    return str(raised.value)


def test_one_call_gives_the_record(oned: Oned) -> None:
    assert rpc.vm_xml(3, 5) == RUNNING.read_bytes()
    assert oned.calls == [("one.vm.info", "oneadmin:opennebula", 3, False)]


def test_the_endpoint_file_is_used_when_the_variable_is_not_set(
    oned: Oned, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ONE_XMLRPC")
    (home / ".one/one_endpoint").write_text(f"{oned.url}\n")
    assert rpc.vm_xml(3, 5).startswith(b"<VM>")


def test_another_credentials_file_and_characters_that_xml_needs_escaped(
    oned: Oned, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oned.session = "oné:<&>]]>\"'"
    (home / "auth").write_text(oned.session + "\n", encoding="utf-8")
    monkeypatch.setenv("ONE_AUTH", str(home / "auth"))
    assert rpc.vm_xml(3, 5).startswith(b"<VM>")


def test_opennebula_says_no(oned: Oned) -> None:
    assert "it says [one.vm.info] Error getting virtual machine [99]. (code 1024)" in failure(vm=99)
    oned.session = "other:one"
    assert "couldn't be authenticated" in failure()


def test_an_answer_with_unicode_and_markup_is_unchanged(oned: Oned) -> None:
    oned.vms[3] = "<VM><ID>3</ID><NAME>ünïcode &lt;tag&gt; &amp; \U0001f600</NAME></VM>"
    assert rpc.vm_xml(3, 5).decode() == oned.vms[3]


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE_XMLRPC", f"http://127.0.0.1:{free_port()}/RPC2")
    assert "Connection refused; is oned running" in failure()


def test_the_host_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE_XMLRPC", "http://no-such-host.invalid/RPC2")
    assert "is oned running" in failure()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.0 200 OK\r\nX-Drip: " + b"x" * 1000])
def test_silence_and_dripping_end_at_the_deadline(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte of the drip comes long before a limit between two bytes would notice."""
    with Raw(answer or b"x", pause=0.02 if answer else 60) as server:
        monkeypatch.setenv("ONE_XMLRPC", server.url)
        began = time.monotonic()
        assert "timed out after 0.3 s" in failure(timeout=0.3)
        assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\nbusy", "HTTP status 503 Service Unavailable"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "HTTP status 404"),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://elsewhere/\r\n\r\n", "HTTP status 301"),
        (b"HTTP/1.1 500 \x1b[31m\xff\r\n\r\n", "HTTP status 500"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
        (b"", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-", "cut short"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<methodResponse>", "cut short"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>hello", "not XML-RPC, malformed XML"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html/>", "not XML-RPC of OpenNebula"),
        (b"HTTP/1.1 200 OK\r\n\r\n<!DOCTYPE html><html/>", "not XML-RPC, it has a document type"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "not XML-RPC"),
        (b"HTTP/1.1 200 OK\r\n\r\n<methodResponse><params/></methodResponse>", "not XML-RPC of OpenNebula"),
        (
            b"HTTP/1.1 200 OK\r\n\r\n" + FAULT,
            "XML-RPC fault faultCode -506 faultString no method",
        ),
    ],
)
def test_what_is_not_an_answer_is_named(answer: bytes, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Raw(answer) as server:
        monkeypatch.setenv("ONE_XMLRPC", server.url)
        said = failure()
    assert why in said
    assert said.isprintable()


def test_an_untyped_value_is_a_string(monkeypatch: pytest.MonkeyPatch) -> None:
    """XML-RPC allows it; xmlrpc-c, which oned uses, may send it."""
    values = "<value><boolean>1</boolean></value><value>&lt;VM/&gt;</value><value><i4>0</i4></value>"
    array = f"<params><param><value><array><data>{values}</data></array></value></param></params>"
    with Raw(f"HTTP/1.1 200 OK\r\n\r\n<methodResponse>{array}</methodResponse>".encode()) as server:
        monkeypatch.setenv("ONE_XMLRPC", server.url)
        assert rpc.vm_xml(3, 5) == b"<VM/>"


def test_credentials_are_missing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".one/one_auth").unlink()
    assert f"credentials {home}/.one/one_auth cannot be read (No such file or directory)" in failure()
    (home / ".one/one_auth").mkdir()
    assert "cannot be read (Is a directory)" in failure()


@pytest.mark.parametrize(("content", "why"), [(b"", "user:password"), (b"opennebula", "user:pass"), (b"\xff", "text")])
def test_credentials_are_not_credentials(home: Path, content: bytes, why: str) -> None:
    (home / ".one/one_auth").write_bytes(content)
    assert why in failure()


@pytest.mark.parametrize(
    "url",
    [
        "localhost:2633",
        "ftp://localhost/RPC2",
        f"http://oneadmin:{PASSWORD}@localhost/RPC2",
        "http://-oProxyCommand=x/ /",
        "http://localhost:99999/RPC2",
        "http://localhost/RPC2\r\nX-Evil: 1",
    ],
)
def test_an_endpoint_that_is_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE_XMLRPC", url)
    assert "not a plain http or https URL" in failure()


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("http://one.example.org", "http://one.example.org:80/RPC2"),
        ("https://one.example.org/RPC2", "https://one.example.org:443/RPC2"),
        ("http://[::1]:2633/RPC2", "http://[::1]:2633/RPC2"),
    ],
)
def test_endpoints(url: str, meant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE_XMLRPC", url)
    assert str(rpc.endpoint()) == meant


def test_https_is_verified(oned: Oned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate")
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *name]
    subprocess.run([*new, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    oned.encrypt(certificate, key)
    monkeypatch.setenv("ONE_XMLRPC", oned.url)
    assert oned.url.startswith("https://")
    assert "certificate verify failed" in failure().lower()
    assert oned.calls == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert rpc.vm_xml(3, 5).startswith(b"<VM>")


def test_https_to_a_server_without_tls(oned: Oned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE_XMLRPC", oned.url.replace("http://", "https://"))
    assert "https://127.0.0.1" in failure()
    assert oned.calls == []
