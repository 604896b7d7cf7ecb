"""Time of a training step, compared with Keras's own layer in the same run.

It times forward and forward+backward of kgated's layers and of `keras.layers.LSTM` / `GRU`, as
compiled models on the current Keras backend, interleaved. There are several copies of each model,
because two copies may differ by a few percent. With a GPU it adds larger shapes in float32 and
bfloat16, and PyTorch's nn.LSTM / nn.GRU if PyTorch has a GPU.
"""

import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import kgated
from kgated.atomic_write import check_writable, replace_file

Shape = tuple[int, int, int, int]
Make = Callable[[int], keras.Layer]
Run = Callable[[], Any]

COPIES = 3
SHAPES: tuple[Shape, ...] = ((16, 64, 40, 128), (32, 100, 32, 64), (64, 50, 64, 256))
GPU_SHAPES: tuple[Shape, ...] = ((16, 1024, 768, 768), (64, 128, 256, 256))
GPU_POLICIES = ("float32", "mixed_bfloat16")


@dataclass(frozen=True)
class Pair:
    """A layer of kgated, Keras's for comparison, and the maximum ratio of times on TensorFlow.

    Keras has no peepholes, so a `PeepholeLSTM` is compared with Keras's LSTM.
    """

    name: str
    ours: Make
    keras: Make
    target: float


PAIRS = (
    Pair("LSTM", kgated.LSTM, keras.layers.LSTM, 1.0),
    Pair(
        "GRU as Keras's",
        lambda units: kgated.GRU(units, reset_after=True, update_gate="state"),
        keras.layers.GRU,
        1.0,
    ),
    Pair("GRU", kgated.GRU, lambda units: keras.layers.GRU(units, reset_after=False), 1.0),
    Pair("PeepholeLSTM", kgated.PeepholeLSTM, keras.layers.LSTM, 1.1),
)


@dataclass(frozen=True)
class Row:
    """One line of the result; times are medians in ms."""

    backend: str
    device: str
    layer: str
    work: str
    batch: int
    time_steps: int
    features: int
    units: int
    policy: str
    ours_ms_p50: float
    keras_ms_p50: float
    torch_ms_p50: float | None
    ratio: float
    target: float


