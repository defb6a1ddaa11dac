"""Workers join the batch system of their head by themselves: the paper's 3.1.2, hardened.

Runs inside VMs: `init` puts it beside a definition, the context brings it into the guests, as
/usr/libexec/vafnebula.  Standard library and Python 3.9 only.

    worker   ask.py       makes a key, publishes its public half through OneGate, asks the head by ssh
    head     keys.py      sshd's AuthorizedKeysCommand: one line per running worker, bound to its address
             register.py  the forced command: grammar, rate, who is it, is it too late, is the name taken
             batch.py     root's part: the fixed command of the batch system; prints what the worker needs
    both     onegate.py, api.py   two ways to ask OpenNebula; vms.py: what it knows about a VM
             ledger.py    who was seen when, who has joined; request.py, settings.py, audit.py

A worker never says who it is.  Its identity is the address that its connection comes from (which the isolation hook
pins to the VM), looked up in OpenNebula.  No secret is in any template: keys are made in the VM that uses them.
"""
