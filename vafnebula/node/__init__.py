"""The node half: what runs on a hypervisor.  Standard library only, Python 3.9 or newer."""
