"""Ed25519 signatures against RFC 8032's own example and against OpenSSL, and every key that is none."""

import base64
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519

from edgeguard.errors import InputError
from edgeguard.evaluation.signature import fingerprint, is_signed, load_private_key, load_public_key, sign

# RFC 8032, section 7.1, test 2.
SECRET = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
MESSAGE = b"\x72"
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def pem(der: bytes, what: str) -> str:
    return f"-----BEGIN {what}-----\n{text(der)}\n-----END {what}-----\n"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The secret key of RFC 8032 as PKCS8 (RFC 8410, section 7), spelled by hand."""
    path = tmp_path / "key.pem"
    path.write_text(pem(bytes.fromhex("302e020100300506032b657004220420") + SECRET, "PRIVATE KEY"))
    return path


@pytest.fixture
def openssl(tmp_path: Path):
    """OpenSSL in the folder of the test."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here")

    def run(*arguments: str) -> bytes:
        return subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True).stdout

    return run


def test_the_example_of_the_standard(key: Path) -> None:
    made = sign(MESSAGE, key)
    assert made == {"algorithm": "Ed25519", "public_key": text(PUBLIC), "value": text(SIGNATURE)}
    assert is_signed(MESSAGE, **made)


@pytest.mark.parametrize(
    ("message", "changed"),
    [
        (b"\x73", {}),
        (MESSAGE, {"value": text(SIGNATURE[:-1] + b"\x01")}),
        (MESSAGE, {"value": text(SIGNATURE[:-1])}),
        (MESSAGE, {"value": "none"}),
        (MESSAGE, {"value": ""}),
        (MESSAGE, {"value": text(SIGNATURE)[:-3] + "B=="}),  # other padding bits, the same bytes
        (MESSAGE, {"value": text(SIGNATURE) + "\n"}),
        (MESSAGE, {"public_key": text(PUBLIC[:-1] + b"\x0d")}),
        (MESSAGE, {"public_key": text(PUBLIC[:-1])}),
        (MESSAGE, {"public_key": "é"}),
        (MESSAGE, {"algorithm": "none"}),
        (MESSAGE, {"algorithm": "Ed448"}),
    ],
)
def test_another_message_key_or_value_is_not_signed(key: Path, message: bytes, changed: dict[str, str]) -> None:
    assert not is_signed(message, **{**sign(MESSAGE, key), **changed})


def test_keys_of_openssl(openssl, tmp_path: Path) -> None:
    openssl("genpkey", "-algorithm", "ed25519", "-out", "key.pem")
    openssl("pkey", "-in", "key.pem", "-pubout", "-out", "pub.pem")
    made = sign(b"a certificate", tmp_path / "key.pem")
    assert made["public_key"] == load_public_key(tmp_path / "pub.pem")
    der = openssl("pkey", "-pubin", "-in", "pub.pem", "-outform", "DER")
    assert fingerprint(made["public_key"]) == hashlib.sha256(der).hexdigest()
    (tmp_path / "message").write_bytes(b"a certificate")
    (tmp_path / "value").write_bytes(base64.b64decode(made["value"]))
    verify = ("pkeyutl", "-verify", "-pubin", "-inkey", "pub.pem", "-rawin", "-in", "message", "-sigfile", "value")
    assert b"Verified Successfully" in openssl(*verify)


def test_openssl_reads_keys_of_cryptography(openssl, tmp_path: Path) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    pkcs8 = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(private.private_bytes(*pkcs8))
    openssl("pkey", "-in", "key.pem", "-pubout", "-out", "pub.pem")
    assert load_public_key(tmp_path / "pub.pem") == sign(b"", tmp_path / "key.pem")["public_key"]


def write_keys(folder: Path) -> None:
    """Files that are no Ed25519 keys, by what they are."""
    plain = serialization.NoEncryption()
    private, public = serialization.PrivateFormat.PKCS8, serialization.PublicFormat.SubjectPublicKeyInfo
    ours = ed25519.Ed25519PrivateKey.from_private_bytes(SECRET)
    locked = ours.private_bytes(serialization.Encoding.PEM, private, serialization.BestAvailableEncryption(b"secret"))
    (folder / "encrypted.pem").write_bytes(locked)
    (folder / "public.pem").write_bytes(ours.public_key().public_bytes(serialization.Encoding.PEM, public))
    for name, key in (("x25519", x25519.X25519PrivateKey.generate()), ("ec", ec.generate_private_key(ec.SECP256R1()))):
        (folder / f"{name}.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, private, plain))
        (folder / f"{name}.pub").write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, public))
    (folder / "garbage.pem").write_bytes(bytes(range(256)))
    (folder / "cut.pem").write_bytes((folder / "public.pem").read_bytes()[:60])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("encrypted.pem", "is encrypted; openssl pkey"),
        ("public.pem", "no PEM file of a private key"),
        ("x25519.pem", "a private key of another kind than Ed25519"),
        ("ec.pem", "a private key of another kind"),
        ("garbage.pem", "no PEM file of a private key"),
        ("cut.pem", "no PEM file"),
        ("none.pem", "cannot be read"),
        (".", "cannot be read"),
    ],
)
def test_no_private_key(tmp_path: Path, name: str, reason: str) -> None:
    write_keys(tmp_path)
    with pytest.raises(InputError, match=reason) as refused:
        load_private_key(tmp_path / name)
    assert "\n" not in str(refused.value) and str(tmp_path) in str(refused.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("encrypted.pem", "no PEM file of a public key; openssl pkey -in key.pem -pubout"),
        ("x25519.pub", "a public key of another kind"),
        ("ec.pub", "a public key of another kind"),
        ("garbage.pem", "no PEM file of a public key"),
        ("none.pem", "cannot be read"),
    ],
)
def test_no_public_key(tmp_path: Path, name: str, reason: str) -> None:
    write_keys(tmp_path)
    with pytest.raises(InputError, match=reason):
        load_public_key(tmp_path / name)
    assert load_public_key(tmp_path / "public.pem") == text(PUBLIC)


@pytest.mark.parametrize("key", ["", "AAAA", "?", text(PUBLIC + b"\0")])
def test_no_fingerprint_of_what_is_no_key(key: str) -> None:
    with pytest.raises(ValueError):
        fingerprint(key)


def test_without_cryptography(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = sign(MESSAGE, key)
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    for call in (lambda: sign(MESSAGE, key), lambda: is_signed(MESSAGE, **made), lambda: load_public_key(key)):
        with pytest.raises(InputError, match="pip install cryptography"):
            call()
