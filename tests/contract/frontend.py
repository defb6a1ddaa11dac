"""A front-end as OpenNebula sets it up, in a directory: remotes/, a home with credentials, and an ssh of ours in PATH.

The environment is the one that was recorded from oned 7.4's children, with HOME and the first entry of PATH moved.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.oned import SESSION
from vafnebula import __version__
from vafnebula.model import Reply

CHECKOUT = Path(__file__).parents[2]
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Done:
    """A stub that ended."""

    code: int
    out: bytes
    err: bytes


class Frontend:
    """`home` is oneadmin's, with everything else below it, as /var/lib/one is.  `bytecode` may be shared."""

    def __init__(self, home: Path, url: str, bytecode: Path) -> None:
        self.home = home
        self.remotes = home / "remotes"
        self.bin = home / "override"
        self.bin.mkdir(parents=True)
        (self.bin / "ssh").symlink_to(CHECKOUT / "tests/fakes/ssh")
        (home / ".cache").mkdir()
        (home / ".cache/vafnebula").symlink_to(bytecode)
        (home / ".one").mkdir()
        (home / ".one/one_auth").write_text(SESSION + "\n")
        (home / ".one/one_endpoint").write_text(url + "\n")
        shutil.copytree(CHECKOUT / "mads/tm", self.remotes / "tm")
        package = self.remotes / "vafnebula"
        package.mkdir()
        (package / "python").symlink_to(sys.executable)
        (package / "vafnebula").symlink_to(CHECKOUT / "vafnebula")
        self.environment = {
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "LOGNAME": "oneadmin",
            "OLDPWD": str(home),
            "ONE_MAD_DEBUG": "",
            "PATH": f"{self.bin}:{SYSTEM_PATH}",
            "PRIORITY": "19",
            "PWD": str(home),
            "SHELL": "/bin/bash",
            "SHLVL": "0",
            "SSH_AUTH_SOCK": "/var/run/one/ssh-agent.sock",
            "USER": "oneadmin",
        }

    def stub(self, action: str) -> Path:
        return self.remotes / "tm/fs_lvm_snap" / action

    def run(self, action: str, *arguments: str, stdin: bytes = b"") -> Done:
        """Run a stub as one_tm does: by absolute path, through a shell, in a process group of its own."""
        line = f"{self.stub(action)} {shlex.join(arguments)}"
        done = subprocess.run(
            line,
            shell=True,
            cwd=self.home,
            env=self.environment,
            input=stdin,
            capture_output=True,
            start_new_session=True,
            timeout=60,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def answer(self, out: bytes = b"", err: bytes = b"", code: int = 0) -> None:
        """What ssh says from now on."""
        where = self.bin / "answer"
        where.mkdir(exist_ok=True)
        for name, content in (("out", out), ("err", err), ("code", b"%d" % code)):
            (where / name).write_bytes(content)

    def reply(self, error: str = "", text: str = "") -> None:
        """A reply of the node half from now on."""
        self.answer(Reply(__version__, error=error, text=text).to_json() + b"\n")

    def configure(self, text: str) -> None:
        """The site file."""
        path = self.remotes / "etc/vafnebula/vafnebula.conf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    @property
    def ssh_calls(self) -> list[tuple[list[str], bytes]]:
        """(arguments, stdin) of every ssh."""
        calls = sorted(self.bin.glob("calls/*"))
        return [((c / "argv").read_text().splitlines(), (c / "stdin").read_bytes()) for c in calls]
