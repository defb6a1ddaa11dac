"""The program as the guests have it: what `init` ships, on the system's Python, with nothing else importable."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from vafnebula.context import start


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("guest")
    start.init("slurm", directory / "definition")
    shutil.copytree(directory / "definition/common/program/vafnebula", directory / "lib/vafnebula")
    return Path(shutil.copy(directory / "definition/common/join", directory / "lib/join"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "known are keys, register, batch, announce, ask"),
        (["keys", "vafreg"], "/etc/vafnebula/join.conf: No such file or directory; correct it"),
        (["register", "41"], "/etc/vafnebula/join.conf: No such file"),
        (["batch", "has", "vaf-41"], "/etc/vafnebula/join.conf: No such file"),
        (["register", "x"], "/etc/vafnebula/join.conf: No such file"),
        (["ask", "x", "1"], "internal error ValueError"),
    ],
)
@pytest.mark.skipif(Path("/etc/vafnebula/join.conf").exists(), reason="this machine is a head itself")
def test_a_failure_is_one_line(program: Path, words: list[str], said: str) -> None:
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
