"""A log that is followed: rotation, midnight, truncation, half lines."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from vafnebula.scale.tail import CHUNK, PATTERNS, BadWatch, Tail, watch

LINE = "04/05/2024 10:11:12;Q;12.server;queue=batch\n"


def torque(path: Path) -> Tail:
    return watch("torque", str(path))


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_only_what_is_new_is_news(tmp_path: Path) -> None:
    log = tmp_path / "log"
    append(log, LINE)
    tail = torque(log)
    assert tail.news() == 0
    append(log, LINE + "rubbish\n" + LINE)
    assert tail.news() == 2
    assert tail.news() == 0
    tail.close()


def test_a_half_line_waits_for_its_other_half(tmp_path: Path) -> None:
    log = tmp_path / "log"
    append(log, "")
    tail = torque(log)
    append(log, LINE[:10])
    assert tail.news() == 0
    append(log, LINE[10:])
    assert tail.news() == 1
    tail.close()


def test_a_log_that_comes_later(tmp_path: Path) -> None:
    log = tmp_path / "log"
    tail = torque(log)
    assert tail.news() == 0
    append(log, LINE)
    assert tail.news() == 1
    tail.close()


def test_rotation_loses_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    append(log, LINE)
    tail = torque(log)
    append(log, LINE)
    log.rename(tmp_path / "log.1")
    append(tmp_path / "log.1", LINE)
    assert tail.news() == 2, "the old file is followed until the new one is there"
    append(log, LINE)
    assert tail.news() == 1
    tail.close()


def test_truncation_starts_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    append(log, LINE * 3)
    tail = torque(log)
    os.truncate(log, 0)
    append(log, LINE)
    assert tail.news() == 1
    tail.close()


def test_midnight(tmp_path: Path) -> None:
    now = time.mktime((2024, 4, 5, 23, 59, 0, 0, 0, -1))
    clock = [now]
    pattern = str(tmp_path / "%Y%m%d")
    tail = Tail(lambda at: Path(time.strftime(pattern, time.localtime(at))), PATTERNS["torque"], clock=lambda: clock[0])
    append(tmp_path / "20240405", LINE)
    assert tail.news() == 1
    clock[0] += 120
    append(tmp_path / "20240405", LINE)
    assert tail.news() == 1, "nothing is written to the new day's file yet"
    append(tmp_path / "20240405", LINE)
    append(tmp_path / "20240406", LINE)
    assert tail.news() == 2
    append(tmp_path / "20240406", LINE)
    assert tail.news() == 1
    tail.close()


def test_a_flood_is_read_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    append(log, "")
    tail = torque(log)
    append(log, LINE * (2 * CHUNK // len(LINE)))
    assert 0 < tail.news() <= CHUNK // len(LINE)
    append(log, LINE)
    assert tail.news() == 1
    tail.close()


def test_a_line_without_end_and_bytes_of_any_kind(tmp_path: Path) -> None:
    log = tmp_path / "log"
    append(log, "")
    tail = torque(log)
    with log.open("ab") as file:
        file.write(b"\0\xff" * 100_000)
    assert tail.news() == 0
    assert len(tail._rest) <= 4096
    append(log, "\n" + LINE)
    assert tail.news() == 1
    tail.close()


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("slurm", "[2026-11-25T18:57:44.648] _slurm_rpc_submit_batch_job: JobId=7 InitPrio=4294901755 usec=206"),
        ("slurm", "[2026-11-25T18:57:44.648] _job_complete: JobId=7 done"),
        ("torque", "04/05/2024 10:11:12;E;12.server;user=x"),
        ("htcondor", "000 (012.000.000) 2024-04-05 10:11:12 Job submitted from host: <127.0.0.1:9618>"),
        ("htcondor", "005 (012.000.000) 2024-04-05 10:11:12 Job terminated."),
        ("file", "x"),
    ],
)
def test_lines_that_matter(tmp_path: Path, kind: str, line: str) -> None:
    log = tmp_path / "log"
    append(log, "")
    tail = watch(kind, str(log))
    append(log, line + "\n")
    assert tail.news() == 1
    tail.close()


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("slurm", "[2026-11-25T18:57:44.648] debug:  sched: Running job scheduler"),
        ("torque", "04/05/2024 10:11:12;L;license;floating license hour:1"),
        ("htcondor", "006 (012.000.000) 2024-04-05 10:11:12 Image size of job updated: 1"),
        ("htcondor", "..."),
    ],
)
def test_lines_that_do_not(tmp_path: Path, kind: str, line: str) -> None:
    log = tmp_path / "log"
    append(log, "")
    tail = watch(kind, str(log))
    append(log, line + "\n")
    assert tail.news() == 0
    tail.close()


@pytest.mark.parametrize(("kind", "path"), [("pbs", "/x"), ("slurm", "relative/log")])
def test_bad_watches(kind: str, path: str) -> None:
    with pytest.raises(BadWatch):
        watch(kind, path)


def test_no_file_is_left_open(tmp_path: Path) -> None:
    log = tmp_path / "log"
    append(log, LINE)
    before = len(os.listdir("/proc/self/fd"))
    tail = torque(log)
    for _ in range(5):
        log.rename(tmp_path / "old")
        append(log, LINE)
        tail.news()
    tail.close()
    assert len(os.listdir("/proc/self/fd")) == before
