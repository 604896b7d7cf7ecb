"""Signed files, and a signer that follows docs/signing.md and uses no code of the package."""

import hashlib
import re
from pathlib import Path

import pytest
from extra_packages import required

FOLDER = Path(__file__).parents[1] / "fixtures" / "signed"
SIGNATURE = re.compile(rb'(?<="ed25519":")[0-9a-f]{128}(?=")')
DIGEST = re.compile(rb'(?<="file_sha256":")[0-9a-f]{64}(?=")')
PUBLIC = re.compile(rb'(?<="key":")[0-9a-f]{64}(?=")')


@pytest.fixture
def key() -> Path:
    """The public key that has signed the files."""
    return FOLDER / "key.pub"


@pytest.fixture
def signed(tmp_path) -> Path:
    """A copy of the signed stream of version 5."""
    path = tmp_path / "speech.tflite"
    path.write_bytes((FOLDER / "speech.tflite").read_bytes())
    return path


@pytest.fixture
def signed_sequence() -> Path:
    """The signed whole-sequence model."""
    return FOLDER / "whole.tflite"


@pytest.fixture
def make_key():
    """(32 bytes) -> the private key of `cryptography`."""
    module = required("cryptography.hazmat.primitives.asymmetric.ed25519")
    return module.Ed25519PrivateKey.from_private_bytes


@pytest.fixture
def resign(sign, make_key):
    """(content, secret) -> the content with the signature and the digest that the page defines."""

    def signed_again(content: bytes, secret: bytes = bytes(range(32))) -> bytes:
        private = make_key(secret)
        public = private.public_key().public_bytes_raw().hex().encode()
        content = PUBLIC.sub(public, content)
        blank = DIGEST.sub(b"0" * 64, SIGNATURE.sub(b"0" * 128, content))
        message = b"kgated model signature 1\n" + hashlib.sha512(blank).digest()
        return sign(SIGNATURE.sub(private.sign(message).hex().encode(), content))

    return signed_again


@pytest.fixture
def of_version(signed, resign, tmp_path):
    """(version, name) -> the signed file with them, which are of the same length as before."""

    def changed(version, name=b"speech"):
        content = signed.read_bytes().replace(b'"version":5', b'"version":%d' % version)
        content = content.replace(b'"name":"speech","version"', b'"name":"%s","version"' % name)
        path = tmp_path / f"{name.decode()}.{version}.tflite"
        path.write_bytes(resign(content))
        return path

    return changed
