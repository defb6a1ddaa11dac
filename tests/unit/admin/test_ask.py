from __future__ import annotations

import threading
from pathlib import Path

import pytest

from vafnebula import __version__, config, errors
from vafnebula.admin import ask
from vafnebula.model import Reply
from vafnebula.model_admin import Evict

SSH = """#!/bin/sh
# a node that answers with its name; n3 cannot be reached, n4 refuses
cat >/dev/null
for word; do last=$host; host=$word; done
case $last in
n3) echo "ssh: connect to host n3 port 22: Connection refused" >&2; exit 255 ;;
n4) echo '{refused}' ;;
*) echo '{good}' ;;
esac
"""


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = Reply(__version__, facts={"result": "evicted"}).to_json().decode()
    refused = Reply(__version__, "Busy", "it is used").to_json().decode()
    ssh = tmp_path / "ssh"
    ssh.write_text(SSH.replace("{refused}", refused).replace("{good}", good))
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.usefixtures("nodes")
def test_answers_come_in_the_order_of_the_jobs_and_errors_are_answers() -> None:
    jobs = [(host, Evict(100, str(n))) for n, host in enumerate(["n4", "n1", "n3", "n2", "n1"])]
    seen: list[str] = []
    lock = threading.Lock()

    def ended(answer: ask.Answer) -> None:
        with lock:
            seen.append(answer.request.key)

    answers = ask.everyone(jobs, config.Site(), parallel=2, ended=ended)
    assert [(a.host, a.request.key) for a in answers] == [(host, order.key) for host, order in jobs]
    assert [type(a.error) for a in answers] == [errors.Busy, type(None), errors.Unreachable, type(None), type(None)]
    assert answers[1].facts == {"result": "evicted"}
    assert sorted(seen) == list("01234")


@pytest.mark.usefixtures("nodes")
def test_never_more_nodes_at_a_time_than_asked_for() -> None:
    at_work, most, lock = 0, 0, threading.Lock()

    def began(host: str, request: object) -> None:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)

    def ended(answer: ask.Answer) -> None:
        nonlocal at_work
        with lock:
            at_work -= 1

    ask.everyone([(f"m{n}", Evict(100, "x")) for n in range(9)], config.Site(), parallel=3, began=began, ended=ended)
    assert 0 < most <= 3


def test_nobody_to_ask() -> None:
    assert ask.everyone([], config.Site()) == []
