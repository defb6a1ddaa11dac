from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula import errors
from vafnebula.node.isolation import ebtables, mac, nft, nics, plan
from vafnebula.node.isolation.nics import Selection
from vafnebula.node.isolation.settings import Settings
from vafnebula.node.isolation.vmxml import Element, VmXml

NIC = {
    "NIC_ID": "0",
    "MAC": "02:00:ac:10:01:05",
    "IP": "172.16.1.5",
    "BRIDGE": "br0",
    "TARGET": "one-7-0",
    "VN_MAD": "bridge",
}


def vm(*elements: dict[str, str], kind: str = "NIC", ident: str = "7", user: tuple[str, ...] = ()) -> VmXml:
    return VmXml(ident, tuple(Element(e.get("KIND", kind), e) for e in elements), user)


def select(*elements: dict[str, str], site: Settings | None = None, **options: object) -> Selection:
    given_vm = options.pop("of", None) or vm(*elements)
    arguments = {"driver": "bridge", "allowed": None, **options}
    return nics.select(given_vm, site or Settings(), **arguments)  # type: ignore[arg-type]


def test_the_default_class_is_the_first_five_octets() -> None:
    (nic,) = select(NIC).nics
    assert [str(p) for p in nic.peers] == ["02:00:ac:10:01:00/40"]
    assert [str(s) for s in nic.sources] == ["02:00:ac:10:01:05"]
    assert (nic.tap, nic.ipv4, nic.gateway) == ("one-7-0", (), False)


def test_the_admins_words_are_understood() -> None:
    words = {
        "VAF_MAC_CLASS": "02:00:ac:10:00:00/ff:ff:ff:ff:00:00",
        "VAF_EXTRA_MACS": "52:54:00:00:00:01,52:54:00:00:00:02",
        "VAF_EXTRA_SRC_MACS": "00:00:5E:00:01:07",
        "VAF_NIC_ROLE": "Gateway",
    }
    (nic,) = select({**NIC, **words, "FILTER_IP_SPOOFING": "YES"}).nics
    assert " ".join(map(str, nic.peers)) == "00:00:5e:00:01:07 02:00:ac:10:00:00/32 52:54:00:00:00:01 52:54:00:00:00:02"
    assert " ".join(map(str, nic.sources)) == "00:00:5e:00:01:07 02:00:ac:10:01:05"
    assert nic.gateway
    assert nic.ipv4 == (), "a gateway's addresses are its own affair"


@pytest.mark.parametrize(
    ("attribute", "value", "why"),
    [
        ("TARGET", "one-8-0", "must be one-7-0"),
        ("TARGET", 'one-7-0" drop', "must be one-7-0"),
        ("TARGET", "vnet0", "must be one-7-0"),
        ("NIC_ID", "0x1", "not a number"),
        ("NIC_ID", "", "not a number"),
        ("MAC", "", "not a MAC"),
        ("BRIDGE", "", "not the name of a network interface"),
        ("BRIDGE", "br0 br1", "not the name"),
        ("BRIDGE", "../br0", "not the name"),
        ("BRIDGE", "a-very-long-bridge", "not the name"),
        ("VAF_MAC_CLASS", "02:00:00:00:00:00/8", "wider than the allowed /24"),
        ("VAF_EXTRA_MACS", "gateway", "not a MAC"),
        ("VAF_EXTRA_SRC_MACS", "ff:ff:ff:ff:ff:ff", "not a unicast"),
        ("VAF_NIC_ROLE", "router", "must be guest or gateway"),
        ("VLAN_TAGGED_ID", "5,6", "give each VLAN a NIC of its own"),
        ("CVLANS", "5", "give each VLAN a NIC of its own"),
    ],
)
def test_what_cannot_be_filtered_is_refused_by_name(attribute: str, value: str, why: str) -> None:
    with pytest.raises(errors.BadArgument, match=f"^{attribute} of (NIC 0|VM 7) .*{why}"):
        select({**NIC, attribute: value})


@pytest.mark.parametrize("ident", ["", "x", "-1", "7 8", "99999999999", "\uff17"])
def test_a_vm_without_a_number_is_refused(ident: str) -> None:
    with pytest.raises(errors.BadArgument, match="VM id"):
        select(of=vm(NIC, ident=ident))


def test_a_tap_name_that_the_kernel_would_cut_is_refused() -> None:
    with pytest.raises(errors.BadArgument, match="longer than 15"):
        select(of=vm({**NIC, "NIC_ID": "10", "TARGET": "one-2147483647-10"}, ident="2147483647"))


def test_one_nic_id_twice_is_refused() -> None:
    with pytest.raises(errors.BadArgument, match="given to two NICs"):
        select(NIC, NIC)


def test_addresses_are_checked_when_they_are_authoritative() -> None:
    v6 = {**NIC, "IP6_LINK": "fe80::1", "IP6_ULA": "fd00::5"}
    alias = {"KIND": "NIC_ALIAS", "PARENT_ID": "0", "IP": "172.16.1.6", "VN_MAD": "fw"}
    strict = {**v6, "FILTER_IP_SPOOFING": "yes"}
    assert select(v6, alias).nics[0].ipv4 == ()
    (nic,) = select(strict, alias).nics
    assert [mac.ipv4_text(a) for a in nic.ipv4] == ["172.16.1.5", "172.16.1.6"]
    assert mac.link_local(nic.mac) in nic.ipv6
    assert len(nic.ipv6) == 3
    assert select(strict, site=Settings(addresses="off")).nics[0].ipv4 == ()
    assert select(v6, site=Settings(addresses="strict")).nics[0].ipv4 != ()


