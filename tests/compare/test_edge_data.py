"""Data at the edge: a class that a part lacks, constant features, single frames, text labels."""

from dataclasses import replace

import numpy as np
import pytest

from kgated.compare.splits import load_parts
from kgated.data import pad, save_npz
from kgated.search.options import possible_space
from kgated.search.space import Design, SearchSpace


def sequences(rng, count=30, classes=2, frames=(3, 7)):
    y = np.arange(count) % classes
    rows = [rng.normal(3 * label, 0.4, (rng.integers(*frames), 3)) for label in y]
    return pad([row.astype(np.float32) for row in rows], y)


def test_a_class_of_one_group_is_noted_where_a_part_lacks_it(rng, tmp_path):
    plain = sequences(rng, 40)
    y = np.where(np.arange(40) < 4, 2, plain.y)  # of the first person alone
    groups = np.array([f"p{n // 4}_{n}" for n in range(40)])
    save_npz(tmp_path / "groups.npz", replace(plain, y=y, groups=groups))
    parts = load_parts(tmp_path / "groups.npz", group="(p[0-9]+)_")
    lacking = {
        name: f"The {name} data have no sequence of class 2." for name in ("validation", "test")
    }
    for name, part in (("validation", parts.validation), ("test", parts.test)):
        assert (lacking[name] in parts.notes) == (2 not in part.y)
    assert len(parts.notes) == 2
