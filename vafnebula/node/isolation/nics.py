"""From the VM's description to the NICs that shall be filtered: everything validated, everything a number or a name.

    VAF_MAC_CLASS        which MACs form the cluster; default: those with the NIC's first five octets
    VAF_EXTRA_MACS       services outside the class that the cluster may talk to
    VAF_EXTRA_SRC_MACS   additional MACs that the guest itself may use (macvlan, nested VMs, VRRP)
    VAF_NIC_ROLE         guest (default) or gateway: may send router advertisements and answer DHCP

They are read from TEMPLATE/NIC only, where OpenNebula puts what the admin set on virtual network, address range or
NIC.  USER_TEMPLATE is never read: a guest can write there through OneGate.
"""

from __future__ import annotations

from vafnebula import errors
from vafnebula.node.isolation import mac
from vafnebula.node.isolation.mac import Prefix
from vafnebula.node.isolation.record import record
from vafnebula.node.isolation.settings import Settings, is_name
from vafnebula.node.isolation.vmxml import Element, VmXml

DRIVERS = ("bridge", "fw", "802.1Q", "vxlan", "dummy")
ATTRIBUTES = ("VAF_MAC_CLASS", "VAF_EXTRA_MACS", "VAF_EXTRA_SRC_MACS", "VAF_NIC_ROLE")
DEFAULT_CLASS_BITS = 40
MAX_ID = 2**31 - 1


@record
class Nic:
    """One NIC to filter.  Sorted tuples of Prefix; `ipv4`, `ipv6` are numbers, empty where not checked."""

    vm: int
    nic: int
    mac: int
    bridge: str
    sources: tuple[Prefix, ...]
    peers: tuple[Prefix, ...]
    ipv4: tuple[int, ...] = ()
    ipv6: tuple[int, ...] = ()
    gateway: bool = False

    @property
    def tap(self) -> str:
        return tap(self.vm, self.nic)


@record
class Selection:
    """What one call of a hook is about: `nics` to load, `taps` of all NICs concerned, `notes` for the admin."""

    vm: int
    nics: tuple[Nic, ...]
    taps: tuple[str, ...]
    notes: tuple[str, ...]


def tap(vm: int, nic: int) -> str:
    """The interface that OpenNebula makes for NIC `nic` of VM `vm`."""
    return f"one-{vm}-{nic}"


def select(
    vm: VmXml, settings: Settings, *, driver: str | None, allowed: tuple[Prefix, ...] | None, clean: bool = False
) -> Selection:
    """The NICs of `vm` that belong to network driver `driver` (None: to any that has taps on a Linux bridge).

    Of a VM to which a NIC or alias is being attached or detached, only that NIC, or the alias's parent.  `allowed` are
    the only prefixes that VAF_* may name, None for no limit.  With `clean` nothing but ids is needed and read, so that
    what `pre` refused can still be cleaned; the parent of a detached alias is loaded without it.
    Raises BadArgument.
    """
    number = _id("VM id", vm.vm)
    attached = [e for e in vm.elements if e.get("ATTACH").upper() == "YES"]
    notes = [f"{n} in USER_TEMPLATE is ignored: a guest can write there" for n in vm.user_names if n in ATTRIBUTES]
    nics, taps = [], []
    for element in vm.elements:
        mine = element.get("VN_MAD") == driver if driver else element.get("VN_MAD") in DRIVERS
        if not mine or element.kind == "NIC_ALIAS":
            continue
        nic = _id(f"NIC_ID of VM {number}", element.get("NIC_ID"))
        aliases = [e for e in vm.elements if e.kind == "NIC_ALIAS" and e.get("PARENT_ID") == str(nic)]
        changing = [e for e in aliases if e in attached]
        if attached and element not in attached and not changing:
            continue
        if element.kind == "PCI":
            notes.append(f"PCI NIC {nic} has no tap and is not filtered")
            continue
        name = tap(number, nic)
        if clean and not changing:
            taps.append(name)
            continue
        keep = [a for a in aliases if not (clean and a in changing)]
        nics.append(_nic(number, nic, element, keep, settings, allowed, notes))
    repeated = {t for t in taps if taps.count(t) > 1} | {n.tap for n in nics if [m.tap for m in nics].count(n.tap) > 1}
    if repeated:
        raise errors.BadArgument(what=f"NIC_ID of VM {number}", value=min(repeated), why="given to two NICs")
    return Selection(number, tuple(nics), tuple(taps), tuple(notes))


