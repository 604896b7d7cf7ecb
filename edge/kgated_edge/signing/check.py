"""Opens a model file only if a key has signed it."""

from pathlib import Path

from kgated_edge.errors import EdgeError, ManifestError, SignatureError
from kgated_edge.format.reader import parse_manifest
from kgated_edge.format.signing_section import read_signing
from kgated_edge.format.tflite_file import read_verified
from kgated_edge.format.verified_file import ModelPath, VerifiedFile
from kgated_edge.signing.ed25519 import check_signature, digits_of, public_key
from kgated_edge.signing.version_file import Accepted, accept_version, check_version


def require_signature(
    path: str | Path,
    key: str | Path,
    version_file: str | Path | None = None,
    *,
    record: bool = True,
) -> VerifiedFile:
    """Reads a model file once, and checks its signature on the bytes that it returns.

    Args:
        path: a `.tflite` file signed by `kgated sign`.
        key: the file of the Ed25519 public key in PEM that has to have signed it.
        version_file: of this device and this model; the file is refused where its version is older
            than the one in there, and recorded where it is newer. It is made where it is missing.
        record: whether the version file is changed.

    Returns:
        the bytes, in place of the path: for `EdgeModel`, `check` and all that takes a path.

    Raises:
        SignatureError: the file is unsigned, changed after it was signed, signed by another key, or
            older than the device has accepted.
        ManifestError: it is missing, damaged, or breaks a rule of the format.
        EdgeError: the key or the version file cannot be read, or `cryptography` is missing.
    """
    trusted = public_key(key)
    try:
        content, text = read_verified(Path(path))
        signing, message = read_signing(content)
        if signing.key != digits_of(trusted):
            raise SignatureError(
                f"it was signed by the key {signing.key[:16]}, required is "
                f"{digits_of(trusted)[:16]} of {key}"
            )
        check_signature(trusted, bytes.fromhex(signing.ed25519), message)
        manifest = parse_manifest(text)
        if version_file is not None:
            accepted = Accepted(signing.name, signing.version, manifest.file_sha256)
            (accept_version if record else check_version)(version_file, accepted)
    except ManifestError as error:
        raise type(error)(f"{path}: {error}") from None
    return VerifiedFile(str(path), content, manifest, signing)


def opened(
    path: ModelPath, require_key: str | Path | None, version_file: str | Path | None
) -> ModelPath:
    """The path as it is without a key, else the bytes that the key has signed.

    Raises:
        EdgeError: as from `require_signature`, or a version file without a key.
    """
    if require_key is None:
        if version_file is not None:
            raise EdgeError("`version_file` is for signed files: give `require_key` too")
        return path
    return require_signature(Path(path), require_key, version_file)
