"""The lab is what its docstring says: users, sudo, volume groups, datastores, environment, power."""

from __future__ import annotations

import pytest

from vafnebula import errors
from vafnebula.lab import Lab

TM_ENVIRONMENT = {
    "HOME": "/var/lib/one",
    "LANG": "C.UTF-8",
    "LOGNAME": "oneadmin",
    "OLDPWD": "/var/lib/one",
    "ONE_MAD_DEBUG": "",
    "PATH": "/usr/lib/one/sh/override:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PRIORITY": "19",
    "PWD": "/var/lib/one",
    "SHELL": "/bin/bash",
    "SHLVL": "0",
    "USER": "oneadmin",
}


def test_a_driver_gets_opennebulas_environment_and_nothing_else(lab: Lab) -> None:
    lines = lab.run(["env"]).out.decode().splitlines()
    assert dict(line.split("=", 1) for line in lines) == TM_ENVIRONMENT
    said = lab.run(["sh", "-c", "pwd; umask; nice; id -un; id -u; hostname; wc -c"]).out.decode().split()
    assert said == ["/var/lib/one", "0022", "19", "oneadmin", "9869", "frontend", "0"]


def test_environment_can_be_added_to(lab: Lab) -> None:
    assert lab.run(["sh", "-c", "echo $ONE_XMLRPC"], env={"ONE_XMLRPC": "http://x y"}).out == b"http://x y\n"


def test_the_checkouts_interpreter_works_for_oneadmin(lab: Lab) -> None:
    done = lab.run(["/opt/vafnebula/.venv/bin/python", "-c", "import vafnebula; print(vafnebula.__file__)"])
    assert b"vafnebula/__init__.py" in done.out


def test_input_output_and_exit_code_pass(lab: Lab) -> None:
    data = bytes(range(256)) * 4096
    assert lab.run(["cat"], input=data).out == data
    assert lab.ssh("n1", ["cat"], input=data).out == data
    assert lab.run(["sh", "-c", "exit 3"], check=False).code == 3
    assert lab.ssh("n2", ["sh", "-c", "echo no >&2; exit 3"], check=False).code == 3
    with pytest.raises(errors.CommandFailed, match="exit code 3: no"):
        lab.ssh("n2", ["sh", "-c", "echo no >&2; exit 3"])


def test_arguments_are_not_evaluated(lab: Lab) -> None:
    nasty = ["a b", "$(id)", "'", '"', "`id`", "*", "", "-n", "\\", "new\nline"]
    for done in (lab.run(["printf", "%s\\0", *nasty]), lab.ssh("n1", ["printf", "%s\\0", *nasty])):
        assert done.out.decode().split("\0")[:-1] == nasty


@pytest.mark.parametrize("node", ["n1", "n2"])
def test_a_node_has_oneadmin_and_its_volume_groups(lab: Lab, node: str) -> None:
    assert lab.ssh(node, ["id"]).out.decode().strip() == (
        "uid=9869(oneadmin) gid=9869(oneadmin) groups=9869(oneadmin),6(disk)"
    )
    assert lab.ssh(node, ["hostname"]).out.decode().strip() == node
    fields = ["--noheadings", "-o", "vg_name,lv_name,chunk_size,zero,lv_tags", "--units", "k", "--nosuffix"]
    pools = lab.sh(node, 'lvs "$@"', *fields, "-S", "lv_name=vaf-thinpool").split()
    assert pools == ["vg-one-100", "vaf-thinpool", "64.00", "zero", "vafnebula"]
    assert lab.sh(node, "vgs --noheadings -o vg_name").split() == ["vg-one-100", "vg-one-200"]


def test_sudo_allows_what_the_drop_in_says(lab: Lab) -> None:
    assert lab.ssh("n1", ["sudo", "-n", "/usr/sbin/lvs", "--version"]).code == 0
    refused = lab.ssh("n1", ["sudo", "-n", "/usr/bin/id"], check=False)
    assert refused.code != 0
    assert b"password is required" in refused.err


