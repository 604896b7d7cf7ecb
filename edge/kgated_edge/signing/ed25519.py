"""The only module that imports `cryptography`, when a signature is checked."""

from pathlib import Path
from typing import Any

from kgated_edge.errors import EdgeError, SignatureError


def public_key(path: str | Path) -> Any:
    """Reads an Ed25519 public key in PEM, as of `kgated keygen` or `openssl pkey -pubout`.

    Raises:
        EdgeError: no such file, another kind of key, several keys, or `cryptography` is not
            installed.
    """
    ed25519, serialization = _cryptography()
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise EdgeError(f"{path}: the key cannot be read ({error.strerror})") from None
    if b"PRIVATE KEY-----" in content:
        raise EdgeError(f"{path}: this is a private key: keep it secret, and give the public one")
    if content.count(b"-----BEGIN ") > 1:
        raise EdgeError(f"{path}: the file has several keys: give a file with one public key")
    try:
        key = serialization.load_pem_public_key(content)
    except Exception:  # the library raises several kinds on bytes that are no key
        raise EdgeError(f"{path}: this is no public key in PEM: check the file") from None
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise EdgeError(f"{path}: the key is not an Ed25519 key: make one by `kgated keygen`")
    return key


def digits_of(key: Any) -> str:
    """The 32 bytes of a public key, in hex."""
    return str(key.public_bytes_raw().hex())


def check_signature(key: Any, signature: bytes, message: bytes) -> None:
    """Raises `SignatureError` for a signature that the key did not make over the message."""
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, message)
    except InvalidSignature:
        raise SignatureError(
            "its signature does not fit the file, which was changed after it was signed: copy it "
            "again, or sign it again"
        ) from None


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise EdgeError(
            f'signatures need cryptography ({error}): pip install "kgated-edge[verify]"'
        ) from None
    return ed25519, serialization
