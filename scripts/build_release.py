"""Builds wheels and sdists of kgated and kgated-edge: `python scripts/build_release.py dist`.

Two builds of the same sources give the same bytes. Each wheel contains a bill of materials of what
it is installed with (`.dist-info/sboms/`). `SHA256SUMS` names the files.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from release.reproducible import normalize_sdist, normalize_wheel
from release.sbom import bill_of_materials

ROOT = Path(__file__).parents[1]
# Distribution: its folder, and what is copied from there to be built.
DISTRIBUTIONS = {
    "kgated-edge": (ROOT / "edge", ("pyproject.toml", "README.md", "kgated_edge")),
    "kgated": (
        ROOT,
        ("pyproject.toml", "README.md", "CHANGELOG.md", "kgated", "kgated_cli", "kgated_worker.py"),
    ),
}
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info")


def release_epoch() -> int:
    """The time of all files: SOURCE_DATE_EPOCH, or the day of the release in CITATION.cff."""
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(epoch)
    match = re.search(r"^date-released: \"?([0-9-]+)", (ROOT / "CITATION.cff").read_text(), re.M)
    if match is None:
        raise ValueError("CITATION.cff has no `date-released`: add it, or set SOURCE_DATE_EPOCH")
    return int(datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp())


def build(name: str, out: Path, epoch: int) -> list[Path]:
    """Build wheel and sdist of one distribution into a folder; return their paths."""
    folder, parts = DISTRIBUTIONS[name]
    with tempfile.TemporaryDirectory() as temporary:
        sources, built = Path(temporary, "sources"), Path(temporary, "built")
        copy_sources(folder, parts, sources)
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(built)]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}
        run = subprocess.run(
            [*command, str(sources)], env=environment, capture_output=True, text=True, check=False
        )
        if run.returncode:
            raise RuntimeError(f"the build of {name} failed:\n{run.stdout}{run.stderr}")
        (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
        bill = bill_of_materials(name)
        normalize_wheel(wheel, epoch, {f"sboms/{name}.cdx.json": bill})
        normalize_sdist(sdist, epoch)
        return [Path(shutil.move(path, out / path.name)) for path in (wheel, sdist)]


def copy_sources(folder: Path, parts: tuple[str, ...], target: Path) -> None:
    """Copy what belongs to a distribution, and the license, into an empty folder."""
    target.mkdir()
    for part in parts:
        source = folder / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=LEFT_OUT)
        else:
            shutil.copy(source, target / part)
    shutil.copy(ROOT / "LICENSE", target)


def checksums(paths: list[Path]) -> str:
    """Lines for `sha256sum -c`."""
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}" for p in sorted(paths)]
    return "\n".join(lines) + "\n"


def main(
    out: Annotated[Path, typer.Argument(help="Folder for the files; it must be empty.")],
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise typer.BadParameter(f"{out} is not empty: give another folder")
    paths = [path for name in DISTRIBUTIONS for path in build(name, out, release_epoch())]
    (out / "SHA256SUMS").write_text(checksums(paths))
    print(checksums(paths), end="")


if __name__ == "__main__":
    typer.run(main)
