"""LiteRT.js, the runtime of the page: its WebAssembly from a folder, from the cache or by npm."""

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from kgated.atomic_write import replace_file

PACKAGE, VERSION = "@litertjs/core", "2.5.3"
SHA512 = "PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ=="
# With relaxed SIMD, and for browsers without it; a page loads one of the two.
WASM_FILES = tuple(
    f"litert_wasm_{kind}.{suffix}"
    for kind in ("internal", "compat_internal")
    for suffix in ("js", "wasm")
)
NOTICE = (
    f"The files litert_wasm_* are of {PACKAGE} {VERSION}, Copyright Google LLC, under the Apache "
    "License 2.0, https://www.apache.org/licenses/LICENSE-2.0.\n"
    "Source: https://github.com/google-ai-edge/LiteRT\n"
)
_NPM_SECONDS = 300


def litert_files(folder: Path | None = None) -> dict[str, bytes]:
    """The files of LiteRT.js that a page loads, by name.

    Args:
        folder: of the npm package, or of a project that installed it; None for the cache, which npm
            fills once.

    Raises:
        ValueError: the folder has no LiteRT.js, or another version; what npm fetched is not what
            was published.
        OSError: there is no npm, or it fails.
    """
    files = _from_archive(_archive()) if folder is None else _from_folder(folder)
    return files | {"NOTICE.txt": NOTICE.encode()}


def _from_folder(folder: Path) -> dict[str, bytes]:
    package = next((p for p in (folder, folder / "node_modules" / PACKAGE) if _is_package(p)), None)
    if package is None:
        raise ValueError(
            f"{folder}: this folder has no {PACKAGE}: install it there with "
            f"`npm install {PACKAGE}@{VERSION}`, or leave --litert-js out"
        )
    version = json.loads((package / "package.json").read_text("utf-8")).get("version")
    if version != VERSION:
        raise ValueError(
            f"{package}: this is {PACKAGE} {version}, the page needs {VERSION}: install it with "
            f"`npm install {PACKAGE}@{VERSION}`"
        )
    return _all_of(lambda name: (package / "wasm" / name).read_bytes(), package)


def _is_package(folder: Path) -> bool:
    try:
        document = json.loads((folder / "package.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("name") == PACKAGE


def _from_archive(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:

        def read(name: str) -> bytes:
            file = archive.extractfile(f"package/wasm/{name}")
            assert file is not None, "the digest of the archive was checked"
            return file.read()

        return _all_of(read, Path(PACKAGE))


def _all_of(read: Callable[[str], bytes], source: Path) -> dict[str, bytes]:
    try:
        return {name: read(name) for name in WASM_FILES}
    except (OSError, KeyError):
        raise ValueError(f"{source}: files of LiteRT.js are missing: install it again") from None


def cache_folder() -> Path:
    """Where LiteRT.js stays after npm fetched it."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "kgated"


def _archive() -> bytes:
    """The npm package, from the cache or by npm."""
    path = cache_folder() / f"litertjs-core-{VERSION}.tgz"
    if path.is_file() and _is_published(content := path.read_bytes()):
        return content
    content = _fetch()
    if not _is_published(content):
        raise ValueError(
            f"npm fetched another {PACKAGE} {VERSION} than was published: check npm's registry"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, content)
    return content


def _is_published(content: bytes) -> bool:
    return base64.b64encode(hashlib.sha512(content).digest()).decode() == SHA512


def _fetch() -> bytes:
    npm = shutil.which("npm")
    hint = "or give its folder with --litert-js"
    if npm is None:
        raise FileNotFoundError(
            f"LiteRT.js is fetched with npm, which is not installed: install Node.js, {hint}"
        )
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", folder]
        try:
            run = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=_NPM_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise OSError(
                f"npm does not fetch {PACKAGE} in {_NPM_SECONDS} s: try again, {hint}"
            ) from None
        packed = list(Path(folder).glob("*.tgz"))
        if run.returncode or len(packed) != 1:
            reason = _reason(run.stderr)
            raise OSError(f"npm does not fetch {PACKAGE} ({reason}): check the network, {hint}")
        return packed[0].read_bytes()


def _reason(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.startswith("npm error")]
    return lines[0].removeprefix("npm error").strip() if lines else "no archive"
