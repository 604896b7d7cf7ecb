"""Rewrites wheels and sdists without what differs from build to build: times, owners, order."""

import base64
import gzip
import hashlib
import io
import tarfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

_FIRST_ZIP_TIME = 315532800  # 1980-01-01, the first that a zip file can hold
_FILE, _EXECUTABLE = 0o100644, 0o100755


def normalize_wheel(wheel: Path, epoch: int, extra: Mapping[str, bytes]) -> None:
    """Rewrite a wheel in place.

    Args:
        wheel: the file.
        epoch: seconds since 1970 of every member.
        extra: further files, by their path below the `.dist-info` folder.
    """
    with zipfile.ZipFile(wheel) as file:
        members = {i.filename: file.read(i) for i in file.infolist() if not i.is_dir()}
    record = next(name for name in members if name.endswith(".dist-info/RECORD"))
    info = record.removesuffix("RECORD")
    members |= {info + name: content for name, content in extra.items()}
    members[record] = _record({k: v for k, v in members.items() if k != record}, record)
    # RECORD comes last, as in every wheel.
    order = [*sorted(members.keys() - {record}), record]
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name in order:
            file.writestr(_zip_info(name, epoch), members[name])


def _zip_info(name: str, epoch: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, time.gmtime(max(epoch, _FIRST_ZIP_TIME))[:6])
    info.compress_type, info.external_attr, info.create_system = (
        zipfile.ZIP_DEFLATED,
        _FILE << 16,
        3,
    )
    return info


def _record(members: Mapping[str, bytes], record: str) -> bytes:
    """The RECORD of a wheel: path, digest and size of each member."""
    lines = [
        f"{name},{_digest(content)},{len(content)}" for name, content in sorted(members.items())
    ]
    return ("\n".join([*lines, f"{record},,"]) + "\n").encode()


def _digest(content: bytes) -> str:
    digest = hashlib.sha256(content).digest()
    return f"sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def normalize_sdist(sdist: Path, epoch: int) -> None:
    """Rewrite a `.tar.gz` in place: members by name, of root, with one time."""
    with tarfile.open(sdist) as file:
        members = [(m, _content(file, m)) for m in sorted(file.getmembers(), key=lambda m: m.name)]
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as file:
        for member, content in members:
            file.addfile(_plain(member, epoch), None if content is None else io.BytesIO(content))
    with sdist.open("wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=epoch) as packed:
        packed.write(raw.getvalue())


def _content(file: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | None:
    extracted = file.extractfile(member)
    return None if extracted is None else extracted.read()


def _plain(member: tarfile.TarInfo, epoch: int) -> tarfile.TarInfo:
    plain = tarfile.TarInfo(member.name)
    plain.type, plain.size, plain.mtime = member.type, member.size, epoch
    executable = member.isdir() or member.mode & 0o100
    plain.mode = (_EXECUTABLE if executable else _FILE) & 0o777
    return plain
