from __future__ import annotations

from vafnebula.bench.counts import programs

TRACE = """\
71    execve("/usr/bin/python3", ["/usr/bin/python3", "-I"], 0x7ffd /* 9 vars */) = 0
72    execve("/usr/local/sbin/sudo", ["sudo", "-n", "lvcreate"], 0x1) = -1 ENOENT (No such file or directory)
72    execve("/usr/bin/sudo", ["sudo", "-n", "lvcreate"], 0x1 /* 9 vars */ <unfinished ...>
74    execve("/usr/bin/true", ["true"], 0x1 <unfinished ...>
72    <... execve resumed>)             = 0
74    <... execve resumed>)             = -1 ENOENT (No such file or directory)
73    execve("/usr/sbin/lvcreate", ["lvcreate"], 0x1 /* 9 vars */) = 0
72    +++ exited with 0 +++
"""


def test_only_what_was_started_counts() -> None:
    assert programs(TRACE) == ("python3", "sudo", "lvcreate")
