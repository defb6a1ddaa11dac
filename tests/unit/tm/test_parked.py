"""What is parked on the front-end: cards, saving, leaving.  Nodes are in tests/lab/test_mv.py."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from vafnebula import errors, process
from vafnebula.config import Site
from vafnebula.model_moves import Part
from vafnebula.tm import argv, parked

SIZE = 4 << 20
CONTENT = b"what the guest wrote".ljust(70_001, b".")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """VM 7 with disk 1, parked for history record 4."""
    made = tmp_path / "ds/100/7"
    made.mkdir(parents=True)
    (tmp_path / "ds/1").mkdir()
    (tmp_path / "ds/1/img").write_bytes(b"older content")
    (tmp_path / "ds/1/img").chmod(0o640)
    park(made, [])
    return made


def park(directory: Path, more: list[str]) -> None:
    tags = ["vafnebula", "vaf.vm=7", "vaf.disk=1", "vaf.size=79872", *more]
    with (directory / "disk.1").open("wb") as f:
        f.write(CONTENT)
        f.truncate(SIZE)
    part = Part("lv-one-7-1", SIZE, 0, tags, False, "", "", "", "")
    (directory / ".disk.1.vaf").write_text(json.dumps({"seq": 4, "parts": [asdict(part)]}))


def call(directory: Path, verb: str = "mvds") -> argv.Call:
    image = directory.parents[1] / "1/img"
    words = {
        "mvds": [f"n1:{directory}/disk.1", str(image), "7", "1"],
        "cpds": [f"fe:{directory}/disk.1", f"{image}.new", "-1", "7", "1"],
    }
    return argv.parse(verb, words[verb])


def test_a_card_tells_what_is_parked(directory: Path) -> None:
    card = parked.card(str(directory), 1)
    assert card is not None
    assert (card.seq, card.parts[0].name) == (4, "lv-one-7-1")
    assert parked.there(str(directory), 1)
    assert parked.there(str(directory), -1)
    assert not parked.there(str(directory), 0)
    (directory / "disk.1").unlink()
    assert not parked.there(str(directory), -1), "a card without its file is none"


def test_a_broken_card_is_an_error_not_a_missing_disk(directory: Path) -> None:
    (directory / ".disk.1.vaf").write_text("{")
    with pytest.raises(errors.SystemRefused, match="not a card of ours"):
        parked.there(str(directory), 1)


def test_a_parked_disk_is_saved_to_its_image_and_goes(directory: Path) -> None:
    assert parked.save(call(directory)) == {"result": "saved", "bytes": 79_872}
    image = directory.parents[1] / "1/img"
    assert image.read_bytes() == CONTENT.ljust(79_872, b"\0")
    assert image.stat().st_mode & 0o777 == 0o640
    assert os.listdir(image.parent) == ["img"]
    assert os.listdir(directory) == [".disk.1.saved"]
    assert parked.saved(call(directory))


def test_a_qcow2_image_stays_qcow2(directory: Path) -> None:
    park(directory, ["vaf.format=qcow2"])
    parked.save(call(directory))
    image, raw = directory.parents[1] / "1/img", directory.parents[1] / "raw"
    assert image.read_bytes().startswith(b"QFI\xfb")
    process.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(image), str(raw)], timeout=60)
    assert raw.read_bytes().startswith(CONTENT)


def test_an_image_that_is_gone_keeps_the_disk(directory: Path) -> None:
    (directory.parents[1] / "1/img").unlink()
    with pytest.raises(errors.ImageMissing):
        parked.save(call(directory))
    assert parked.there(str(directory), 1)
    assert not parked.saved(call(directory))


def test_save_as_makes_a_new_image_and_keeps_the_disk(directory: Path) -> None:
    parked.save_as(call(directory, "cpds"))
    assert (directory.parents[1] / "1/img.new").read_bytes() == CONTENT.ljust(79_872, b"\0")
    assert parked.there(str(directory), 1)


def test_removal_leaves_a_nodes_directory_alone(directory: Path) -> None:
    """A front-end that is a hypervisor too has links in that place."""
    (directory / "disk.0").symlink_to("/dev/vg-one-100/lv-one-7-0")
    parked.remove(str(directory), -1)
    assert directory.is_dir()
    (directory / "disk.0").unlink()
    parked.remove(str(directory), 0)
    assert parked.there(str(directory), 1)
    parked.remove(str(directory), 1)
    parked.remove(str(directory), -1)
    parked.remove(str(directory), -1)
    assert not directory.exists()


def test_the_front_end_knows_itself(tmp_path: Path) -> None:
    site = Site(remote_dir=str(tmp_path))
    assert parked.only_here(os.uname().nodename, site)
    assert not parked.only_here("n1", site)
    assert parked.only_here("one.example.org", Site(remote_dir=str(tmp_path), name="one.example.org"))
    (tmp_path / "vafnebula").mkdir()
    assert not parked.only_here(os.uname().nodename, site), "it is a hypervisor too"
