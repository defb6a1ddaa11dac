"""A stand-in for OpenNebula's core: one.vm.info over XML-RPC, and a driver manager that starts drivers as one_tm does.

    python -I -S oned.py        on the lab's front-end, as oneadmin, with the environment that oned has

It is told by JSON lines on stdin and answers by JSON lines on stdout:

    {"vm": 7, "xml": "<VM>..."}                the record of VM 7 from now on; "" forgets it
    {"pool": "one.hostpool.info", "xml": ...}  what that call says from now on
    {"run": 1, "argv": ["/var/lib/one/..."]}   run a program
    -> {"port": 2633}                          once, when the API answers
    -> {"run": 1, "code": 0, "seconds": 0.41, "out": "", "err": ""}      when it has ended; seconds from fork to exit

As many run at once as OpenNebula starts with its default of 15 threads for one_tm; the others wait.  At the end of
stdin all of it ends.  Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from socketserver import ThreadingMixIn
from typing import Any
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

PORT = 2633
THREADS = 15
NO_EXISTS = 0x0400  # OpenNebula's code for an object that is not there


POOLS = {
    "one.hostpool.info": "<HOST_POOL/>",
    "one.datastorepool.info": "<DATASTORE_POOL/>",
    "one.imagepool.info": "<IMAGE_POOL/>",
}
DONE = "<STATE>6</STATE>"


class Api(ThreadingMixIn, SimpleXMLRPCServer):
    """What our actions and commands ask, and nothing else: [ok, XML or reason, code, object], as OpenNebula answers.

    `pools` are documents by method, `documents` those of other objects than VMs, by method and number.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, records: Mapping[int, str], pools: Mapping[str, str], documents: Mapping[tuple[str, int], str]
    ) -> None:
        super().__init__(("127.0.0.1", PORT), Handler, logRequests=False)
        self.records = records
        self.documents = documents
        self.register_function(self.info, "one.vm.info")
        self.register_function(self.live, "one.vmpool.infoextended")
        for method in pools:
            self.register_function(lambda *_, method=method: [True, pools[method], 0, -1], method)
        for method in ("one.image.info", "one.datastore.info"):
            self.register_function(partial(self.other, method), method)

    def live(self, *_params: Any) -> list[Any]:
        """All VMs that are not DONE, as filter -1 asks for."""
        return [True, f"<VM_POOL>{''.join(x for x in self.records.values() if DONE not in x)}</VM_POOL>", 0, -1]

    def other(self, method: str, *params: Any) -> list[Any]:
        _session, number, _decrypt = params
        if (method, number) in self.documents:
            return [True, self.documents[method, number], 0, -1]
        return [False, f"[{method}] Error getting {number}.", NO_EXISTS, number]

    def info(self, *params: Any) -> list[Any]:
        _session, vm, _decrypt = params
        if vm in self.records:
            return [True, self.records[vm], 0, -1]
        return [False, f"[one.vm.info] Error getting virtual machine [{vm}].", NO_EXISTS, vm]


class Handler(SimpleXMLRPCRequestHandler):
    rpc_paths = ("/RPC2",)


def run(number: int, argv: Sequence[str], lock: threading.Lock) -> None:
    """Run `argv` and tell how it ended.  A program that cannot be started has code 127."""
    began = time.monotonic()
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        code, out, err = done.returncode, done.stdout, done.stderr
    except OSError as e:
        code, out, err = 127, b"", str(e).encode()
    seconds = time.monotonic() - began
    texts = {"out": out.decode(errors="replace"), "err": err.decode(errors="replace")}
    tell({"run": number, "code": code, "seconds": seconds, **texts}, lock)


def tell(answer: Mapping[str, Any], lock: threading.Lock) -> None:
    with lock, contextlib.suppress(BrokenPipeError):  # whoever asked is gone; the end of stdin comes next
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def main() -> None:
    records: dict[int, str] = {}
    lock = threading.Lock()
    pools = dict(POOLS)
    documents: dict[tuple[str, int], str] = {}
    api = Api(records, pools, documents)
    threading.Thread(target=api.serve_forever, daemon=True).start()
    tell({"port": PORT}, lock)
    pool = ThreadPoolExecutor(THREADS)
    for line in sys.stdin:
        told = json.loads(line)
        if "vm" in told:
            records[told["vm"]] = told["xml"]
            if not told["xml"]:
                del records[told["vm"]]
        elif "pool" in told:
            pools[told["pool"]] = told["xml"]
        elif "method" in told:
            documents[told["method"], told["number"]] = told["xml"]
        else:
            pool.submit(run, told["run"], told["argv"], lock)
    os.killpg(0, signal.SIGKILL)  # programs that still run go too: a lab's `enter` made us the leader of a group


if __name__ == "__main__":
    main()
