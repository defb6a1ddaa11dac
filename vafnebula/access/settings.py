"""/etc/vafnebula/access.conf: `key = value` lines."""

from __future__ import annotations

from dataclasses import dataclass

from vafnebula import keyvalue

PATH = "/etc/vafnebula/access.conf"


@dataclass(frozen=True)
class Settings:
    """`certificate` and `key` are the server's own; `ca` a PEM file or a hashed directory (as
    /etc/grid-security/certificates) of those who sign users' certificates, and `crl` a PEM file of their revocation
    lists, `directory` when they are in the `ca` directory, or `none`, said aloud.  Keys last `hours` at most, and no
    longer than the certificate; an account has at most `most` keys.
    """

    certificate: str
    key: str
    ca: str
    crl: str
    listen: str = "0.0.0.0"  # noqa: S104  the service is meant for everybody who has a certificate
    port: int = 8443
    hours: int = 12
    most: int = 5
    accounts: str = "/etc/vafnebula/accounts"
    registry: str = "/var/lib/vafnebula-access/keys"

    def __post_init__(self) -> None:
        if not (0 < self.port < 65536 and 0 < self.hours <= 24 * 7 and 0 < self.most <= 100):
            raise ValueError("port is 1 to 65535, hours 1 to 168, most 1 to 100")


def load(path: str = PATH) -> Settings:
    """The settings in `path`.  Raises Unusable."""
    return keyvalue.load(path, Settings)
