"""The pages and the API, asked over real sockets."""

from __future__ import annotations

import http.client
import json
import logging
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.fakes.oned import free_port
from tests.unit.scale.farm import Farm, policy, scaler
from vafnebula.one.vms import Listed
from vafnebula.scale import graph, journal, web
from vafnebula.scale.batch import BatchView
from vafnebula.scale.cloud import Seen
from vafnebula.scale.history import MOST, History, Point
from vafnebula.scale.loop import Scaler
from vafnebula.scale.model import Job, Shape, Source
from vafnebula.scale.policy import ServiceSection
from vafnebula.scale.squeeze import Row
from vafnebula.scale.state import Bounds
from vafnebula.scale.virsh import Usage
from vafnebula.scale.web import Pages, application

SECRET = "a-very-secret-token-0123456789"
SCRIPT = "<script>alert(1)</script>"
HOSTILE = f"\"'>{SCRIPT}<img src=x onerror=alert(1)>&amp;{{{{7*7}}}}"


@dataclass
class Site:
    farm: Farm
    scaler: Scaler
    port: int
    local: Path
    token: Path
    woken: list[str]

    def ask(
        self, verb: str, path: str, body: bytes | None = None, token: str | None = None, local: bool = False
    ) -> tuple[int, str, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        if local:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(self.local))
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        connection.request(verb, path, body, headers)
        answer = connection.getresponse()
        said = answer.read().decode()
        connection.close()
        return answer.status, said, answer.headers


class Hostile(Farm):
    """A farm whose users and VM owners choose bad names."""

    def observe(self) -> BatchView:
        view = super().observe()
        bad = Job(HOSTILE, Shape(1, features=frozenset({HOSTILE})), "held", why=HOSTILE, name=HOSTILE, user=HOSTILE)
        return BatchView((*view.jobs, bad), view.nodes)

    def look(self) -> Seen:
        seen = super().look()
        bad = Listed(99, HOSTILE, "u", "g", 3, 3, 0, HOSTILE, 1, 1.0, 1, (5.0, 1), {"VAF_POOL": HOSTILE}, "")
        return Seen(Source(self.now), seen.vms, (bad,))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    farm = Hostile()
    farm.submit(3)
    made = scaler(farm, tmp_path / "state")
    history = History()
    history.add(made.cycle())
    farm.pass_time(60)
    history.add(made.cycle())
    secret = tmp_path / "token"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    port = free_port()
    local = tmp_path / "api.sock"
    service = ServiceSection(local=str(local), listen=f"127.0.0.1:{port}", token_file=str(secret))
    woken: list[str] = []
    row = Row("node1", 1, "vaf-1", "batch", Usage("one-1", 3725.0, 1048576, 0.5, 102))
    pages = Pages(made, history, service, lambda: woken.append("x"), lambda: (row,))
    pages.start()
    yield Site(farm, made, port, local, secret, woken)
    pages.stop()
    made.journal.close()


PATHS = ["/", "/monitor", "/metrics", "/api/v1/status", "/api/v1/jobs/1"]


@pytest.mark.parametrize("path", PATHS)
def test_reading_is_free_and_safe_headers_are_set(site: Site, path: str) -> None:
    status, _, headers = site.ask("GET", path)
    assert status == 200
    assert "script" not in headers["Content-Security-Policy"]
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/monitor"])
def test_hostile_names_stay_names(site: Site, path: str) -> None:
    _, said, _ = site.ask("GET", path)
    assert "alert(1)" in said, "it is shown"
    assert "<script" not in said
    assert "<img" not in said
    assert "&lt;script&gt;" in said
    assert "{{7*7}}" in said


def test_the_page_says_what_there_is(site: Site) -> None:
    _, said, _ = site.ask("GET", "/")
    for text in ("batch", "worker", "vaf-1", "node1", "1 core", "<svg"):
        assert text in said
    _, said, _ = site.ask("GET", "/monitor")
    assert "CPU time" in said


def test_the_json_says_the_same(site: Site) -> None:
    _, said, _ = site.ask("GET", "/api/v1/status")
    status = json.loads(said)
    assert status["jobs"] == {"waiting": 0, "held": 1, "running": 3}
    assert status["pools"][0]["vms"] == 3
    assert all(vm["why"] for vm in status["vms"])


def test_why_a_job_waits(site: Site) -> None:
    site.farm.submit(20)
    site.scaler.cycle()
    _, said, _ = site.ask("GET", "/api/v1/jobs/20")
    assert json.loads(said)["why"]
    assert site.ask("GET", "/api/v1/jobs/4711")[0] == 404
    assert json.loads(site.ask("GET", "/api/v1/jobs/4711")[1])["error"] == "no such job in the last snapshot"


def test_metrics(site: Site) -> None:
    _, said, _ = site.ask("GET", "/metrics")
    assert 'vafnebula_jobs{state="running"} 3.0' in said
    assert 'vafnebula_vms{life="ready",pool="batch"} 3.0' in said
    assert 'vafnebula_actions_total{outcome="done",verb="start"} 3.0' in said
    assert "vafnebula_leads 1.0" in said


WRITE = b'{"min": 1, "max": 4}'


@pytest.mark.parametrize("token", [None, "", "wrong", SECRET[:-1], SECRET + "x", SECRET.upper(), "ü"])
def test_no_write_without_the_token(site: Site, token: str | None) -> None:
    quoted = token.encode().decode("latin-1") if token else token
    status, said, _ = site.ask("POST", "/api/v1/pools/batch", WRITE, quoted)
    assert status == 401
    assert site.scaler.state.bounds == {}
    assert SECRET not in said


