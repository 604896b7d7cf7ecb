"""Compare the outputs of two devices for the golden frames of the same files.

    python scripts/golden_outputs.py tests/edge/fixtures/*.tflite --save x86-64.npz     # on one
    python scripts/golden_outputs.py tests/edge/fixtures/*.tflite --against x86-64.npz  # on another

It needs only kgated-edge, so that it runs on the device.
"""

import argparse
import platform
import sys
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from kgated_edge import EdgeError
from kgated_edge.runtime.open import open_model


def answers(path: Path) -> dict[str, np.ndarray]:
    """The outputs of this device, by file and output."""
    outputs = open_model(path).golden_outputs()
    return {f"{path.stem}/{name}": np.asarray(rows) for name, rows in outputs.items()}


def saved(path: Path) -> dict[str, np.ndarray]:
    """Load a file that `--save` wrote."""
    try:
        return dict(np.load(path))
    except (OSError, ValueError, BadZipFile) as error:
        raise EdgeError(f"{path}: no answers in it ({type(error).__name__}): --save them") from None


def compared(gated: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> str:
    """A Markdown table of the largest differences, also relative to the range of the output."""
    rows = [f"| output | values | largest difference {platform.machine()} | of its range |"]
    rows.append("|---|---|---|---|")
    for name, actual in gated.items():
        expected = reference[name]
        apart, extent = np.abs(actual - expected).max(), np.ptp(expected)
        relative = f"{apart / extent:.2e}" if extent else "-"
        rows.append(f"| {name} | {expected.size} | {apart:.2e} | {relative} |")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("models", nargs="+", type=Path, help="files written by kgated convert")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument(
        "--save", type=Path, help="write the outputs of this device to an .npz file"
    )
    action.add_argument("--against", type=Path, help="compare with the outputs of another device")
    options = parser.parse_args()
    try:
        outputs = {name: rows for path in options.models for name, rows in answers(path).items()}
        if options.save:
            with options.save.open("wb") as file:
                np.savez(file, allow_pickle=False, **outputs)
            return 0
        reference = saved(options.against)
    except (EdgeError, OSError) as error:
        print(f"golden_outputs.py: error: {error}", file=sys.stderr)
        return 2
    shapes = {name: rows.shape for name, rows in reference.items()}
    if mismatched := [name for name, rows in outputs.items() if shapes.get(name) != rows.shape]:
        print(f"{options.against} lacks {mismatched} in this shape: save it anew", file=sys.stderr)
        return 2
    print(compared(outputs, reference))
    return 0


if __name__ == "__main__":
    sys.exit(main())