def test_only_what_is_attached_is_touched() -> None:
    other = {**NIC, "NIC_ID": "1", "TARGET": "one-7-1"}
    assert [n.tap for n in select(NIC, {**other, "ATTACH": "YES"}).nics] == ["one-7-1"]
    assert select(NIC, {**other, "ATTACH": "YES"}, clean=True).taps == ("one-7-1",)
    assert select(NIC, other, clean=True).taps == ("one-7-0", "one-7-1")
    assert select(NIC, {**other, "ATTACH": "YES", "VN_MAD": "fw"}) == Selection(7, (), (), ())


def test_clean_needs_nothing_but_ids() -> None:
    broken = {"NIC_ID": "3", "VN_MAD": "bridge", "MAC": "nonsense", "TARGET": "x", "VLAN_TAGGED_ID": "1"}
    assert select(broken, clean=True).taps == ("one-7-3",)


def test_detaching_an_alias_loads_its_parent_without_it() -> None:
    parent = {**NIC, "FILTER_IP_SPOOFING": "YES"}
    alias = {"KIND": "NIC_ALIAS", "PARENT_ID": "0", "IP": "172.16.1.6", "ATTACH": "YES"}
    attached, detached = select(parent, alias), select(parent, alias, clean=True)
    assert [len(n.ipv4) for n in attached.nics + detached.nics] == [2, 1]
    assert detached.taps == ()


def test_the_admin_is_told_what_is_odd() -> None:
    odd = {
        **NIC,
        "VAF_MAC_CLASS": "02:00:ac:10:02:00/40",
        "VAF_EXTRA_SRC_MACS": "00:00:5e:00:01:07",
        "FILTER_MAC_SPOOFING": "YES",
    }
    pci = {"KIND": "PCI", "NIC_ID": "4", "VN_MAD": "bridge"}
    notes = select(of=vm(odd, pci, user=("VAF_EXTRA_MACS", "VAF_COLOUR"))).notes
    assert [n.split(" ")[0] for n in notes] == ["VAF_EXTRA_MACS", "NIC", "FILTER_MAC_SPOOFING=YES", "PCI"]


def test_the_hosts_file_limits_all_three_lists() -> None:
    allowed = mac.parse_prefixes("x", "02:00:00:00:00:00/16 52:54:00:00:00:00/40", 1, 9)
    select({**NIC, "VAF_MAC_CLASS": "02:00:ac:10:01:00/40", "VAF_EXTRA_MACS": "52:54:00:00:00:01"}, allowed=allowed)
    for attribute in ("VAF_MAC_CLASS", "VAF_EXTRA_MACS", "VAF_EXTRA_SRC_MACS"):
        with pytest.raises(errors.BadArgument, match=r"not within /etc/vafnebula/allowed-macs"):
            select({**NIC, attribute: "52:54:00:00:00:00/32"}, allowed=allowed)


# What may stand in a program: our words, names of interfaces, numbers in canonical form.
NFT_LINE = re.compile(
    r"(add|flush|delete) (table|map|set|chain|rule|element) bridge vafnebula( [\w.-]+)?"
    r'( (\{[\w :.,";-]*\}|[\w.@&<>=!,:/-]+|"[\w .-]+"|\{ "one-\d+-\d+" : jump one-\d+-\d+-[tr]x \}|\{[^{}"]*\}))*'
)
EBTABLES_LINE = re.compile(r"\*(nat|filter)|COMMIT|:[\w-]+ RETURN|-A [\w-]+( [\w.:/!-]+)+|-I [A-Z]+ -j vaf-\w+")
HOSTILE = st.text(alphabet="\"'\\;{}()$`|&<>#\n\r\t *@!-_:/., 0123456789abcdefone\u00e9\u0661", max_size=20)


@given(
    st.dictionaries(
        st.sampled_from([*NIC, *nics.ATTRIBUTES, "FILTER_IP_SPOOFING", "IP6", "ATTACH"]), HOSTILE, max_size=3
    ),
    st.sampled_from(["nft", "ebtables"]),
)
def test_no_text_from_outside_gets_into_a_program(changes: dict[str, str], backend: str) -> None:
    try:
        chosen = select({**NIC, **changes}, site=Settings(addresses="strict"))
    except errors.Error as e:
        assert str(e).isprintable()
        return
    plans = tuple(plan.make(n, Settings()) for n in chosen.nics)
    if backend == "nft":
        program, grammar = nft.program(plans, chosen.taps), NFT_LINE
    else:
        program, grammar = ebtables.transition({}, ebtables.wanted({}, plans, chosen.taps)), EBTABLES_LINE
    for line in program.splitlines():
        assert grammar.fullmatch(line), line
    own = set(re.findall(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", program))
    assert all(m == m.lower() for m in own)
