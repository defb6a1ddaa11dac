"""A test CA that lives in a directory, made and run by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

_CONFIG = """
[ca]
default_ca = it
[it]
dir = {home}
database = {home}/index
serial = {home}/serial
crlnumber = {home}/crlnumber
new_certs_dir = {home}
certificate = {home}/ca.pem
private_key = {home}/ca.key
default_md = sha256
default_crl_days = 1
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
organizationName = optional
domainComponent = optional
[req]
distinguished_name = name
[name]
"""


class Ca:
    """`directory` holds ca.pem, crl.pem, and NAME.pem and NAME.key of whom it certified."""

    def __init__(self, directory: Path, name: str = "Test CA") -> None:
        self.home = directory
        directory.mkdir()
        (directory / "config").write_text(_CONFIG.format(home=directory))
        (directory / "index").touch()
        for number in ("serial", "crlnumber"):
            (directory / number).write_text("1000\n")
        self._openssl(
            "req", "-x509", *self._key("ca"), "-subj", f"/O=Test/CN={name}", "-out", "ca.pem",
            "-addext", "basicConstraints=critical,CA:TRUE",
        )  # fmt: skip
        self.lists()

    @property
    def certificate(self) -> Path:
        return self.home / "ca.pem"

    @property
    def crl(self) -> Path:
        return self.home / "crl.pem"

    def issue(
        self, name: str, subject: str, *, end: str = "20491231235959Z", san: str = "", key: str = "ec"
    ) -> tuple[str, str]:
        """Certificate and key of `subject` (in openssl's slash form); `end` may be past."""
        extension = ["-addext", f"subjectAltName={san}"] if san else []
        self._openssl("req", *self._key(name, key), "-subj", subject, "-out", f"{name}.csr", *extension)
        dates = ["-startdate", "20200101000000Z", "-enddate", end]
        self._openssl("ca", "-batch", "-preserveDN", "-notext", "-in", f"{name}.csr", "-out", f"{name}.pem", *dates)
        return str(self.home / f"{name}.pem"), str(self.home / f"{name}.key")

    def revoke(self, name: str) -> None:
        self._openssl("ca", "-revoke", f"{name}.pem")
        self.lists()

    def lists(self, days: str = "1") -> None:
        """A new revocation list; with `days` "0" one that is outdated at once."""
        life = ["-crlsec", "1"] if days == "0" else ["-crldays", days]
        self._openssl("ca", "-gencrl", "-out", "crl.pem", *life)

    def _key(self, name: str, kind: str = "ec") -> list[str]:
        algorithm = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else ["rsa:2048"]
        return ["-newkey", *algorithm, "-nodes", "-keyout", f"{name}.key"]

    def _openssl(self, command: str, *words: str) -> None:
        subprocess.run(
            ["openssl", command, "-config", "config", *words], cwd=self.home, check=True, capture_output=True
        )
