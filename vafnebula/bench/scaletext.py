"""A farm as Slurm's and TORQUE's commands would print it: for measuring how long that takes to read.  Pure."""

from __future__ import annotations

from vafnebula.scale.batch.slurm import FIELDS, SEPARATOR
from vafnebula.scale.model import Job, Node, Shape, Snapshot
from vafnebula.units import KIB, MIB


def slurm(farm: Snapshot) -> dict[str, bytes]:
    """Answers of `squeue`, `scontrol show node` and `scontrol show config`."""
    queue = "".join(_job(j) for j in farm.jobs)
    nodes = "".join(_node(n) for n in farm.nodes)
    config = b"SelectTypeParameters    = CR_CORE_MEMORY\n"
    return {"squeue": queue.encode(), "-o": nodes.encode(), "config": config}


def _job(job: Job) -> str:
    s = job.shape
    mib = s.memory // MIB
    values = {
        "JobArrayID": job.id,
        "State": "PENDING",
        "NumNodes": "1",
        "tres-alloc": f"cpu={s.cores},mem={mib}M,node=1,billing={s.cores}",
        "tres-per-node": "N/A",
        "tres-per-job": "N/A",
        "MinMemory": f"{mib}M",
        "OverSubscribe": "OK",
        "SubmitTime": f"{job.since:.0f}",
        "NodeList": "",
        "Partition": "batch",
        "ReqNodes": "",
        "Reservation": "(null)",
        "Reason": "Priority",
        "UserName": "someone",
        "Feature": ",".join(s.features) or "(null)",
    }
    return SEPARATOR.join(values[f] for f in FIELDS) + SEPARATOR + "\n"


def _node(node: Node) -> str:
    total, used = node.total, node.total.cores - node.free.cores
    memory, taken = total.memory // MIB, (total.memory - node.free.memory) // MIB
    return (
        f"NodeName={node.name} Arch=x86_64 CoresPerSocket=1  CPUAlloc={used} CPUEfctv={total.cores} "
        f"CPUTot={total.cores} CPULoad=1.81 AvailableFeatures=vm ActiveFeatures=vm Gres=(null) GresDrain=N/A "
        f"GresUsed=gpu:0 NodeAddr=10.0.0.7 NodeHostName={node.name} Port=6818 Version=22.05.8 OS=Linux 6.1.0-18-amd64 "
        f"#1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01)  RealMemory={memory} AllocMem={taken} FreeMem=17052 "
        "Sockets=4 Boards=1 State=MIXED+DYNAMIC_NORM ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A "
        "Partitions=batch  BootTime=1795632486 SlurmdStartTime=1795634001 LastBusyTime=1795634001 "
        f"CfgTRES=cpu={total.cores},mem={memory}M,billing=8 AllocTRES=cpu={used},mem={taken}M CapWatts=n/a "
        "CurrentWatts=0 AveWatts=0 ExtSensorsJoules=n/s ExtSensorsWatts=0 ExtSensorsTemp=n/s\n"
    )


def torque(farm: Snapshot) -> dict[str, bytes]:
    """Answers of `qstat -x -t` and `pbsnodes -x`: 21 MB of XML, most of it users' variables."""
    variables = ",".join(f"PBS_O_NAME_{i}=/some/path/of/a/user/with/some/length/{i}" for i in range(24))
    jobs = "".join(
        f"<Job><Job_Id>{j.id}.head.site.org</Job_Id><Job_Name>job-{j.id}</Job_Name><Job_Owner>someone@head.site.org"
        f"</Job_Owner><job_state>Q</job_state><queue>batch</queue><server>head.site.org</server><Checkpoint>u"
        f"</Checkpoint><ctime>{j.since:.0f}</ctime><Error_Path>head:/home/someone/e</Error_Path><Hold_Types>n"
        f"</Hold_Types><Join_Path>n</Join_Path><mtime>{j.since:.0f}</mtime><Priority>0</Priority><qtime>{j.since:.0f}"
        f"</qtime><Rerunable>True</Rerunable><Resource_List><mem>{j.shape.memory // MIB}mb</mem><nodect>1</nodect>"
        f"<nodes>1:ppn={j.shape.cores}{''.join(':' + f for f in j.shape.features)}</nodes><walltime>24:00:00</walltime>"
        f"</Resource_List><Variable_List>{variables}</Variable_List><etime>{j.since:.0f}</etime></Job>"
        for j in farm.jobs
    )
    nodes = "".join(
        f"<Node><name>{n.name}</name><state>free</state><np>{n.total.cores}</np><ntype>cluster</ntype>"
        f"<jobs>{_slots(n.total, n.free)}</jobs><status>rectime=1700000000,varattr=,jobs=,state=free,netload=1,gres=,"
        f"loadave=0.02,ncpus={n.total.cores},physmem={n.total.memory // KIB}kb,availmem=7000000kb,totmem=16062980kb,"
        "idletime=3,nusers=0,nsessions=0,uname=Linux node 6.1,opsys=linux</status></Node>"
        for n in farm.nodes
    )
    return {"qstat": f"<Data>{jobs}</Data>".encode(), "pbsnodes": f"<Data>{nodes}</Data>".encode()}


def _slots(total: Shape, free: Shape) -> str:
    return ", ".join(f"{i}/9{i}.head.site.org" for i in range(total.cores - free.cores))
