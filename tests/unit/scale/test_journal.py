"""The journal: what is said to be written is there after any end, and nothing half-written is believed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vafnebula.scale import journal
from vafnebula.scale.journal import Journal, Locked, NotWritten


def kinds(directory: Path) -> list[str]:
    return [r["kind"] for r in journal.read(directory / journal.CURRENT)]


def test_what_was_written_is_replayed(tmp_path: Path) -> None:
    book = Journal(tmp_path, clock=lambda: 12.5)
    book.write("intent", verb="start", why="ein Job wartet: ü <b>\n")
    book.close()
    book = Journal(tmp_path)
    assert list(book.replay()) == [{"at": 12.5, "kind": "intent", "verb": "start", "why": "ein Job wartet: ü <b>\n"}]
    book.close()


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_last_line_never_happened(tmp_path: Path, cut: int) -> None:
    book = Journal(tmp_path)
    book.write("one")
    book.write("two", text="x" * 50)
    book.close()
    path = tmp_path / journal.CURRENT
    path.write_bytes(path.read_bytes()[:-cut])
    book = Journal(tmp_path)
    assert [r["kind"] for r in book.replay()] == ["one"]
    book.write("three")
    assert kinds(tmp_path) == ["one", "three"]
    book.close()


def test_every_place_where_a_line_can_be_torn(tmp_path: Path) -> None:
    book = Journal(tmp_path)
    book.write("one")
    book.close()
    path = tmp_path / journal.CURRENT
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole + whole[:length])
        book = Journal(tmp_path)
        assert [r["kind"] for r in book.replay()] == ["one"], length
        book.close()


def test_rubbish_in_the_middle_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / journal.CURRENT).write_bytes(b'{"at":1,"kind":"a"}\n\0\xff{]\n[1]\n{"at":2}\n{"at":3,"kind":"b"}\n')
    book = Journal(tmp_path)
    assert [r["kind"] for r in book.replay()] == ["a", "b"]
    book.close()


def test_only_one_at_a_time(tmp_path: Path) -> None:
    book = Journal(tmp_path)
    with pytest.raises(Locked, match=f"process {os.getpid()}"):
        Journal(tmp_path)
    book.close()
    Journal(tmp_path).close()


def test_rotation_keeps_the_state_and_the_past(tmp_path: Path) -> None:
    book = Journal(tmp_path, limit=100, keep=2)
    for number in range(5):
        book.write("line", number=number, text="x" * 100)
        assert book.full
        book.rotate(state=number)
    assert [r["kind"] for r in book.replay()] == ["checkpoint"]
    assert [r["state"] for r in book.replay()] == [4]
    assert len(journal.archive(tmp_path)) == 2
    assert [r["kind"] for r in journal.tail(tmp_path, 3)] == ["checkpoint", "line", "checkpoint"]
    assert journal.tail(tmp_path, 2)[0]["number"] == 4
    assert journal.tail(tmp_path, 0) == []
    book.close()


def test_an_old_file_lacks_what_only_a_replay_needs(tmp_path: Path) -> None:
    book = Journal(tmp_path)
    book.write("decided", memory={"large": "x" * 1000}, actions=["start"])
    book.rotate({"memory"}, memory="small")
    (old,) = journal.archive(tmp_path)
    (line,) = journal.read(old)
    assert (line["kind"], line["actions"], "memory" in line) == ("decided", ["start"], False)
    assert [r["memory"] for r in book.replay()] == ["small"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([old.name, "journal.jsonl", "lock"])
    book.close()


def test_a_rotation_that_was_killed_changes_nothing(tmp_path: Path) -> None:
    book = Journal(tmp_path)
    book.write("one")
    book.close()
    (tmp_path / (journal.CURRENT + ".new")).write_bytes(b'{"at":1,"kind":"check')
    (tmp_path / "journal.17.new").write_bytes(b'{"at":1,"kind":"check')
    book = Journal(tmp_path)
    assert list(tmp_path.glob("*.new")) == []
    assert [r["kind"] for r in book.replay()] == ["one"]
    book.rotate(state=1)
    assert [r["kind"] for r in book.replay()] == ["checkpoint"]
    book.close()


def test_a_full_disk_is_an_error_and_the_journal_ends_as_before(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes write() stop in the middle, as a full disk does."""
    book = Journal(tmp_path)
    book.write("one")
    size = (tmp_path / journal.CURRENT).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        with pytest.raises(NotWritten, match="nothing is done"):
            book.write("two", text="x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert kinds(tmp_path) == ["one"]
    book.write("three")
    assert kinds(tmp_path) == ["one", "three"]
    book.close()


def test_what_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from vafnebula.scale.journal import Journal\n"
        "book = Journal(Path(sys.argv[1]))\n"
        "n = 0\n"
        "while True:\n"
        "    book.write('n', number=n); print(n, flush=True); n += 1\n"
    )
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for _ in range(5):
            said = int(child.stdout.readline())
        child.kill()
        rest = child.stdout.read().split("\n")
        child.wait()
        child.stdout.close()
        said = max([said, *(int(n) for n in rest[:-1])])
        book = Journal(tmp_path)
        numbers = [r["number"] for r in book.replay()]
        book.close()
        assert numbers[-1] in (said, said + 1)
        (tmp_path / journal.CURRENT).unlink()
