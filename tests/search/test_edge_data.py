"""Data at the edge: a class that a part lacks, constant features, single frames, text labels."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest

from kgated.data import pad, save_npz
from kgated.search.design.space import Design, SearchSpace
from kgated.search.measurement.device import LocalDevice
from kgated.search.measurement.files import Budget, FileBuilder, check_reachable
from kgated.search.options import possible_space
from kgated.study.splits import load_parts
from kgated.study.tasks import flattened_sequences

SPACE = SearchSpace(("gru",), (3,), (1,), (1, 2), (1,), quantizations=("int8",))


def sequences(rng, count, frames):
    """Sequences of two classes, around a place of their class."""
    y = np.arange(count) % 2
    rows = [rng.normal(3 * label, 0.4, (rng.integers(*frames), 3)) for label in y]
    return pad([row.astype(np.float32) for row in rows], y)


def test_a_class_of_one_group_stays_in_the_training_data(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(flattened_sequences, "FRAMES", (2,))
    plain = sequences(rng, 40, (3, 7))
    y = np.where(np.arange(40) < 4, 2, plain.y)  # of the first person alone
    groups = np.array([f"p{n // 4}_{n}" for n in range(40)])
    save_npz(tmp_path / "groups.npz", replace(plain, y=y, groups=groups))
    parts = load_parts(tmp_path / "groups.npz", group="(p[0-9]+)_")
    assert (parts.train.y == 2).sum() == 4
    assert parts.notes == tuple(
        f"The {part} data have no sequence of class 2." for part in ("validation", "test")
    )
    linear, _ = parts.task.baselines(parts.development, parts.test, parts.outputs)
    assert linear.outputs.shape == (len(parts.test), 3)
    assert parts.task.score(linear.outputs, parts.test).value(parts.task.metric) > 0.9


@pytest.mark.slow
def test_single_frames_with_a_constant_feature_and_text_labels_are_searched(rng, tmp_path):
    data = sequences(rng, 30, (1, 2))
    data.x[..., 1] = 7.0
    save_npz(tmp_path / "data.npz", replace(data, y=np.array(["left", "right"])[data.y]))
    parts = load_parts(tmp_path / "data.npz")
    assert parts.labels == ("left", "right")
    space = possible_space(SPACE, parts)
    assert space.strides == (1,)
    (tmp_path / "probes").mkdir()
    device_lock = contextlib.nullcontext
    builder = FileBuilder(LocalDevice(), parts, 0.01, tmp_path, device_lock, "worker")
    assert builder.probe(Design("gru", 3, quantize="dynamic")).fits(Budget(64.0))
    check_reachable(builder, space, Budget(64.0))
    with pytest.raises(ValueError, match="the nearest is ") as error:
        check_reachable(builder, space, Budget(0.5))
    assert "\n" not in str(error.value)