def _nic(
    vm: int,
    nic: int,
    element: Element,
    aliases: list[Element],
    settings: Settings,
    allowed: tuple[Prefix, ...] | None,
    notes: list[str],
) -> Nic:
    where = f"of NIC {nic}"
    name = tap(vm, nic)
    if element.get("TARGET") not in ("", name) or not is_name(name):
        why = f"must be {name}" if is_name(name) else "longer than 15 characters"
        raise errors.BadArgument(what=f"TARGET {where}", value=element.get("TARGET") or name, why=why)
    for trunk in ("VLAN_TAGGED_ID", "CVLANS"):
        if element.get(trunk):
            why = "trunked VLANs cannot be filtered; give each VLAN a NIC of its own"
            raise errors.BadArgument(what=f"{trunk} {where}", value=element.get(trunk), why=why)
    bridge = element.get("BRIDGE")
    if not is_name(bridge):
        raise errors.BadArgument(what=f"BRIDGE {where}", value=bridge, why="not the name of a network interface")
    own = mac.parse(f"MAC {where}", element.get("MAC"))

    def prefixes(attribute: str) -> tuple[Prefix, ...]:
        what = f"{attribute} {where}"
        out = mac.parse_prefixes(what, element.get(attribute), settings.min_prefix, settings.max_entries)
        for prefix in out:
            if allowed is not None and not any(a.covers(prefix) for a in allowed):
                raise errors.BadArgument(what=what, value=str(prefix), why=f"not within {settings.allowed_macs}")
        return out

    classes = prefixes("VAF_MAC_CLASS")
    if not classes:
        classes = (Prefix(own & ~0xFF, DEFAULT_CLASS_BITS),)
    elif not any(own in c for c in classes):
        notes.append(f"NIC {nic} is outside its own VAF_MAC_CLASS: others of the cluster will not hear it")
    more = prefixes("VAF_EXTRA_SRC_MACS")
    role = element.get("VAF_NIC_ROLE").lower() or "guest"
    if role not in ("guest", "gateway"):
        raise errors.BadArgument(what=f"VAF_NIC_ROLE {where}", value=role, why="must be guest or gateway")
    if more and element.get("FILTER_MAC_SPOOFING").upper() == "YES":
        notes.append(f"FILTER_MAC_SPOOFING=YES of NIC {nic} makes OpenNebula drop its VAF_EXTRA_SRC_MACS")
    strict = element.get("FILTER_IP_SPOOFING").upper() == "YES"
    check = role == "guest" and (settings.addresses == "strict" or (settings.addresses == "auto" and strict))
    ipv4, ipv6 = _addresses(where, own, [element, *aliases]) if check else ((), ())
    return Nic(
        vm=vm,
        nic=nic,
        mac=own,
        bridge=bridge,
        sources=mac.merged((Prefix(own), *more)),
        peers=mac.merged((*classes, *prefixes("VAF_EXTRA_MACS"), *more)),
        ipv4=ipv4,
        ipv6=ipv6,
        gateway=role == "gateway",
    )


def _addresses(where: str, own: int, elements: list[Element]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """All addresses OpenNebula gave to a NIC and its aliases.  Empty: none given, so nothing to check against."""
    ipv4 = {mac.parse_ipv4(f"IP {where}", e.get("IP")) for e in elements if e.get("IP")}
    ipv6 = {
        mac.parse_ipv6(f"{name} {where}", e.get(name))
        for e in elements
        for name in ("IP6", "IP6_GLOBAL", "IP6_LINK", "IP6_ULA")
        if e.get(name)
    }
    if ipv6:
        ipv6.add(mac.link_local(own))
    return tuple(sorted(ipv4)), tuple(sorted(ipv6))


def _id(what: str, text: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_ID):
        raise errors.BadArgument(what=what, value=text, why="not a number")
    return int(text)
