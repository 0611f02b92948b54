"""Certificates for trying mutual TLS: an authority of one's own, and a pair of files for each service."""

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services.runtime.channels import Tls

AUTHORITY_DAYS = 3650
EARLIER = datetime.timedelta(minutes=5)
"""Clocks differ: a certificate is good a little before it is made."""
LOCAL = (x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.IPAddress(ipaddress.ip_address("::1")))


def files(folder: Path, name: str) -> Tls:
    """Where `name` finds its own."""
    return Tls(str(folder / f"{name}.pem"), str(folder / f"{name}.key"), str(folder / "ca.pem"))


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs for a development mesh. Whoever has `ca.key` can be any service: a company's own authority takes its place."""

    folder: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def issue(self, name: str, hosts: Sequence[str], days: float) -> Tls:
        """Writes `NAME.pem` and `NAME.key`, good for `name`, `hosts` and this machine, as a server and as a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = dict.fromkeys((name, f"tollway-{name}", "localhost", *hosts))
        made = (
            _begun(name, self.certificate.subject, key, days)
            .add_extension(x509.SubjectAlternativeName([*map(x509.DNSName, names), *LOCAL]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        at = files(self.folder, name)
        _written(Path(at.key), _pem(key), 0o600)
        _written(Path(at.certificate), made.public_bytes(serialization.Encoding.PEM), 0o644)
        return at

    def keep(self, name: str, days: float) -> None:
        """Issues what is missing or has used up two thirds of its time."""
        file = Path(files(self.folder, name).certificate)
        if file.exists():
            ends = x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
            if ends - datetime.datetime.now(datetime.UTC) > datetime.timedelta(days=days / 3):
                return
        self.issue(name, (), days)


def authority(folder: Path) -> Authority:
    """The authority in `folder`; made when there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "ca.key").exists():
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return Authority(folder, x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes()), key)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tollway development authority")])
    made = (
        _begun("Tollway development authority", subject, key, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    _written(folder / "ca.key", _pem(key), 0o600)
    _written(folder / "ca.pem", made.public_bytes(serialization.Encoding.PEM), 0o644)
    return Authority(folder, made, key)


def _begun(name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: float) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _written(file: Path, content: bytes, mode: int) -> None:
    """Whole or not at all: a service may read it at any moment."""
    fresh = file.with_suffix(file.suffix + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
        out.write(content)
    fresh.rename(file)
