"""What an admin asks about storage, on the front-end: `vafnebula check`, `cache`, `volumes`, `fsck`, `explain`.

    site.py     what is known before a node is asked: site file, OpenNebula, which hosts
    ask.py      one order to many nodes at once, one ssh each
    views.py    what a node said of itself, as records
    cache.py    origins: rows, which image, what to fill
    fsck.py     volumes compared with OpenNebula's VMs (pure), and the repairs
    explain.py  the story of one disk
    check.py    is the installation fit?  facts in, findings out (pure)

Nodes answer through node/deeds of the same names as the orders in model.py.
"""
