"""Ed25519 signatures (RFC 8032) over a certificate, by the package `cryptography`: the extra `sign`.

Keys are PEM files as OpenSSL writes them: `openssl genpkey -algorithm ed25519 -out key.pem` makes a private one,
`openssl pkey -in key.pem -pubout -out pub.pem` its public half.
"""

import base64
import binascii
import hashlib
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError

ALGORITHM = "Ed25519"
_MAKE = "openssl genpkey -algorithm ed25519 -out key.pem"
_DER_PREFIX = bytes.fromhex("302a300506032b6570032100")
"""SubjectPublicKeyInfo up to the 32 bytes of the key (RFC 8410, section 4)."""


def sign(message: bytes, key: Path) -> dict[str, str]:
    """{algorithm, public_key, value} of a message; key and value in base64, the public key as its 32 raw bytes.

    Args:
        key: PEM file of an Ed25519 private key, PKCS8, not encrypted.

    Raises InputError for any other file, or without `cryptography`.
    """
    private = load_private_key(key)
    return {
        "algorithm": ALGORITHM,
        "public_key": _base64(private.public_key().public_bytes_raw()),
        "value": _base64(private.sign(message)),
    }


def is_signed(message: bytes, *, algorithm: str, public_key: str, value: str) -> bool:
    """Whether a signature is that of the message by the key that comes with it; what is malformed is none.

    Raises InputError without `cryptography`.
    """
    exceptions, ed25519 = _library()
    if algorithm != ALGORITHM:
        return False
    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(_bytes(public_key))
        key.verify(_bytes(value), message)
    except (exceptions.InvalidSignature, ValueError):
        return False
    return True


def load_private_key(path: Path) -> Any:
    """An Ed25519 private key; InputError, in one line, for any other file."""
    _, ed25519 = _library()
    key = _load(path, "load_pem_private_key", {"password": None}, f"make a key with {_MAKE}")
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise InputError(f"{path}: a private key of another kind than {ALGORITHM}; make one with {_MAKE}")
    return key


def load_public_key(path: Path) -> str:
    """The raw bytes of an Ed25519 public key in base64; InputError, in one line, for any other file."""
    _, ed25519 = _library()
    key = _load(path, "load_pem_public_key", {}, "openssl pkey -in key.pem -pubout takes it out of a private one")
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise InputError(f"{path}: a public key of another kind than {ALGORITHM}; name that of the signer")
    return _base64(key.public_bytes_raw())


def fingerprint(public_key: str) -> str:
    """SHA-256 of a key's DER form, as `openssl pkey -pubin -in pub.pem -outform DER | sha256sum` prints it.

    Args:
        public_key: raw bytes in base64.

    Raises ValueError for text that is no such key.
    """
    raw = _bytes(public_key)
    if len(raw) != 32:
        raise ValueError(f"a public key of {len(raw)} bytes")
    return hashlib.sha256(_DER_PREFIX + raw).hexdigest()


def _load(path: Path, loader: str, options: dict[str, Any], mend: str) -> Any:
    """A key by a function of cryptography's `serialization`."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    what = loader.removeprefix("load_pem_").replace("_", " ")
    try:
        return getattr(serialization, loader)(path.read_bytes(), **options)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a PEM file") from error
    except TypeError as error:
        raise InputError(f"{path}: is encrypted; openssl pkey -in {path.name} -out FILE decrypts it") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path}: no PEM file of a {what}; {mend}") from error


def _library() -> tuple[Any, Any]:
    try:
        from cryptography import exceptions
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise InputError("signatures need the package cryptography; pip install cryptography") from error
    return exceptions, ed25519


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _bytes(text: str) -> bytes:
    """What base64 stands for; ValueError for any spelling but the one that `_base64` has for it."""
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
    if _base64(raw) != text:
        raise ValueError("base64 in another spelling")
    return raw
