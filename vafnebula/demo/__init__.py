"""The demo: a VM cluster's storage life on a lab, through the real driver executables, with figures of the same run."""
