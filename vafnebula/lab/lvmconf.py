"""lvm.conf of a node.  Speed matters more than anything else here; docs say what each line is worth.

`monitoring`, `reserved_memory` and `reserved_stack` together take 340 of 490 ms off a snapshot in a UML node; the
last two are read before --config, so only this file can set them.
"""

from __future__ import annotations

TEMPLATE = """\
devices {{
    dir = "/dev"
    scan = [ "/dev" ]
    global_filter = [ "a|^({disks})$|", "r|.*|" ]
    use_devicesfile = 0
    obtain_device_list_from_udev = {udev}
    external_device_info_source = "none"
    multipath_component_detection = 0
    md_component_detection = 0
    fw_raid_component_detection = 0
    sysfs_scan = 0
    issue_discards = 0
}}
activation {{
    udev_sync = {udev}
    udev_rules = {udev}
    verify_udev_operations = 0
    monitoring = 0
    reserved_memory = 0
    reserved_stack = 0
    use_mlockall = 0
    process_priority = 0
}}
backup {{
    backup = 0
    archive = 0
}}
global {{
    event_activation = 0
    use_lvmpolld = 0
    notify_dbus = 0
    locking_type = 1
    wait_for_locks = 1
}}
"""


def render(disks: list[str], *, udev: bool, faults: bool) -> str:
    """The file for a node whose PVs lie on `disks` (/dev/...), or on the fault devices above them."""
    accepted = ["/dev/mapper/fault-[0-9]*"] if faults else disks
    return TEMPLATE.format(disks="|".join(accepted), udev=int(udev))
