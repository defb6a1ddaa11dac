from __future__ import annotations

from tests.fakes.node import Node
from vafnebula.node import thin as delta
from vafnebula.node.deeds.clone import clone

# What thin_delta of thin-provisioning-tools 0.9 prints, with blocks of 128 sectors.
DELTA = b"""<superblock uuid="" time="7" transaction="9" data_block_size="128" nr_data_blocks="4096">
  <diff left="1" right="2">
    <same begin="0" length="3"/>
    <different begin="3" length="1"/>
    <right_only begin="4" length="2"/>
    <same begin="6" length="10"/>
    <left_only begin="16" length="1"/>
  </diff>
</superblock>
"""


def test_what_is_not_the_same_can_differ() -> None:
    block = 65536
    assert delta.parse(DELTA) == [(3 * block, 6 * block), (16 * block, 17 * block)]


def test_a_disk_shares_all_with_its_origin_until_it_is_written(thin: Node) -> None:
    clone(thin.host(), thin.clone(), thin.settings)
    assert differing(thin) == []
    thin.write_disk("lv-one-7-0", b"something")
    assert differing(thin) == [(0, 65536)]


def test_where_it_cannot_be_had_none_says_so(thick: Node) -> None:
    clone(thick.host(), thick.clone(), thick.settings)
    assert differing(thick) is None
    assert differing(thick, "lv-one-9-9") is None


def differing(node: Node, volume: str = "lv-one-7-0") -> list[tuple[int, int]] | None:
    return delta.differing(node.host(), node.settings, "vg-one-0", node.origins()[0], volume)
