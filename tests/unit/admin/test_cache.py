from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.unit.admin.sight import KEY, ROOT, disk, origin, view, volume
from vafnebula import names
from vafnebula.admin import cache
from vafnebula.model import Image
from vafnebula.model_admin import Evict, Pin, Scrub, Warm
from vafnebula.one import pools

OTHER = "fedc" + KEY[4:]


def image(number: int, name: str, *, persistent: bool = False, state: int = 1, file: str = "img") -> pools.Image:
    return pools.Image(number, name, 1, f"{ROOT}/1/{file}", 1 << 20, persistent, state)


IMAGES = [image(5, "worker"), image(6, "head", file="img2")]


def rows() -> list[cache.Row]:
    made = f"{names.ORIGIN_PREFIX}{KEY}"
    one = view(origin(names.PINNED, "vaf.holds=77", used=9), disk(7, origin=made), disk(8, origin=made))
    other = view(
        origin("vaf.x=y", key=OTHER), volume(f"{names.FILL_PREFIX}{OTHER}", names.OURS, "vaf.image=1/img2"), host="n2"
    )
    return cache.rows([one, other], IMAGES)


def test_a_row_says_what_there_is() -> None:
    first, second, fill = rows()
    assert (first.host, first.sds, first.key, first.image, first.name) == ("n1", 100, KEY, "1/img", "worker (5)")
    assert (first.disks, first.pinned, first.holds, first.used, first.complete) == (2, True, 77, 9, True)
    assert (second.disks, second.pinned, second.holds) == (0, False, 0)
    assert (fill.key, fill.name, fill.complete) == (OTHER, "head (6)", False)


@pytest.mark.parametrize(
    ("words", "hosts"),
    [
        ([KEY], ["n1"]),
        ([KEY[:4]], ["n1"]),
        ([OTHER[:6]], ["n2"]),
        (["worker"], ["n1", "n2"]),
        (["5"], ["n1", "n2"]),
        (["1/img"], ["n1", "n2"]),
        (["worker", "5"], ["n1", "n2"]),
    ],
)
def test_origins_are_named_by_key_image_or_file(words: Sequence[str], hosts: list[str]) -> None:
    assert [r.host for r in cache.chosen(rows(), words, None)] == hosts


@pytest.mark.parametrize("word", ["nothing", "", "012", "head", "6", "*", "1/"])
def test_what_names_no_complete_origin_is_refused(word: str) -> None:
    with pytest.raises(cache.NoSuchOrigin):
        cache.chosen(rows(), [word], None)
    with pytest.raises(cache.NoSuchOrigin):
        cache.chosen(rows(), ["worker"], 200)


def test_orders() -> None:
    [row] = cache.chosen(rows(), [KEY], 100)
    assert cache.orders("pin", [row], ROOT) == [("n1", Pin(100, KEY, True))]
    assert cache.orders("unpin", [row], ROOT) == [("n1", Pin(100, KEY, False))]
    assert cache.orders("evict", [row], ROOT) == [("n1", Evict(100, KEY))]
    assert cache.orders("verify", [row], ROOT) == [("n1", Scrub(100, KEY, ROOT))]


def test_images_are_named_by_id_or_name() -> None:
    several = [*IMAGES, image(7, "twin"), image(8, "twin"), image(9, "5")]
    assert cache.image(several, "worker").id == 5
    assert cache.image(several, "5").id == 5, "an id goes before a name"
    for word, why in (("none", "there is none"), ("twin", "give the id")):
        with pytest.raises(cache.NoSuchImage, match=why):
            cache.image(several, word)
    with pytest.raises(cache.NoSuchImage, match="persistent"):
        cache.image([image(1, "p", persistent=True)], "p")
    with pytest.raises(cache.NoSuchImage, match="not ready"):
        cache.image([image(1, "p", state=4)], "p")


def test_every_node_and_datastore_is_filled() -> None:
    jobs = cache.fills(["n1", "n2"], [100, 200], IMAGES[:1], "/srv/ds", 0, True)
    assert jobs[0] == ("n1", Warm(100, Image(1, "/srv/ds/1/img"), 0, True)), "the path is the node's"
    assert [(host, order.sds) for host, order in jobs] == [("n1", 100), ("n2", 100), ("n1", 200), ("n2", 200)]
