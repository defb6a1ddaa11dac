"""The queue decides how many VMs there are.

    model.py      the records: what is seen (Snapshot), what the admin wants (Policy), what is done (actions)
    memory.py     the records that live from cycle to cycle: all that decide remembers, as JSON
    decide.py     decide(snapshot, memory, policy) -> Decision(actions, memory, reasons): pure, no clock, no effects
      clock.py      observed time: only what lies between two good snapshots counts for a timer
      guards.py     when nothing may be done: stale or partial sources, mass loss
      life.py       every VM is in exactly one state of its life
      demand.py     waiting jobs, grouped by what they need
      fit.py        demand onto free slots, booting VMs and new VMs of several templates
      grow.py       what to start; quotas, budget, warm pool
      shrink.py     drain -> confirm -> terminate, or undrain
      breaker.py    a template whose VMs never join is tried ever more rarely
      futile.py     so is a shape of job that does not start although its VM came up
    outcome.py    what became of an action, told to the memory
    policy.py     the policy file (YAML) -> Policy
    batch/        one adapter per batch system: pure parsers and thin commands
    cloud.py      OpenNebula: which VMs are ours, starting, ending; the calls are in one/vms.py
    loop.py       the cycle (calm.py: without garbage collector); lastlook.py before what cannot be taken back
      journal.py    lines on disk before the act: memory and audit log;  state.py: what they add up to
    service.py    the daemon: signals, reload, systemd (notify.py)
      events.py     when to look: a socket that anything pokes (poke.py, vmstate.py), logs that are followed (tail.py)
      web.py        pages and API: view.py (what is said), graph.py and history.py (the picture), metrics.py, pages/
      squeeze.py    less CPU for batch VMs beside interactive ones, through virsh.py
    simulate.py   the real decide against a simulated cloud and queue; world.py, trace.py, threshold.py (the
                  baseline), plot.py

A cycle, whoever drives it: observe batch and cloud -> Snapshot -> decide -> journal -> act -> outcome -> journal.
Words: supply is what ready VMs offer, demand what eligible waiting jobs need; a shape is what a job needs of one
node, or what a node or VM offers; a piece is the part of a job that runs on one node.
"""
