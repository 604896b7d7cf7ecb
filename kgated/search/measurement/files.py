"""Converts models of a search to files, and measures the files on the device."""

import contextlib
import gzip
import json
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
from kgated_edge.evaluation.dataset import SequenceData

from kgated.atomic_write import replace_file
from kgated.data import real_frames, save_npz, take
from kgated.deploy import to_tflite
from kgated.errors import ConversionError
from kgated.search.design.model import build, frame_means, with_frame_means, zero_smallest_weights
from kgated.search.design.space import Design, SearchSpace
from kgated.search.measurement.device import Device
from kgated.study.edge_check import CheckReport, Limits
from kgated.study.models import ModelOptions
from kgated.study.splits import Parts

PROBE_SEQUENCES = 8
NO_LIMIT = 10**9


@dataclass(frozen=True)
class Budget:
    """The limits that a file has to meet.

    Attributes:
        max_kib: of the file's size, in units of 1024 bytes.
        deadline_us: of the 99th percentile of the step times, in microseconds; None: any.
        compressed: whether the size counts after gzip, as an update is sent.
    """

    max_kib: float
    deadline_us: float | None = None
    compressed: bool = False


@dataclass(frozen=True)
class FileCost:
    """Size and time of a file on the device.

    Attributes:
        file_bytes: its size.
        compressed_bytes: its size after gzip.
        step_us_p50, step_us_p99: time of one step.
        real_time_factor: time of the steps divided by the duration of their frames.
    """

    file_bytes: int
    compressed_bytes: int
    step_us_p50: float
    step_us_p99: float
    real_time_factor: float | None

    def size(self, budget: Budget) -> int:
        """The bytes that the budget counts."""
        return self.compressed_bytes if budget.compressed else self.file_bytes

    def excess(self, budget: Budget) -> tuple[float, float]:
        """The fractions by which size and time exceed their limits; at most 0: they are met."""
        size = self.size(budget) / 1024 / budget.max_kib - 1.0
        if budget.deadline_us is None:
            return size, 0.0
        return size, self.step_us_p99 / budget.deadline_us - 1.0

    def fits(self, budget: Budget) -> bool:
        """Whether the limits are met."""
        return max(self.excess(budget)) <= 0.0

    def misses(self, budget: Budget) -> str:
        """The limits that are exceeded, in words."""
        size, time = self.excess(budget)
        reasons = []
        if size > 0.0:
            reasons.append(f"{self.size(budget) / 1024:.1f} KiB, allowed are {budget.max_kib:g}")
        if time > 0.0:
            reasons.append(
                f"{self.step_us_p99:.0f} µs per step, allowed are {budget.deadline_us:g}"
            )
        return "; ".join(reasons)


class FileBuilder:
    """Converts models and measures their files, one at a time on the device.

    Args:
        device: where files are run.
        parts: the data.
        period_s: seconds between two frames.
        folder: of the search; `probes`, `files` and data sets are written to it.
        device_lock: returns a lock, which is held while the device is in use.
        worker: a name of this process, for its temporary files.
    """

    def __init__(
        self,
        device: Device,
        parts: Parts,
        period_s: float,
        folder: Path,
        device_lock: Callable[[], AbstractContextManager[None]],
        worker: str,
    ) -> None:
        self.device, self.parts, self.period_s = device, parts, period_s
        self.folder, self.device_lock, self.worker = folder, device_lock, worker
        self.probe_data = take(parts.train, _evenly(len(parts.train), PROBE_SEQUENCES))
        for name, data in (("probe", self.probe_data), ("validation", parts.validation)):
            save_npz(folder / f"{name}.npz", data)
        save_npz(folder / "test.npz", parts.test)

    def probe(self, design: Design) -> FileCost:
        """Size and time of a design's file, measured on an untrained model, once for all trials.

        Raises:
            ConversionError: the model can't be converted by the recipe.
            RuntimeError: the device's runner can't run the file.
        """
        path = self.folder / "probes" / f"{design.name}.json"
        with contextlib.suppress(FileNotFoundError, ValueError, TypeError):  # damaged: once more
            return FileCost(**json.loads(path.read_text()))
        model = self.untrained(design)
        if design.sparsity:
            zero_smallest_weights(model, design.sparsity)
        file = path.with_name(f"{design.name}.{self.worker}.tflite")
        self.convert(model, design, file, self.probe_data)
        cost, _ = self.measure(file, "probe")
        file.unlink(missing_ok=True)
        replace_file(path, json.dumps(asdict(cost)).encode() + b"\n")
        return cost

    def untrained(self, design: Design, dropout: float = 0.0, seed: int = 0) -> keras.Sequential:
        """The model of a design before its training, for means of frames."""
        task = self.parts.task
        train = frame_means(self.parts.train, design.stride, task.per_frame)
        frames, info = real_frames(train), self.parts.train.info
        options = ModelOptions(task, frames, self.parts.outputs, dropout, seed, info)
        return build(design, options)

    def convert(
        self, model: keras.Sequential, design: Design, path: Path, calibration: SequenceData
    ) -> keras.Sequential:
        """Write the file of a trained model; returns the model that takes the frames.

        Raises:
            ConversionError: it can't be converted by the recipe.
        """
        complete = with_frame_means(model, design, self.parts.train.info)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the search measures the cost of quantization
            try:
                to_tflite(
                    complete,
                    path,
                    mode="stream",
                    quantize=design.quantize,
                    calibration=calibration,
                    labels=self.parts.labels or None,
                    sample_period_s=self.period_s,
                )
            except ValueError as error:
                raise ConversionError(str(error)) from error
        return complete

    def measure(self, path: Path, data: str) -> tuple[FileCost, float]:
        """Run a file over "probe", "validation" or "test" on the device: its cost and metric.

        Raises:
            RuntimeError: the runner can't run it.
        """
        limits = Limits(1e3 * self.period_s, NO_LIMIT)
        with self.device_lock():
            file, task = self.folder / f"{data}.npz", self.parts.task
            checked = self.device.check(path, file, limits, task.name)
        return cost_of(path, checked), checked.metrics[task.metric.name]


def check_reachable(builder: FileBuilder, space: SearchSpace, budget: Budget) -> None:
    """Refuse limits that not even the narrowest model of any cell and recipe meets.

    Raises:
        ValueError: one line with the nearest of them.
    """
    misses: dict[float, str] = {}
    for design in space.smallest():
        try:
            cost = builder.probe(design)
        except (ConversionError, RuntimeError) as error:
            misses.setdefault(float("inf"), f"{design.name}: {error}")
            continue
        if cost.fits(budget):
            return
        misses[max(cost.excess(budget))] = f"{design.name}: {cost.misses(budget)}"
    if min(misses) == float("inf"):
        raise ValueError(f"none of the narrowest models can be measured; {misses[min(misses)]}")
    raise ValueError(
        f"no design meets the limits; of the narrowest models the nearest is {misses[min(misses)]}"
    )


def cost_of(path: Path, checked: CheckReport) -> FileCost:
    """The cost of a file that was checked."""
    content = path.read_bytes()
    return FileCost(
        len(content),
        len(gzip.compress(content)),
        checked.latency.us_p50,
        checked.latency.us_p99,
        checked.real_time_factor,
    )


def _evenly(count: int, chosen: int) -> np.ndarray:
    """`chosen` places, evenly spread over `count`; all of them where there are fewer."""
    return np.unique(np.arange(chosen) * count // chosen)
