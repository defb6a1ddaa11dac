"""A lab: hypervisor nodes that boot in seconds on one machine, with an OpenNebula front-end's side to run drivers on.

    from vafnebula.lab import Lab

    with Lab.up(nodes=2, sds={100: "thin", 200: "thick"}, disk="8G") as lab:
        lab.nodes                                   # ("n1", "n2")
        image = lab.put(lab.datastore(1) / "img", b"...")         # as oneadmin, on GlusterFS: all nodes see it
        lab.run(["/var/lib/one/remotes/tm/fs_lvm_snap/clone", ...])   # as OpenNebula runs a driver
        lab.ssh("n1", ["sudo", "-n", "lvs"])        # as oneadmin, over the front-end's shared connection
        lab.ssh("n1", ["vgs"], user="root").out
        with_pid = lab.popen([...]); with_pid.signal(15); with_pid.wait(30)
        lab.cut("n1"); lab.boot("n1")               # power cut; the same disks again
        lab.fault("n1", "error")                    # only with faults=True

Every method that runs something returns process.Completed (argv, code, out, err) and raises errors.CommandFailed for
another exit code than 0 unless check=False, and always for a passed `timeout` (seconds).  A lab lives as long as
the process that made it, at most; `down` (or the end of the `with` block) takes all of it away: processes, mounts,
namespaces, taps, files.  Nothing in it can write to the host's own files.

The parts: spec (what a lab shall be), state (where it lives), supervisor and init (its life), rootfs (its root),
accounts, identity, frontend, gluster (the front-end's side), seed, lvmconf, uml, qemu, machine (nodes), deploy (the
project's own files), faults, enter (ways in), lab (the object above), guest/ (scripts that run inside).
"""

from __future__ import annotations

from vafnebula.lab.lab import Lab

__all__ = ["Lab"]
