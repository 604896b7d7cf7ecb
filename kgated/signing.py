"""Signs `.tflite` files: an Ed25519 signature in the manifest, an OpenSSF bundle beside the file.

The device checks the first, by `kgated_edge.require_signature`; docs/signing.md defines it.
"""

import os
import time
from pathlib import Path
from typing import Any

from kgated_edge.format.reader import read_model
from kgated_edge.format.signing_section import (
    SECTION,
    Signing,
    read_signing,
    signature_span,
    signed_message,
)
from kgated_edge.format.tflite_file import (
    MANIFEST_NAME,
    digest_span,
    file_digest,
    metadata_span,
)

from kgated.atomic_write import check_writable, replace_file, replace_files
from kgated.optional_imports import from_extra
from kgated.tuning.manifest_section import with_section
from kgated.tuning.source_digest import files_with_digest

ED25519, P256 = "ed25519", "p256"
BUNDLE_SUFFIX = ".sig"


def generate_key(private: str | Path, public: str | Path, kind: str = ED25519) -> None:
    """Make a pair of keys and write them in PEM, the private one readable by its owner alone.

    Args:
        private: the file of the private key, which must not exist.
        public: the file of the public key, which must not exist.
        kind: "ed25519", for signatures in the manifest, or "p256", for bundles.

    Raises:
        FileExistsError: one of the files exists.
        ValueError: another kind.
        ImportError: `cryptography` is missing.
    """
    key, serialization = _new_key(kind), _primitives("serialization")
    plain = serialization.NoEncryption()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    secret, shown = check_writable(private), check_writable(public)
    if shown.exists() or secret == shown:
        raise FileExistsError(f"{shown} exists already: give another name")
    _write_secret(secret, key.private_bytes(pem, pkcs8, plain))
    replace_file(shown, key.public_key().public_bytes(pem, info))


def sign(
    path: str | Path, key: str | Path, version: int | None = None, name: str | None = None
) -> Signing:
    """Sign a file in its place; a signature that it has is replaced.

    C sources beside the file, of `target='c'`, get its new digest.

    Args:
        path: a `.tflite` file made by `kgated convert`.
        key: the file of an Ed25519 private key in PEM, without a password.
        version: ascending from one signed file to the next; None: the time in seconds since 1970.
        name: of the model, whose versions replace one another, on one line; None: the model's own.

    Returns:
        what the file now says about its signature.

    Raises:
        ManifestError: the file is missing or damaged.
        ValueError: the key is of another kind, the version is out of range, or the name is empty
            or has control characters.
        OSError: a file cannot be read or written.
        ImportError: `cryptography` is missing.
    """
    content, manifest = read_model(path)
    secret, version = private_key(key), int(time.time()) if version is None else version
    signed = signed_file(content, secret, version, manifest.model.name if name is None else name)
    replace_files(files_with_digest(check_writable(path), content, signed))
    return read_signing(signed)[0]


def signed_file(content: bytes, key: Any, version: int, name: str) -> bytes:
    """A model file with a signature in its manifest.

    Args:
        content: a model file; a signature that it has is replaced.
        key: an Ed25519 private key of `cryptography`.
        version: of the model, which a device may require to increase.
        name: of the model.

    Raises:
        ValueError: `version` is no integer in 0..2**53 - 1, `name` is no text on one line.
    """
    if not name or not name.isprintable():
        raise ValueError(
            f"`name` must be a text on one line, not empty. Received: {name!r}; give another name"
        )
    if type(version) is not int or not 0 <= version < 2**53:
        raise ValueError(f"`version` must be an int in 0..2**53 - 1. Received: {version!r}")
    signing = Signing(key.public_key().public_bytes_raw().hex(), name, version)
    unsigned = with_section(content, SECTION, signing.to_plain())
    span = metadata_span(unsigned, MANIFEST_NAME)
    assert span is not None, "a file with a manifest"
    signature_digits, file_digits = signature_span(unsigned, *span), digest_span(unsigned, *span)
    signature = key.sign(signed_message(unsigned, (file_digits, signature_digits))).hex()
    changed = unsigned[: signature_digits[0]] + signature.encode() + unsigned[signature_digits[1] :]
    digest = file_digest(changed, *file_digits).encode()
    return changed[: file_digits[0]] + digest + changed[file_digits[1] :]


