"""The pages in a real browser: Chromium, headless.  A hostile name runs nothing, and the page is drawn."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.oned import free_port
from tests.unit.scale.farm import Farm, scaler
from vafnebula.one.vms import Listed
from vafnebula.scale.batch import BatchView
from vafnebula.scale.cloud import Seen
from vafnebula.scale.history import History
from vafnebula.scale.model import Job, Shape
from vafnebula.scale.policy import ServiceSection
from vafnebula.scale.web import Pages

TRICK = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"><svg onload=alert(1)>"


class Hostile(Farm):
    def observe(self) -> BatchView:
        view = super().observe()
        return BatchView((*view.jobs, Job("7", Shape(1), "held", why=TRICK, name=TRICK, user=TRICK)), view.nodes)

    def look(self) -> Seen:
        seen = super().look()
        vm = Listed(99, TRICK, "u", "g", 3, 3, 0, TRICK, 1, 1.0, 1, (5.0, 1), {"VAF_POOL": TRICK}, "")
        return Seen(seen.source, seen.vms, (vm,))


@dataclass
class Browser:
    home: Path
    port: int

    def show(self, path: str, *options: str) -> str:
        argv = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        argv += [f"--user-data-dir={self.home}/profile", "--window-size=1100,1200", *options]
        url = f"http://127.0.0.1:{self.port}{path}"
        return subprocess.run([*argv, url], capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert shutil.which("chromium"), "./install.sh test installs chromium"
    home = tmp_path_factory.mktemp("browser")
    farm = Hostile()
    farm.submit(5)
    made = scaler(farm, home / "state")
    history = History()
    for _ in range(3):
        history.add(made.cycle())
        farm.pass_time(20)
    port = free_port()
    service = ServiceSection(local=str(home / "sock"), listen=f"127.0.0.1:{port}")
    pages = Pages(made, history, service, lambda: None)
    pages.start()
    yield Browser(home, port)
    pages.stop()
    made.journal.close()


@pytest.mark.parametrize(("path", "title"), [("/", "queue and VMs · vafnebula"), ("/monitor", "nodes · vafnebula")])
def test_a_hostile_name_is_text(browser: Browser, path: str, title: str) -> None:
    dom = browser.show(path, "--dump-dom")
    assert f"<title>{title}</title>" in dom, "a script would have changed it"
    assert "&lt;script&gt;document.title='owned'" in dom
    assert "<script" not in dom
    assert "<img" not in dom


def test_it_is_drawn(browser: Browser) -> None:
    """Not empty, and of the size that was asked for: a page without style or graph would be a few flat kilobytes."""
    picture = browser.home / "page.png"
    browser.show("/", f"--screenshot={picture}")
    data = picture.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (1100, 1200)
    assert len(data) > 30_000
