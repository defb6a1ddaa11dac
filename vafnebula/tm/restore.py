"""restore: disks become what a backup holds.

    API: the backup image, its datastore      -> remotes/datastore/<DS_MAD>/ls -i INCREMENT: {"<disk>": "<url>"}
    remotes/datastore/downloader.sh URL -     -> ssh: <VM directory>/.restore/disk.<N>, for every disk
    one order                                    the node half makes disks of them

ls and downloader.sh are OpenNebula's own; the latter merges a chain of increments into one image.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from typing import Callable

from vafnebula import errors, process, ssh
from vafnebula.config import Site
from vafnebula.model_points import Restore
from vafnebula.one import rpc, xml
from vafnebula.one.xml import Vm
from vafnebula.tm.argv import Call
from vafnebula.tm.order import order

LIST_TIMEOUT = 600.0  # seconds; a repository may be far away
_DRIVER = re.compile(r"[A-Za-z0-9_-]{1,64}")


def perform(call: Call, read: Callable[[], Vm], site: Site) -> Mapping[str, object]:
    """Bring the images to the node, then the order.  Raises NoBackup, CopyFailed, ApiFailed; nothing is left then."""
    urls = _urls(call, site)
    try:
        for disk, url in urls.items():
            _fetch(call, site, disk, url)
    except errors.Error:
        with suppress(errors.Error):
            order(call, _request(call, []), site)
        raise
    return order(call, _request(call, sorted(urls)), site)


def _request(call: Call, disks: list[int]) -> Restore:
    return Restore(vm=call.vm, disk=-1, sds=call.sds, directory=call.directory, disks=disks)


def _urls(call: Call, site: Site) -> dict[int, str]:
    """Disk -> where downloader.sh finds it."""
    vm = rpc.vm_xml(call.vm, site.api_timeout)
    image = rpc.document("one.image.info", call.backup, call.vm, site.api_timeout)
    try:
        number = int(xml.parse(image).findtext("DATASTORE_ID") or -1)
        datastore = rpc.document("one.datastore.info", number, call.vm, site.api_timeout)
        driver = (xml.parse(datastore).findtext("DS_MAD") or "").lower()
    except ValueError as e:
        raise errors.NoBackup(image=call.backup, why=f"its record cannot be used ({e})") from e
    if not _DRIVER.fullmatch(driver):
        raise errors.NoBackup(image=call.backup, why="its datastore has no usable DS_MAD")
    told = b"<DS_DRIVER_ACTION_DATA>\n%s\n%s\n%s\n</DS_DRIVER_ACTION_DATA>\n" % (datastore, vm, image)
    argv = [f"{call.remotes}/datastore/{driver}/ls", "-i", str(call.increment)]
    try:
        found = json.loads(process.run(argv, timeout=LIST_TIMEOUT, input=told).out)
        urls = {int(disk): str(url) for disk, url in found.items() if str(disk).isdigit()}
    except (errors.CommandFailed, ValueError, AttributeError) as e:
        raise errors.NoBackup(image=call.backup, why=errors.one_line(f"{driver}/ls failed: {e}", 120)) from e
    wanted = {disk: url for disk, url in urls.items() if call.disk in (-1, disk)}
    if not wanted:
        what = "no disks" if call.disk < 0 else f"no disk {call.disk}"
        raise errors.NoBackup(image=call.backup, why=f"there are {what} in it")
    return wanted


def _fetch(call: Call, site: Site, disk: int, url: str) -> None:
    """Bring one image to the node."""
    staging = shlex.quote(f"{call.directory}/.restore")
    remote = f"umask 077; mkdir -p {staging} && exec dd of={staging}/disk.{disk} bs=1M conv=fsync status=none"
    producer = [f"{call.remotes}/datastore/downloader.sh", "--nodecomp", url, "-"]
    try:
        process.pipe(producer, [*ssh.command(call.host, site)[:-1], remote], timeout=None)
    except errors.CommandFailed as e:
        raise errors.CopyFailed(source=f"disk {disk} of backup {call.backup}", why=e) from e
