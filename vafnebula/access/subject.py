"""A certificate's subject as one unambiguous text: RFC 4514, as `openssl x509 -subject -nameopt RFC2253` prints it.

The Grid's own /C=IT/CN=... is not used: a name that holds `/CN=root` would read as two.
"""

from __future__ import annotations

from collections.abc import Iterable

from vafnebula import errors

SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "emailAddress": "emailAddress",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "serialNumber": "serialNumber",
    "stateOrProvinceName": "ST",
    "streetAddress": "street",
    "userId": "UID",
}


def text(subject: Iterable[Iterable[tuple[str, str]]]) -> str:
    """The subject of `ssl.SSLSocket.getpeercert()`, most specific part first.  Raises BadArgument."""
    return ",".join("+".join(_pair(*pair) for pair in name) for name in reversed(list(subject)))


def _pair(kind: str, value: str) -> str:
    if kind not in SHORT:
        raise errors.BadArgument(what="certificate subject", value=kind, why="this part of a name is not known here")
    escaped = "".join(f"\\{c}" if c in ',+"\\<>;' else f"\\{ord(c):02X}" if ord(c) < 32 else c for c in value)
    if escaped[:1] in ("#", " "):
        escaped = "\\" + escaped
    if escaped.endswith(" ") and len(value) > 1:
        escaped = escaped[:-1] + "\\ "
    return f"{SHORT[kind]}={escaped}"