def test_the_image_datastores_are_the_same_everywhere(lab: Lab) -> None:
    for ids in lab.spec.images:
        path = lab.put(lab.datastore(ids) / "probe", b"seen\n")
        for node in lab.nodes:
            assert lab.ssh(node, ["cat", str(path)]).out == b"seen\n"
            assert lab.ssh(node, ["stat", "-f", "-c", "%T", str(path)]).out == b"fuseblk\n"
        written = str(lab.datastore(ids) / "from-node")
        lab.ssh("n2", ["sh", "-c", 'echo node > "$1"', "sh", written])
        assert lab.run(["cat", written]).out == b"node\n"
        lab.run(["rm", str(path), written])


def test_direct_reading_from_the_datastore_works_on_a_node(lab: Lab) -> None:
    path = lab.put(lab.datastore(1) / "direct", b"x" * 1048576)
    lab.ssh("n1", ["dd", f"if={path}", "of=/dev/null", "bs=1M", "iflag=direct"])
    lab.run(["rm", str(path)])


def test_the_drivers_are_on_front_end_and_nodes(lab: Lab) -> None:
    lab.deploy()
    listing = ["find", "-L", ".", "-type", "f"]
    here = lab.run(["sh", "-c", 'cd remotes && exec "$@"', "sh", *listing]).out.split()
    assert b"./vafnebula/__main__.py" in here
    for node in lab.nodes:
        there = lab.ssh(node, ["sh", "-c", 'cd /var/tmp/one && exec "$@"', "sh", *listing]).out.split()
        assert sorted(here) == sorted(there)


def test_a_timeout_ends_the_program_too(lab: Lab) -> None:
    with pytest.raises(errors.CommandFailed, match="no end after"):
        lab.run(["sleep", "4321"], timeout=0.5)
    assert lab.run(["pgrep", "-f", "sleep 4321"], check=False).out == b""


def test_a_running_program_gets_signals(lab: Lab) -> None:
    script = "trap 'echo term; exit 7' TERM; touch /tmp/trapped; while :; do sleep 0.01; done"
    running = lab.popen(["sh", "-c", script])
    assert running.started() == running.pid
    while not lab.outside("/tmp/trapped").exists():
        assert running.poll() is None
    running.signal(15)
    done = running.wait(20)
    assert (done.code, done.out) == (7, b"term\n")


def test_unknown_node(lab: Lab) -> None:
    with pytest.raises(errors.RequestError, match="n1, n2"):
        lab.ssh("n3", ["true"])


def test_what_was_synced_outlives_a_power_cut_and_memory_does_not(lab: Lab) -> None:
    lab.sh(
        "n2",
        """
        lvcreate -qq --yes -Wn -n kept -L 64M vg-one-200
        echo data | dd of=/dev/vg-one-200/kept conv=fsync 2>/dev/null
        ln -s /dev/vg-one-200/kept /var/lib/one/datastores/200/link
        touch /run/lock/one/lock
        sync
        """,
    )
    lab.cut("n2")
    assert not lab.running("n2")
    lab.boot("n2")
    assert lab.sh("n2", "head -c 5 /var/lib/one/datastores/200/link") == "data\n"
    assert lab.sh("n2", "ls /run/lock/one") == ""
    assert lab.sh("n2", "ls -d /var/tmp/one/vafnebula") == "/var/tmp/one/vafnebula\n"
    assert lab.sh("n2", "cat /proc/mounts").count("fuse.glusterfs") == 1 + len(lab.spec.images)


def test_a_cut_node_is_unreachable_within_the_time_limit(lab: Lab) -> None:
    lab.ssh("n2", ["true"])
    lab.cut("n2")
    try:
        assert lab.ssh("n2", ["true"], check=False, timeout=60).code == 255
    finally:
        lab.boot("n2")


def test_cleaning_removes_every_volume_but_the_pool(lab: Lab, clean_node: str) -> None:
    assert lab.sh(clean_node, "lvs --noheadings -o lv_name").split() == ["vaf-thinpool"]


def test_a_node_cannot_write_the_hosts_files(lab: Lab) -> None:
    attempt = """
        mkdir -p /tmp/host
        mount -t hostfs -o / none /tmp/host
        for d in etc usr var lab opt lab/n1; do
            if touch "/tmp/host/$d/written" 2>/dev/null; then echo "$d"; fi
        done
        umount /tmp/host
    """
    assert lab.sh("n2", attempt) == ""
    with pytest.raises(errors.CommandFailed):
        lab.run(["touch", "/etc/written"], user="root")
