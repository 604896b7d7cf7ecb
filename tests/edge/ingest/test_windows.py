"""A model that was trained on windows, in an endless stream."""

import json

import numpy as np
import pytest
from kgated_edge import EdgeError, EdgeModel
from kgated_edge.ingest.windows import WindowedModel


@pytest.mark.parametrize(("window", "hop"), [(6, 2), (7, 3), (5, 5), (4, 1), (1, 1)])
def test_each_result_is_that_of_its_window(speech, rng, window, hop):
    frames = rng.normal(size=(40, 3)).astype(np.float32)
    model, single = WindowedModel(EdgeModel(speech), window, hop), EdgeModel(speech)
    results = {t: r for t, frame in enumerate(frames) if (r := model.step(frame)) is not None}
    assert list(results) == list(range(window - 1, 40, hop))
    for t, result in results.items():
        single.reset()
        assert np.array_equal(single.run(frames[t + 1 - window : t + 1])[-1], result)
    model.reset()
    assert [model.step(frame) is None for frame in frames[:window]] == [True] * (window - 1) + [
        False
    ]


def test_live_in_windows(command, speech, tmp_path):
    frames, path = np.random.default_rng(0).normal(size=(20, 3)).astype("f"), tmp_path / "f.npy"
    np.save(path, frames)
    code, out, _ = command("live", speech, path, "--window", "0.08", "--hop", "0.04")
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["step"] for line in lines] == [8, 12, 16, 20]
    expected = EdgeModel(speech).run(frames[12:])[-1]
    assert np.array_equal(np.array(lines[-1]["outputs"]["output"], np.float32), expected)


def test_windows_that_cannot_be(speech):
    for window, hop, message in ((4, 5, "1 to 4 steps"), (1000, 1, "needs 1000 copies")):
        with pytest.raises(EdgeError, match=message):
            WindowedModel(EdgeModel(speech), window, hop)
