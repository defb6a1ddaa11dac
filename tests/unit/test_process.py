from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vafnebula import errors, process


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_bytes_in_bytes_out() -> None:
    done = process.run(["tr", "a", "\\377"], timeout=10, input=b"bab\0")
    assert (done.code, done.out, done.err) == (0, b"b\xffb\0", b"")


def test_stdin_is_closed_and_the_language_is_c() -> None:
    done = process.run(
        ["sh", "-c", "cat; echo $LC_ALL"], timeout=10, env={"LC_ALL": "de_DE", "PATH": os.environ["PATH"]}
    )
    assert done.out == b"C\n"


def test_words_are_not_shell_text() -> None:
    done = process.run(["printf", "%s", "$(id); `id` | * \n"], timeout=10)
    assert done.out == b"$(id); `id` | * \n"


def test_a_failure_tells_program_code_and_last_words() -> None:
    with pytest.raises(errors.CommandFailed, match="sh failed with exit code 3: no luck") as failure:
        process.run(["sh", "-c", "echo no luck >&2; exit 3"], timeout=10)
    assert failure.value.facts["code"] == 3


def test_without_check_the_caller_judges() -> None:
    done = process.run(["sh", "-c", "echo said; kill -9 $$"], timeout=10, check=False)
    assert (done.code, done.why) == (-9, "said")
    assert process.run(["false"], timeout=10, check=False).why == "it said nothing"


@pytest.mark.parametrize("argv", [["no-such-program-of-ours"], ["/etc/passwd"], ["/"]])
def test_a_program_that_cannot_be_started(argv: list[str]) -> None:
    with pytest.raises(errors.CommandFailed, match="127"):
        process.run(argv, timeout=10)


def test_the_time_limit_kills(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(errors.CommandFailed, match="124: no end after 2 seconds"):
        process.run(["sh", "-c", f"echo $$ > {pid}; exec sleep 60"], timeout=2)
    assert not alive(int(pid.read_text()))


class Stop(Exception):
    pass


def stop_when(path: Path) -> None:
    """Raise Stop from a signal handler as soon as `path` is there."""

    def tick(number: int, frame: object) -> None:
        if path.exists() and path.read_text().endswith("\n"):
            raise Stop

    signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)


@pytest.fixture(autouse=True)
def no_timer() -> object:
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def test_an_exception_kills_the_child(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    stop_when(pid)
    with pytest.raises(Stop):
        process.run(["sh", "-c", f"echo $$ > {pid}; exec sleep 60"], timeout=None)
    assert not alive(int(pid.read_text()))


def test_an_exception_kills_all_that_run_together(tmp_path: Path) -> None:
    last = tmp_path / "3"
    stop_when(last)
    waits = f"while [ ! -s {tmp_path}/1 ] || [ ! -s {tmp_path}/2 ]; do sleep 0.01; done;"
    argvs = [["sh", "-c", f"{waits if n == 3 else ''} echo $$ > {tmp_path}/{n}; exec sleep 60"] for n in (1, 2, 3)]
    with pytest.raises(Stop):
        process.run_together(argvs, timeout=None)
    assert not any(alive(int((tmp_path / str(n)).read_text())) for n in (1, 2, 3))


def test_the_time_limit_of_one_kills_all(tmp_path: Path) -> None:
    argvs = [["sh", "-c", f"echo $$ > {tmp_path}/{n}; exec sleep 60"] for n in (1, 2)]
    with pytest.raises(errors.CommandFailed, match="124"):
        process.run_together(argvs, timeout=2)
    assert not any(alive(int((tmp_path / str(n)).read_text())) for n in (1, 2))


def test_when_one_cannot_be_started_the_others_do_not_live(tmp_path: Path) -> None:
    before = children()
    with pytest.raises(errors.CommandFailed, match="127"):
        process.run_together([["sleep", "60"], ["sleep", "60"], ["no-such-program-of-ours"]], timeout=None)
    assert children() == before


def children() -> str:
    """Our children, dead ones that nobody waited for included."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


def test_together_the_first_failure_is_told_when_all_have_ended(tmp_path: Path) -> None:
    argvs = [["sh", "-c", "exit 4"], ["sh", "-c", f"sleep 0.05; echo done > {tmp_path}/slow"], ["sh", "-c", "exit 5"]]
    with pytest.raises(errors.CommandFailed, match="exit code 4"):
        process.run_together(argvs, timeout=10)
    assert (tmp_path / "slow").exists()


def test_together_every_result_in_order() -> None:
    done = process.run_together([["echo", "1"], ["echo", "2"]], timeout=10)
    assert [one.out for one in done] == [b"1\n", b"2\n"]
    assert process.run_together([], timeout=10) == []


def test_only_the_descriptors_that_are_passed_are_open_in_the_child(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as a, (tmp_path / "b").open("w") as b:
        os.set_inheritable(b.fileno(), True)
        tries = f"[open(f'/proc/self/fd/{{fd}}').close() for fd in ({a.fileno()}, {b.fileno()})]"
        assert process.run(python(tries.replace(f", {b.fileno()}", ",")), timeout=10, pass_fds=[a.fileno()]).code == 0
        with pytest.raises(errors.CommandFailed, match="No such file"):
            process.run(python(tries), timeout=10, pass_fds=[a.fileno()])


def test_a_child_of_another_user_is_left_to_end_when_its_pipes_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: subprocess.Popen[bytes]) -> None:
        raise PermissionError  # what the kernel says of a program behind sudo

    monkeypatch.setattr(subprocess.Popen, "kill", refuse)
    with pytest.raises(errors.CommandFailed, match="124"):
        process.run(python("import time\nwhile True: print('x' * 9999, flush=True); time.sleep(.01)"), timeout=2)


def test_a_pipe_hands_everything_over(tmp_path: Path) -> None:
    process.pipe(["head", "-c", "1000000", "/dev/zero"], ["sh", "-c", f"wc -c >{tmp_path}/count"], timeout=10)
    assert (tmp_path / "count").read_text().strip() == "1000000"


@pytest.mark.parametrize(
    ("producer", "consumer", "why"),
    [
        (["sh", "-c", "echo half; echo gone >&2; exit 3"], ["cat"], "gone"),
        (["yes"], ["sh", "-c", "echo full >&2; exit 4"], "full"),
        (["true"], ["/no/such/program"], "No such file"),
        (["/no/such/program"], ["cat"], "No such file"),
    ],
)
def test_a_pipe_of_which_one_end_fails(producer: list[str], consumer: list[str], why: str) -> None:
    with pytest.raises(errors.CommandFailed, match=why):
        process.pipe(producer, consumer, timeout=10)


def test_a_pipe_that_takes_too_long_leaves_nobody(tmp_path: Path) -> None:
    note = f"import os, time; open('{tmp_path}/pid', 'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(errors.CommandFailed, match="124"):
        process.pipe(python(note), ["cat"], timeout=3)
    assert not alive(int((tmp_path / "pid").read_text()))
