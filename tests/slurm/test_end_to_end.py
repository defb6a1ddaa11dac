"""A real Slurm's queue decides how many VMs there are; then everything breaks, one after the other."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.slurm.cluster import wait
from tests.slurm.site import Site
from vafnebula.scale.tail import watch


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    for program in ("slurmctld", "slurmd", "unshare", "nsenter", "ip"):
        assert shutil.which(program), f"{program} is missing: ./install.sh test installs it"
    with Site(tmp_path_factory.mktemp("slurm")) as made:
        yield made


def through(site: Site, jobs: set[str]) -> None:
    wait(lambda: jobs <= site.slurm.done(), f"all of {len(jobs)} jobs are through", 180)


def test_forty_jobs_come_and_go(site: Site) -> None:
    """The held job and the impossible one stay in the queue through everything that follows."""
    site.held = site.slurm.submit("--hold")
    site.large = site.slurm.submit("--cpus-per-task=64")
    site.after_cycles(3)
    assert site.one.vms == {}, "neither of them starts a VM"
    jobs = {site.slurm.submit() for _ in range(40)}
    through(site, jobs)
    wait(site.empty, "idle nodes are drained and their VMs ended")
    assert 0 < len(site.one.vms) <= 6


def test_slurm_rings_the_bell(site: Site) -> None:
    """A submission is seen in slurmctld's log, and in the file that share/slurm/job_submit.lua appends to."""
    tails = [watch("slurm", str(site.root / "ctld.log")), watch("file", str(site.root / "submitted"))]
    through(site, {site.slurm.submit()})
    for tail in tails:
        assert tail.news() > 0
        tail.close()


def test_an_array_while_the_scaler_dies_ten_times(site: Site) -> None:
    dice = random.Random(5)
    array = site.slurm.submit("--array=1-40", seconds=4)
    for _ in range(10):
        site.after_cycles(1)
        time.sleep(dice.uniform(0, 0.7))
        site.kill()
        site.start()
    through(site, {f"{array}_{n}" for n in range(1, 41)})
    wait(site.empty, "no VM is left that nobody ends")


def test_a_vm_that_never_joins(site: Site) -> None:
    site.stillborn = 1
    job = site.slurm.submit()
    through(site, {job})
    wait(site.empty, "the VM that never joined is ended too")
    assert len(site.dead) == 1


def test_a_vm_that_dies_under_a_job(site: Site) -> None:
    job = site.slurm.submit(seconds=6)
    wait(lambda: site.where(job), "it runs")
    node = site.where(job)
    site.dead.add(int(node.removeprefix("vaf-")))
    site.slurm.power_off(node)
    wait(lambda: not site.slurm.running_on(node), "Slurm sees it and puts the job back")
    # Slurm keeps it back for two minutes (BeginTime); a person would not wait either
    wait(
        lambda: site.slurm.run("scontrol", "update", f"job={job}", "starttime=now", check=False).returncode == 0, "now"
    )
    through(site, {job})
    wait(site.empty, "the dead VM is ended, its node removed")


def test_slurmctld_is_away(site: Site) -> None:
    """Jobs run on, nothing is drained, ended or started, and all are through at last."""
    jobs = {site.slurm.submit(seconds=15) for _ in range(4)}
    wait(lambda: sum(len(site.slurm.running_on(n)) for n in list(site.slurm.nodes)) == 4, "they run")
    site.slurm.stop_controller()
    made, ended = len(site.one.vms), site.one.calls["vm.action"]
    site.after_cycles(4)
    assert (len(site.one.vms), site.one.calls["vm.action"]) == (made, ended)
    site.slurm.start_controller()
    through(site, jobs)
    wait(site.empty, "and then the VMs go")


def test_opennebula_is_away(site: Site) -> None:
    site.one.down = True
    jobs = {site.slurm.submit() for _ in range(4)}
    time.sleep(5)
    assert site.slurm.states() == {}
    site.one.down = False
    through(site, jobs)
    wait(site.empty, "and then the VMs go")


def test_answers_get_lost(site: Site) -> None:
    """OpenNebula acts, but its answers do not arrive."""
    jobs = {site.slurm.submit() for _ in range(6)}
    for _ in range(8):
        time.sleep(0.3)
        site.one.lose.release()
    through(site, jobs)
    wait(site.empty, "and then the VMs go")
    assert site.one.losses > 0


def test_what_was_held_and_what_could_never_run(site: Site) -> None:
    assert site.held not in site.slurm.done()
    assert site.large not in site.slurm.done()
    # without any node it says "Requested partition configuration not available now", and releases it
    site.slurm.run("scontrol", "release", site.held, check=False)
    through(site, {site.held})
    site.slurm.run("scancel", site.large)
    wait(site.empty, "and then the VMs go")


def test_nothing_is_lost_doubled_or_killed_and_the_journal_explains_everything(site: Site) -> None:
    assert site.crimes == [], "a VM was ended under a job"
    requests = Counter(vm.labels["VAF_REQUEST"] for vm in site.one.vms.values())
    assert [r for r, times in requests.items() if times > 1] == []
    starts = {a["request"]: a for a in site.planned("start")}
    ends = {a["vm"]: a for a in site.planned("terminate")}
    for vm in site.one.vms.values():
        assert starts[vm.labels["VAF_REQUEST"]]["why"]
        assert ends[vm.id]["why"], f"VM {vm.id} was ended without a word"
    settled = {r["act"] for r in site.records("outcome") if r["happened"] is not None}
    assert {f"start:{r}" for r in requests} <= settled
    assert {a["why"] for a in site.planned("drain")}
    assert len(site.records("started")) == 11