def private_key(path: str | Path) -> Any:
    """Read an Ed25519 private key.

    Args:
        path: a file in PEM, without a password.

    Returns:
        The key, as `cryptography` has it.

    Raises:
        ValueError: the file is no such key.
        OSError: it can't be read.
        ImportError: `cryptography` is missing.
    """
    key = _pem_key(path)
    if not isinstance(key, _primitives("asymmetric.ed25519").Ed25519PrivateKey):
        raise ValueError(f"{path}: this is no Ed25519 key: make one by `kgated keygen`")
    return key


def _pem_key(path: str | Path) -> Any:
    """A private key of any kind, in PEM and without a password."""
    serialization = _primitives("serialization")
    content = Path(path).read_bytes()
    try:
        key = serialization.load_pem_private_key(content, None)
    except TypeError:
        raise ValueError(f"{path}: the key has a password: decrypt it for the signing") from None
    except Exception:  # the library raises several kinds on bytes that are no key
        hint = "give the private key of the pair" if b"PUBLIC KEY-----" in content else "check it"
        raise ValueError(f"{path}: this is no private key in PEM: {hint}") from None
    return key


def write_bundle(path: str | Path, key: str | Path) -> Path:
    """Write an OpenSSF model-signing bundle of a file beside it, `MODEL.tflite.sig`.

    Args:
        path: a file, with its signature in the manifest where it has one.
        key: the file of an elliptic-curve private key in PEM, P-256, P-384 or P-521: the format has
            no Ed25519.

    Returns:
        the bundle's path.

    Raises:
        ValueError: the key is of another kind.
        ImportError: `model-signing` is missing.
    """
    check_bundle_key(key)
    signing = from_extra("model_signing.signing", "bundle")
    bundle = check_writable(f"{path}{BUNDLE_SUFFIX}")
    scratch = bundle.with_name(f".{bundle.name}.{os.getpid()}.tmp")
    config = signing.Config().use_elliptic_key_signer(private_key=Path(key))
    try:
        config.sign(Path(path), scratch)
        replace_file(bundle, scratch.read_bytes())
    finally:
        scratch.unlink(missing_ok=True)
    return bundle


def check_bundle_key(path: str | Path) -> None:
    """Check the key of a bundle, and that bundles can be written, before a file is signed.

    Raises:
        ValueError: the key is no elliptic-curve key in PEM of P-256, P-384 or P-521.
        OSError: it can't be read.
        ImportError: `model-signing` is missing.
    """
    from_extra("model_signing.signing", "bundle")
    key, curves = _pem_key(path), _primitives("asymmetric.ec")
    supported = (curves.SECP256R1, curves.SECP384R1, curves.SECP521R1)
    if not isinstance(getattr(key, "curve", None), supported):
        raise ValueError(
            f"{path}: a bundle takes a key of P-256, P-384 or P-521: make one by "
            "`kgated keygen FILE --kind p256`"
        )


def _new_key(kind: str) -> Any:
    if kind == ED25519:
        return _primitives("asymmetric.ed25519").Ed25519PrivateKey.generate()
    if kind == P256:
        curves = _primitives("asymmetric.ec")
        return curves.generate_private_key(curves.SECP256R1())
    raise ValueError(f"`kind` must be '{ED25519}' or '{P256}'. Received: {kind!r}")


def _write_secret(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _primitives(module: str) -> Any:
    return from_extra(f"cryptography.hazmat.primitives.{module}", "sign")
