"""The endpoint over real TLS, with a CA of openssl: who gets in, and what is registered then."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.fakes.x509 import Ca
from vafnebula.access import endpoint
from vafnebula.access.registry import Registry
from vafnebula.access.settings import Settings
from vafnebula.keyvalue import Unusable

ALICE = "CN=Alice Rossi,O=INFN,DC=test"
SUBJECT = "/DC=test/O=INFN/CN=Alice Rossi"


@dataclass
class Site:
    ca: Ca
    foreign: Ca
    settings: Settings
    server: endpoint.Server

    @property
    def registry(self) -> Registry:
        return self.server.registry

    def ask(
        self, who: tuple[str, str] | None, method: str = "POST", path: str = "/key", body: bytes = b""
    ) -> tuple[int, str]:
        """Status and text of an answer.  Raises OSError when TLS refuses."""
        context = ssl.create_default_context(cafile=str(self.ca.certificate))
        if who:
            context.load_cert_chain(*who)
        connection = http.client.HTTPSConnection("127.0.0.1", self.server.server_port, timeout=20, context=context)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def refuses(self, who: tuple[str, str] | None) -> bool:
        try:
            self.ask(who)
        except (OSError, http.client.HTTPException):
            return True
        return False


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("access")
    ca, foreign = Ca(directory / "ca"), Ca(directory / "foreign")
    certificate, key = ca.issue("server", "/CN=head", san="IP:127.0.0.1")
    (directory / "accounts").write_text(f"# the table\nalice {ALICE}\nbob CN=Bob,O=INFN,DC=test\n")
    settings = Settings(
        certificate,
        key,
        str(ca.certificate),
        str(ca.crl),
        listen="127.0.0.1",
        port=free_port(),
        accounts=str(directory / "accounts"),
        registry=str(directory / "keys"),
        most=3,
    )
    with endpoint.Server(settings) as server:
        server.daemon_threads = False  # closing waits for its connections: none is left to the collector
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield Site(ca, foreign, settings, server)
        server.shutdown()
        thread.join()


@pytest.fixture
def alice(site: Site) -> tuple[str, str]:
    site.registry.revoke(account="alice")
    if not (site.ca.home / "alice.pem").exists():
        site.ca.issue("alice", SUBJECT)
    return str(site.ca.home / "alice.pem"), str(site.ca.home / "alice.key")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def a_key(directory: Path, name: str = "id", *more: str) -> bytes:
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-f", directory / name, *(more or ("-t", "ed25519"))], check=True)
    return (directory / f"{name}.pub").read_bytes()


def test_a_key_is_registered_for_a_while(site: Site, alice: tuple[str, str], tmp_path: Path) -> None:
    key = a_key(tmp_path)
    before = int(time.time())
    status, said = site.ask(alice, body=key)
    assert (status, said.split()[0]) == (200, "alice")
    (entry,) = site.registry.entries(before)
    assert (entry.account, entry.subject) == ("alice", ALICE)
    assert entry.key.split() == key.decode().split()[:2]
    assert before + 12 * 3600 <= entry.expires <= time.time() + 12 * 3600
    status, said = site.ask(alice, "GET", "/")
    assert status == 200
    assert said.startswith(f"{ALICE} is alice\n")


def test_without_a_key_it_is_the_certificates_own(site: Site, alice: tuple[str, str], tmp_path: Path) -> None:
    """The paper's way: ssh -i userkey.pem then works."""
    who = site.ca.issue("rsa", SUBJECT, key="rsa")
    assert site.ask(who)[0] == 200
    (entry,) = site.registry.entries(0)
    private = tmp_path / "key"
    private.write_bytes(Path(who[1]).read_bytes())
    private.chmod(0o600)
    done = subprocess.run(["ssh-keygen", "-y", "-f", private], check=True, capture_output=True, text=True)
    assert done.stdout.split()[:2] == entry.key.split()


def test_a_key_does_not_outlive_the_certificate(site: Site, alice: tuple[str, str], tmp_path: Path) -> None:
    end = int(time.time()) + 600
    text = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(end))
    assert site.ask(site.ca.issue("short", SUBJECT, end=text), body=a_key(tmp_path))[0] == 200
    assert [entry.expires for entry in site.registry.entries(0)] == [end]


