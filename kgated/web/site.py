"""Builds the folder of the page: the model, the modules of the page, LiteRT.js."""

import os
import shutil
import tempfile
from pathlib import Path

from kgated_edge.format.verified_file import ModelPath

from kgated.web.browser_check import read_browser_model
from kgated.web.litert_js import litert_files

MODEL_FILE = "model.tflite"
ASSETS = Path(__file__).parent / "assets"


def build_site(model: ModelPath, output: str | Path, litert_js: str | Path | None = None) -> Path:
    """Builds a static site that runs a streaming model in the browser.

    Args:
        model: a `.tflite` file of mode "stream"; the site runs these very bytes.
        output: the folder to make; it must not exist.
        litert_js: the folder of the npm package `@litertjs/core`, or of a project that has it;
            None to take it from the cache, which npm fills once.

    Returns:
        the folder.

    Raises:
        ManifestError: a file that LiteRT.js does not run; the message says what to do.
        ValueError, OSError: the folder exists or cannot be made, or there is no LiteRT.js. Nothing
            has been written.
    """
    folder = check_new_folder(Path(output))
    content, _ = read_browser_model(model)
    runtime = litert_files(None if litert_js is None else Path(litert_js))
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        shutil.copytree(ASSETS, temporary, dirs_exist_ok=True, copy_function=shutil.copyfile)
        (temporary / MODEL_FILE).write_bytes(content)
        (temporary / "litert").mkdir()
        for name, part in runtime.items():
            (temporary / "litert" / name).write_bytes(part)
        temporary.chmod(0o755)
        os.rename(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return folder


def check_new_folder(folder: Path) -> Path:
    """The absolute path of a folder that can be made.

    Raises:
        OSError: it exists, or the folder above it does not or cannot be written to.
    """
    folder = folder.absolute()
    if folder.exists() or folder.is_symlink():
        raise FileExistsError(f"{folder}: it exists: name a new folder for the site")
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"can't make {folder}: there is no folder {folder.parent}; make it")
    if not os.access(folder.parent, os.W_OK | os.X_OK):
        raise PermissionError(
            f"can't make {folder}: the folder {folder.parent} is not writable; name another"
        )
    return folder
