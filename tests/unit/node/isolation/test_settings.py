from __future__ import annotations

from pathlib import Path

import pytest

from vafnebula import errors
from vafnebula.node.isolation import settings
from vafnebula.node.isolation.settings import Settings


def load(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "vafnebula.conf"
    file.write_text(text)
    return settings.load(str(file))


def test_no_file_means_all_defaults(tmp_path: Path) -> None:
    assert settings.load(str(tmp_path / "none")) == Settings()
    assert load(tmp_path, "[storage]\nmode = thick\n") == Settings()


def test_the_section_is_read_among_others(tmp_path: Path) -> None:
    text = """
        [storage]
        mode = thin
        [net]
        # roll-out
        mode = observe
        onegate = 169.254.16.9, 169.254.16.10
        ; a comment
        min_prefix=20
        port_flags = No
        [frontend]
        backend = none of ours
    """
    site = load(tmp_path, text)
    assert site == Settings(mode="observe", onegate=(0xA9FE1009, 0xA9FE100A), min_prefix=20, port_flags=False)
    assert load(tmp_path, "[net]\nonegate =\n").onegate == ()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("mod = observe", "unknown key mod; did you mean mode"),
        ("mode = Observe", "must be one of enforce, observe"),
        ("backend = iptables", "must be one of nft, ebtables"),
        ("min_prefix = 7", "whole number from 8 to 48"),
        ("min_prefix = 2_4", "whole number"),
        ("onegate = 169.254.16", "not an IPv4 address"),
        ("port_flags = maybe", "must be one of yes, no"),
        ("state_dir = state", "absolute path"),
        ("mode", "without `=`"),
    ],
)
def test_what_cannot_be_understood_is_named(tmp_path: Path, line: str, why: str) -> None:
    with pytest.raises(errors.BadConfig, match=why):
        load(tmp_path, f"[net]\n{line}\n")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "vafnebula.conf").write_bytes(b"\xff\xfe[net]")
    with pytest.raises(errors.BadConfig, match="cannot be read"):
        settings.load(str(tmp_path / "vafnebula.conf"))


def test_every_setting_is_in_the_how_to() -> None:
    text = (Path(__file__).parents[4] / "docs/isolation.md").read_text()
    assert [key for key in settings.OPTIONS if f"| `{key}` |" not in text] == []