def test_who_does_not_get_in(site: Site, alice: tuple[str, str]) -> None:
    assert site.refuses(None)
    assert site.refuses(site.ca.issue("expired", SUBJECT, end="20210101000000Z"))
    assert site.refuses(site.foreign.issue("alice", SUBJECT))
    revoked = site.ca.issue("revoked", SUBJECT)
    assert not site.refuses(revoked)
    site.ca.revoke("revoked")
    assert site.refuses(revoked)  # at once, without a restart
    assert not site.refuses(alice)


def test_an_outdated_revocation_list_lets_nobody_in(site: Site, alice: tuple[str, str]) -> None:
    site.ca.lists(days="0")
    try:
        until = time.monotonic() + 20
        while not site.refuses(alice):
            assert time.monotonic() < until
            time.sleep(0.3)
    finally:
        site.ca.lists()
    assert not site.refuses(alice)


@pytest.mark.parametrize("subject", ["/DC=test/O=INFN/CN=Mallory", "/DC=test/O=INFN/CN=x,CN=Alice Rossi,O=INFN"])
def test_a_good_certificate_without_account(site: Site, subject: str) -> None:
    name = f"m{abs(hash(subject))}"
    status, said = site.ask(site.ca.issue(name, subject))
    assert status == 403
    assert "has no account here" in said


@pytest.mark.parametrize(
    "body",
    [
        b"x",
        b"ssh-dss AAAAB3NzaC1kc3MAAACBAPl8\n",
        b'command="id" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n',
        b"ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nssh-ed25519 AAAA\n",
        b"ssh-ed25519 " + b"A" * 8000,
        b"x" * 9000,
    ],
)
def test_what_is_no_key_is_not_registered(site: Site, alice: tuple[str, str], body: bytes) -> None:
    assert site.ask(alice, body=body)[0] == 400
    assert site.registry.entries(0) == []


def test_weak_rsa(site: Site, alice: tuple[str, str], tmp_path: Path) -> None:
    assert site.ask(alice, body=a_key(tmp_path, "weak", "-t", "rsa", "-b", "1024"))[0] == 400


def test_an_account_has_few_keys(site: Site, alice: tuple[str, str], tmp_path: Path) -> None:
    keys = [a_key(tmp_path, f"k{i}") for i in range(4)]
    assert [site.ask(alice, body=key)[0] for key in (*keys, keys[0])] == [200, 200, 200, 400, 200]


def test_other_paths(site: Site, alice: tuple[str, str]) -> None:
    assert site.ask(alice, "GET", "/etc/passwd")[0] == 404
    assert site.ask(alice, "POST", "/")[0] == 404
    assert site.registry.entries(0) == []


def test_a_table_that_becomes_unusable_maps_nobody(site: Site, alice: tuple[str, str]) -> None:
    table = Path(site.settings.accounts)
    good = table.read_text()
    table.write_text(good + "root CN=x\n")
    try:
        status, said = site.ask(alice)
    finally:
        table.write_text(good)
    assert status == 500
    assert "root" not in said


def test_a_client_that_says_nothing_delays_nobody(site: Site, alice: tuple[str, str]) -> None:
    with socket.create_connection(("127.0.0.1", site.server.server_port)):
        assert site.ask(alice, "GET", "/")[0] == 200


@pytest.mark.parametrize("name", ["certificate", "key", "ca", "crl", "accounts"])
def test_what_is_missing_is_said_at_the_start(site: Site, name: str) -> None:
    with pytest.raises(Unusable):
        endpoint.Server(replace(site.settings, **{name: "/gone"}))


def test_a_hashed_directory_of_the_grid(site: Site, alice: tuple[str, str], tmp_path: Path) -> None:
    """CAs as HASH.0 and their lists as HASH.r0, as in /etc/grid-security/certificates."""
    digest = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", site.ca.certificate], check=True, capture_output=True, text=True
    ).stdout.strip()
    (tmp_path / f"{digest}.0").write_bytes(site.ca.certificate.read_bytes())
    (tmp_path / f"{digest}.r0").write_bytes(site.ca.crl.read_bytes())
    there = replace(site.settings, ca=str(tmp_path), crl="directory", port=free_port())
    with endpoint.Server(there) as server:
        server.daemon_threads = False  # closing waits for its connections: none is left to the collector
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        other = Site(site.ca, site.foreign, there, server)
        assert not other.refuses(alice)
        assert other.refuses(site.foreign.issue("grid", SUBJECT))
        (tmp_path / f"{digest}.r0").unlink()
        assert other.refuses(alice)
        server.shutdown()
        thread.join()
