"""One more look before a VM is ended that had no node, or a lost one.  Pure.

Such a VM cannot be drained, and it may join, and be given a job, in the seconds between the snapshot and the call.
"""

from __future__ import annotations

from vafnebula.scale.batch import BatchView
from vafnebula.scale.model import Terminate


def came(view: BatchView, action: Terminate) -> str:
    """Why `action` must not be done after all, '' when it may.  `view` was taken just now."""
    if not view.complete:
        return f"the batch system gives no full answer: {view.why}"
    for node in view.nodes:
        if node.vm == action.vm or action.node in (node.name, node.name.split(".")[0]):
            if node.jobs:
                return f"{node.jobs} jobs are on its node by now"
            if node.state == "up" and not node.draining:
                return "its node is up by now"
    if any(action.node and action.node in job.hosts for job in view.jobs if job.state == "running"):
        return "a job is on its node by now"
    return ""
