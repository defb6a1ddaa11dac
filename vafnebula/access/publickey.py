"""What is accepted as a public key: one line of a kind that is safe today, and whole."""

from __future__ import annotations

import base64
import binascii
import re

from vafnebula import errors, process

KINDS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
LEAST_RSA = 2048
"""Bits: what the Grid's CAs demand of users' certificates."""

_LINE = re.compile(r"([a-z0-9@.-]{1,40}) ([A-Za-z0-9+/]{40,4000}={0,2})(?: [^\r\n]*)?\n?")


def parse(text: str) -> str:
    """`KIND BASE64` of a public key's line, without options and comment.  Raises BadArgument."""
    found = _LINE.fullmatch(text)
    if not found or found[1] not in KINDS:
        raise errors.BadArgument(what="public key", value=text[:30], why=f"it is not one line of {', '.join(KINDS)}")
    try:
        parts = _parts(base64.b64decode(found[2], validate=True))
    except (ValueError, binascii.Error) as e:
        raise errors.BadArgument(what="public key", value=text[:30], why=str(e)) from e
    if parts[:1] != [found[1].encode()]:
        raise errors.BadArgument(what="public key", value=text[:30], why="its content is of another kind")
    if found[1] == "ssh-rsa" and (len(parts) != 3 or int.from_bytes(parts[2], "big").bit_length() < LEAST_RSA):
        raise errors.BadArgument(what="public key", value=text[:30], why=f"RSA needs at least {LEAST_RSA} bits")
    return f"{found[1]} {found[2]}"


def of_certificate(der: bytes) -> str:
    """The key of an X.509 certificate, as ssh writes it.  Raises CommandFailed, BadArgument."""
    pem = process.run(["openssl", "x509", "-inform", "DER", "-pubkey", "-noout"], timeout=10, input=der).out
    line = process.run(["ssh-keygen", "-i", "-m", "PKCS8", "-f", "/dev/stdin"], timeout=10, input=pem).out
    return parse(line.decode("ascii"))


def _parts(blob: bytes) -> list[bytes]:
    """The length-prefixed strings of an ssh key (RFC 4253, 6.6).  Raises ValueError."""
    parts = []
    while blob:
        size = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + size:
            raise ValueError("it is cut short")
        parts.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    return parts