def gpu_name() -> str | None:
    """The backend's first GPU, or None."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        devices = tf.config.list_physical_devices("GPU")
        return str(devices[0].name) if devices else None
    if backend == "jax":
        import jax

        return str(jax.devices()[0].device_kind) if jax.default_backend() == "gpu" else None
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def torch_has_gpu() -> bool:
    """Whether PyTorch's own layers can be timed on a GPU."""
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def data(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (B, T, F) and targets (B, U)."""
    batch, steps, features, units = shape
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, steps, features)).astype(np.float32)
    return x, rng.normal(size=(batch, units)).astype(np.float32)


def keras_runs(make: Make, shape: Shape) -> dict[str, Run]:
    """A compiled model's forward pass and training step; both wait for the result."""
    _, steps, features, units = shape
    model = keras.Sequential([keras.Input((steps, features)), make(units)])
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    x, y = map(keras.ops.convert_to_tensor, data(shape))
    return {
        "forward": lambda: model.predict_on_batch(x),
        "train": lambda: model.train_on_batch(x, y),
    }


def torch_runs(kind: str, shape: Shape, policy: str, device: str = "cuda") -> dict[str, Run]:
    """The same for PyTorch's own layer, which uses cuDNN on a GPU."""
    import torch

    _, _, features, units = shape
    layer = getattr(torch.nn, kind)(features, units, batch_first=True).to(device)
    optimizer = torch.optim.SGD(layer.parameters(), 1e-3)
    x, y = (torch.from_numpy(array).to(device) for array in data(shape))

    def forward() -> Any:
        with torch.autocast(device, torch.bfloat16, enabled=policy == "mixed_bfloat16"):
            return layer(x)[0][:, -1]

    def forward_alone() -> Any:
        with torch.no_grad():
            return forward().cpu()

    def train() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(forward().float(), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item()

    return {"forward": forward_alone, "train": train}


def medians_ms(candidates: dict[str, list[dict[str, Run]]], repeats: int) -> dict[str, Any]:
    """Medians by candidate and work, over copies and repeats; the candidates run in turns."""
    times: dict[str, dict[str, list[float]]] = {}
    for turn in range(repeats + 1):
        for name, copies in candidates.items():
            for work, run in copies[turn % len(copies)].items():
                if turn < len(copies):
                    run()  # traces and compiles
                start = time.perf_counter()
                run()
                elapsed = time.perf_counter() - start
                times.setdefault(name, {}).setdefault(work, []).append(1e3 * elapsed)
    return {n: {w: statistics.median(t) for w, t in works.items()} for n, works in times.items()}


def measure(pair: Pair, shape: Shape, policy: str, device: str, repeats: int) -> Iterator[Row]:
    """Two rows, forward and train, of one pair at one shape."""
    keras.config.set_dtype_policy(policy)
    kinds = {"ours": pair.ours, "keras": pair.keras}
    candidates = {n: [keras_runs(make, shape) for _ in range(COPIES)] for n, make in kinds.items()}
    if device != "cpu" and torch_has_gpu():
        kind = type(pair.keras(1)).__name__
        candidates["torch"] = [torch_runs(kind, shape, policy)]
    medians = medians_ms(candidates, repeats)
    for work in ("forward", "train"):
        gated, reference = medians["ours"][work], medians["keras"][work]
        torch_ms = medians["torch"][work] if "torch" in medians else None
        yield Row(
            keras.backend.backend(),
            device,
            pair.name,
            work,
            *shape,
            policy,
            gated,
            reference,
            torch_ms,
            gated / reference,
            pair.target,
        )


def show(rows: list[Row], console: Console) -> None:
    """Print the table."""
    times = ("ours ms", "Keras ms", "PyTorch ms")
    table = Table("layer", "work", "B", "T", "F", "U", "policy", *times, "ratio")
    for row in rows:
        sizes = map(str, (row.batch, row.time_steps, row.features, row.units))
        measured = (row.ours_ms_p50, row.keras_ms_p50, row.torch_ms_p50)
        texts = ("-" if ms is None else f"{ms:.2f}" for ms in measured)
        table.add_row(row.layer, row.work, *sizes, row.policy, *texts, f"{row.ratio:.2f}")
    console.print(table)


def main(
    json_path: Annotated[
        Path | None, typer.Option("--json", help="JSON file for the rows.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Timed runs per layer.", min=1)] = 60,
    smallest: Annotated[
        bool, typer.Option(help="Measure one small shape only, to test the script.")
    ] = False,
) -> None:
    """Time training steps of kgated's and Keras's layers; `KERAS_BACKEND` sets the backend."""
    path = None if json_path is None else check_writable(json_path)
    console, backend, gpu = Console(), keras.backend.backend(), gpu_name()
    shapes = ((4, 5, 3, 8),) if smallest else SHAPES
    cases = [(shape, "float32") for shape in shapes]
    skipped = []
    if gpu is None:
        shown = " and ".join(str(shape) for shape in GPU_SHAPES)
        skipped.append(f"GPU rows, B, T, F, U {shown}: the {backend} backend sees no GPU")
    elif smallest:
        skipped.append("GPU rows: --smallest was given")
    else:
        cases += [(shape, policy) for shape in GPU_SHAPES for policy in GPU_POLICIES]
        if not torch_has_gpu():
            skipped.append("PyTorch's own layers: it is not installed, or sees no GPU")
    rows: list[Row] = []
    for shape, policy in cases:
        for pair in PAIRS:
            rows += measure(pair, shape, policy, gpu or "cpu", repeats)
    show(rows, console)
    for line in skipped:
        console.print(f"SKIPPED: {line}", style="bold yellow", soft_wrap=True)
    if path is not None:
        tools = {name: version(name) for name in ("kgated", "keras", backend)}
        result = {"tools": tools, "skipped": skipped, "rows": [asdict(row) for row in rows]}
        replace_file(path, json.dumps(result, indent=1).encode())


if __name__ == "__main__":
    typer.run(main)
