"""Size and time of a design, stored for all processes of a search."""

from contextlib import nullcontext

import numpy as np
import pytest

from kgated.data import pad, save_npz
from kgated.search.design.space import Design
from kgated.search.measurement.device import LocalDevice
from kgated.search.measurement.files import FileBuilder, FileCost
from kgated.study.splits import load_parts


@pytest.mark.parametrize("content", ["{", '{"other_version": 1}', "[]"])
def test_a_stored_probe_that_is_damaged_is_measured_again(rng, tmp_path, monkeypatch, content):
    cost, measured = FileCost(900, 500, 2.0, 3.0, None), []
    monkeypatch.setattr(FileBuilder, "convert", lambda *_: None)
    monkeypatch.setattr(FileBuilder, "measure", lambda *_: measured.append(1) or (cost, 1.0))
    data = tmp_path / "data.npz"
    save_npz(data, pad(list(rng.normal(size=(12, 5, 2)).astype(np.float32)), np.arange(12) % 2))
    builder = FileBuilder(LocalDevice(), load_parts(data), 0.01, tmp_path, nullcontext, "worker")
    (tmp_path / "probes").mkdir()
    design = Design("gru", 2)
    path = tmp_path / "probes" / f"{design.name}.json"
    path.write_text(content)
    assert builder.probe(design) == builder.probe(design) == cost
    assert len(measured) == 1
