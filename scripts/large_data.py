"""Train on a data set larger than the memory allowed: sparse recordings under a limit.

    python scripts/large_data.py --gib 10 --limit-gib 4

The frames are in a sparse `.npy` file, which uses no disk space. The limit is the address space of
the process (RLIMIT_AS), so that mapping the whole file fails, too.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

STEPS, FEATURES = 32, 8192


def make(path: Path, gib: float) -> int:
    """Write a sparse data set of two classes; return the number of its sequences."""
    count = max(8, round(gib * 2**30 / (STEPS * FEATURES * 4)))
    header = {"descr": "<f4", "fortran_order": False, "shape": (count, STEPS, FEATURES)}
    with path.with_suffix(".npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        file.truncate(start + count * STEPS * FEATURES * 4)
        for n in range(count):  # one memory page of data in each recording
            file.seek(start + n * STEPS * FEATURES * 4)
            file.write(np.full(8, 1.0 + n % 2, np.float32).tobytes())
    np.savez(path, lengths=np.full(count, STEPS, np.int32), y=np.arange(count) % 2)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gib", type=float, default=10.0, help="size of the data set in GiB (10)")
    parser.add_argument(
        "--limit-gib", type=float, default=4.0, help="limit of the address space in GiB (4)"
    )
    options = parser.parse_args()
    limit = round(options.limit_gib * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    from kgated.models import train_classifier
    from kgated.training import Disturbance, Plan

    with tempfile.TemporaryDirectory() as folder:
        path, start = Path(folder, "data.npz"), time.perf_counter()
        count = make(path, options.gib)
        plan = Plan(epochs=1, batch_size=8, disturbance=Disturbance(0.0, 0.0, 0.0))
        history = train_classifier(path, Path(folder, "m.keras"), units=2, plan=plan, quiet=True)
        disk = path.with_suffix(".npy").stat().st_blocks * 512
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    row = {"sequences": count, "data_gib": options.gib, "disk_mib": disk / 2**20}
    row |= {"limit_gib": options.limit_gib, "peak_resident_gib": round(peak, 2)}
    row |= {"seconds": round(time.perf_counter() - start, 1)}
    print(json.dumps(row | {"loss": history.history["loss"][-1]}))


if __name__ == "__main__":
    main()
