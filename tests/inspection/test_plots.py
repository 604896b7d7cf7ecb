"""The plots of gates and gradient flow."""

import sys

import keras
import numpy as np
import pytest
from registry import inputs

import kgated
from kgated import inspection


@pytest.fixture
def cells(rng):
    """One small model per cell, as the plots overlay them."""
    x, y = inputs(rng, time=8), rng.normal(size=(2, 4)).astype(np.float32)
    layers = {
        "LSTM": kgated.LSTM,
        "PeepholeLSTM": kgated.PeepholeLSTM,
        "GRU": kgated.GRU,
        "SimpleRNN": keras.layers.SimpleRNN,
    }
    models = {
        name: keras.Sequential([keras.Input((8, 3)), layer(4, name="rnn")])
        for name, layer in layers.items()
    }
    traces = {k: inspection.gate_activations(m, x)["rnn"] for k, m in models.items()}
    flows = {k: inspection.gradient_flow(m, x, y, "mse")["rnn"] for k, m in models.items()}
    return traces, flows


def test_plots_overlay_the_cells(cells, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: no plots to test")
    traces, flows = cells
    gates, flow = inspection.plot_gates(traces), inspection.plot_gradient_flow(flows)
    of = {axes.get_ylabel(): axes for axes in gates.axes}
    assert list(of) == ["i", "f", "o", "z", "r", "g", "c", "h"]
    assert [line.get_label() for line in of["h"].lines] == list(traces)
    assert [line.get_label() for line in of["z"].lines] == ["GRU"]
    np.testing.assert_allclose(
        of["f"].lines[0].get_ydata(), np.median(traces["LSTM"]["f"][0], axis=-1)
    )
    hidden, cell = flow.axes
    assert [line.get_label() for line in hidden.lines] == list(flows)
    assert [line.get_label() for line in cell.lines] == ["LSTM", "PeepholeLSTM"]
    np.testing.assert_array_equal(hidden.lines[2].get_ydata(), flows["GRU"]["h"])
    assert len({line.get_color() for line in hidden.lines}) == 4
    assert [text.get_text() for text in gates.legends[0].get_texts()] == list(traces)
    again = inspection.plot_gradient_flow(
        {"GRU": flows["GRU"]}, [hidden], {"GRU": {"color": "black", "linewidth": 3}}
    )
    assert again is flow
    assert (hidden.lines[-1].get_color(), hidden.lines[-1].get_linewidth()) == ("black", 3)
    for n, figure in enumerate((gates, flow)):
        figure.savefig(tmp_path / f"{n}.png")
        assert (tmp_path / f"{n}.png").stat().st_size > 10_000


def test_one_layer_needs_no_label(cells):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: no plots to test")
    traces, flows = cells
    gates = inspection.plot_gates(traces["GRU"])
    assert [axes.get_ylabel() for axes in gates.axes] == ["z", "r", "g", "h"]
    assert [axes.get_ylabel() for axes in inspection.plot_gradient_flow(flows["GRU"]).axes]
    with pytest.raises(ValueError, match="no recurrent layer"):
        inspection.plot_gates({})


def test_plots_say_which_extra_they_need(cells, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for draw, data in zip(
        (inspection.plot_gates, inspection.plot_gradient_flow), cells, strict=True
    ):
        with pytest.raises(ImportError, match=r"pip install .kgated\[demo\]"):
            draw(data)