@pytest.mark.parametrize("verb", ["PUT", "DELETE", "PATCH", "GET"])
def test_other_verbs_do_not_write(site: Site, verb: str) -> None:
    assert site.ask(verb, "/api/v1/pools/batch", WRITE, SECRET)[0] == 405


def test_a_write_with_the_token(site: Site, tmp_path: Path) -> None:
    assert site.ask("POST", "/api/v1/pools/batch", WRITE, SECRET)[0] == 200
    assert site.scaler.state.bounds == {"batch": Bounds(1, 4)}
    assert site.woken == ["x"]
    (line,) = (r for r in journal.read(tmp_path / "state/journal.jsonl") if r["kind"] == "scaled")
    assert (line["pool"], line["min"], line["max"], line["by"]) == ("batch", 1, 4, "token from 127.0.0.1")
    site.farm.submit(20)
    site.scaler.cycle()
    assert len(site.farm.alive()) == 4, "the policy would allow 6"
    assert site.ask("POST", "/api/v1/pools/batch", b'{"min": null, "max": null}', SECRET)[0] == 200
    assert site.scaler.state.bounds == {}


def test_a_write_through_the_local_socket(site: Site) -> None:
    assert site.local.stat().st_mode & 0o777 == 0o660
    assert site.ask("POST", "/api/v1/pools/batch", WRITE, local=True)[0] == 200
    assert site.scaler.state.bounds == {"batch": Bounds(1, 4)}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"min": "1"}',
        b'{"min": true}',
        b'{"min": -1}',
        b'{"max": 7}',
        b'{"min": 1e3}',
        b'{"min": 5, "max": 2}',
        b'{"minimum": 1}',
        b'{"min": 99999999999999999999}',
        b"\xff" * 100,
    ],
)
def test_bad_bodies_are_refused(site: Site, body: bytes) -> None:
    assert site.ask("POST", "/api/v1/pools/batch", body, SECRET)[0] == 400
    assert site.scaler.state.bounds == {}


def test_a_standby_takes_no_orders(site: Site) -> None:
    site.farm.leads = lambda: False  # type: ignore[method-assign]
    site.scaler.cycle()
    status, said, _ = site.ask("POST", "/api/v1/pools/batch", WRITE, SECRET)
    assert status == 409
    assert "another front-end of this zone leads" in said
    assert "Standby" in site.ask("GET", "/")[1]


def test_an_unknown_pool_and_a_large_body(site: Site) -> None:
    assert site.ask("POST", "/api/v1/pools/nope", WRITE, SECRET)[0] == 400
    assert site.ask("POST", "/api/v1/pools/batch", b" " * 100_000 + WRITE, SECRET)[0] in (400, 413)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620])
def test_a_token_that_others_can_read_is_none(site: Site, mode: int) -> None:
    site.token.chmod(mode)
    assert site.ask("POST", "/api/v1/pools/batch", WRITE, SECRET)[0] == 503


def test_a_changed_token_counts_at_once(site: Site) -> None:
    site.token.write_text("another-secret-0123456789")
    assert site.ask("POST", "/api/v1/pools/batch", WRITE, SECRET)[0] == 401
    assert site.ask("POST", "/api/v1/pools/batch", WRITE, "another-secret-0123456789")[0] == 200


@pytest.mark.parametrize("text", ["", "short"])
def test_a_short_token_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(web.BadToken):
        web.token(path)


def test_without_a_token_file_only_the_socket_writes(tmp_path: Path) -> None:
    made = scaler(Farm(), tmp_path)
    client = application(made, History(), ServiceSection()).test_client()
    assert client.post("/api/v1/pools/batch", data=WRITE).status_code == 403
    assert client.get("/").status_code == 200, "also before the first cycle"
    assert client.get("/monitor").status_code == 200
    assert client.get("/metrics").status_code == 200
    assert client.get("/api/v1/status").get_json() == {"looked": None}
    assert client.get("/healthz").status_code == 503
    made.journal.close()


def test_the_token_is_in_no_log(
    site: Site, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    with caplog.at_level(logging.DEBUG):
        for token in (SECRET, "wrong-but-secret-0123"):
            site.ask("POST", "/api/v1/pools/batch", WRITE, token)
            site.ask("POST", "/api/v1/pools/nope", WRITE, token)
    said += [caplog.text, *capfd.readouterr(), (site.token.parent / "state/journal.jsonl").read_text()]
    assert not re.search(f"{SECRET}|wrong-but-secret", "".join(said))


def test_a_thousand_requests_fifty_at_once(site: Site) -> None:
    stop = threading.Event()

    def turn() -> None:
        while not stop.is_set():
            site.farm.pass_time(1)
            site.scaler.cycle()

    wheel = threading.Thread(target=turn)
    wheel.start()
    try:
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda n: site.ask("GET", PATHS[n % 4])[0], range(1000)))
    finally:
        stop.set()
        wheel.join()
    assert answers == [200] * 1000


def test_the_graph_is_an_image_and_honest() -> None:
    assert "no history yet" in graph.svg([])
    points = [Point(1e9 + 60 * n, n % 7, n % 5, n % 3, 1) for n in range(500)]
    root = ET.fromstring(graph.svg(points))
    assert len(root.findall("{http://www.w3.org/2000/svg}path")) >= 7


def test_history_keeps_a_month_and_forgets_what_did_not_move(tmp_path: Path) -> None:
    farm = Farm()
    made = scaler(farm, tmp_path, policy())
    history = History()
    for _ in range(5):
        history.add(made.cycle())
        farm.pass_time(1)
    assert len(history.points) == 2
    for _ in range(MOST // 4):
        farm.submit(1, 1e9)
        history.add(made.cycle())
        farm.pass_time(1)
    assert len(history.points) <= MOST
    assert history.points[0].at == 1_000_000.0
    made.journal.close()
