"""PyTorch's other layers, modules and files, against PyTorch itself."""

import keras
import numpy as np
import pytest
from registry import values

from kgated.interop import from_torch

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
nn = torch.nn

# PyTorch's own remark on its way to pad an even kernel.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

T, F, U = 9, 4, 6


def trained(module, seed=0):
    """The module with random weights and statistics, for inference."""
    torch.manual_seed(seed)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + 0.2)
    return module.eval()


def run(module, x):
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy()


def chain(layers, x):
    for layer in layers:
        x = layer(x)
    return values(x)


FRAMES = {
    "Linear": lambda: nn.Linear(F, U),
    "Linear without bias": lambda: nn.Linear(F, U, bias=False),
    "LayerNorm": lambda: nn.LayerNorm(F, eps=0.1),
    "LayerNorm without bias": lambda: nn.LayerNorm(F, bias=False),
    "LayerNorm without weights": lambda: nn.LayerNorm(F, elementwise_affine=False),
}
CHANNELS = {
    "BatchNorm1d": lambda: nn.BatchNorm1d(F, eps=0.1, momentum=0.3),
    "BatchNorm1d without weights": lambda: nn.BatchNorm1d(F, affine=False),
    "Conv1d": lambda: nn.Conv1d(F, U, 3),
    "Conv1d same": lambda: nn.Conv1d(F, U, 4, padding="same"),
    "Conv1d of odd size with padding": lambda: nn.Conv1d(F, U, 3, padding=1, bias=False),
    "Conv1d with dilation and padding": lambda: nn.Conv1d(F, U, 3, padding=3, dilation=2),
    "Conv1d with stride and padding": lambda: nn.Conv1d(F, U, 3, padding=1, stride=2),
    "Conv1d in groups": lambda: nn.Conv1d(F, U, 2, groups=2),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_layer_of_frames(name, rng):
    module, x = trained(FRAMES[name]()), rng.normal(size=(2, T, F)).astype(np.float32)
    layers = from_torch(module)
    assert len(layers) == 1
    assert np.abs(chain(layers, x) - run(module, x)).max() < 1e-5
    if module.state_dict():
        changed = trained(FRAMES[name](), seed=1)
        assert np.abs(chain(layers, x) - run(changed, x)).max() > 1e-2


@pytest.mark.parametrize("name", CHANNELS)
def test_a_layer_with_channels_first_takes_them_last(name, rng):
    module, x = trained(CHANNELS[name]()), rng.normal(size=(2, T, F)).astype(np.float32)
    expected = run(module, x.transpose(0, 2, 1)).transpose(0, 2, 1)
    y = chain(from_torch(module), x)
    assert y.shape == expected.shape
    assert np.abs(y - expected).max() < 1e-5


def test_batch_norm_goes_on_as_it_did():
    (layer,) = from_torch(nn.BatchNorm1d(F, momentum=0.3))
    assert layer.momentum == pytest.approx(0.7)


def test_an_embedding(rng):
    module, tokens = trained(nn.Embedding(7, F)), rng.integers(0, 7, (2, T))
    (layer,) = from_torch(module)
    np.testing.assert_array_equal(values(layer(tokens)), run(module, tokens))


def test_a_causal_convolution_that_drops_its_end(rng):
    """The usual form in PyTorch: padded on both sides, the last frames cut off."""
    module, x = trained(nn.Conv1d(F, U, 3, padding=2)), rng.normal(size=(2, T, F))
    x = x.astype(np.float32)
    expected = run(module, x.transpose(0, 2, 1))[..., :T].transpose(0, 2, 1)
    (layer,) = from_torch(module, padding="causal")
    assert np.abs(values(layer(x)) - expected).max() < 1e-5


STATE_DICTS = {
    "Linear": ((nn.Linear(F, U), {}), (nn.Linear(F, U, bias=False), {"kind": "Linear"})),
    "Embedding": ((nn.Embedding(7, F), {"kind": "Embedding"}),),
    "Normalization": ((nn.LayerNorm(F), {}), (nn.BatchNorm1d(F), {})),
    "Conv1D": ((nn.Conv1d(F, U, 3), {}), (nn.Conv1d(F, U, 3, stride=2), {"strides": 2})),
}


@pytest.mark.parametrize("kind", STATE_DICTS)
def test_a_state_dict_gives_the_layer_of_its_module(kind):
    for module, options in STATE_DICTS[kind]:
        expected, layers = (from_torch(trained(module)), from_torch(module.state_dict(), **options))
        for item, loaded in zip(expected, layers, strict=True):
            assert item.get_config().keys() == loaded.get_config().keys()
            for option in ("strides", "epsilon", "padding", "use_bias"):
                assert getattr(item, option, None) == getattr(loaded, option, None)
            for a, b in zip(item.get_weights(), loaded.get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)


class Tagger(nn.Module):
    """A typical user module: several layers, and a custom `forward`."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(F)
        self.lstm = nn.LSTM(F, U, bidirectional=True, batch_first=True)
        self.head = nn.Linear(2 * U, 3)

    def forward(self, x):
        out, (h, _) = self.lstm(self.norm(x))
        return self.head(out), self.head(out[:, -1]), self.head(torch.cat([h[-2], h[-1]], dim=1))


@pytest.fixture
def tagger():
    torch.manual_seed(3)
    return Tagger().eval()


def test_a_whole_model_from_its_file_and_both_ends_of_a_sequence(tagger, tmp_path, rng):
    x = rng.normal(size=(2, T, F)).astype(np.float32)
    with torch.no_grad():
        frames, last_frame, last_states = (y.numpy() for y in tagger(torch.from_numpy(x)))
    path = tmp_path / "weights.pt"
    torch.save(tagger.state_dict(), path)
    norm, both, head = (from_torch(path, prefix=f"{n}.")[0] for n in ("norm", "lstm", "head"))
    model = keras.Sequential([keras.Input((None, F)), norm, both, head])
    assert np.abs(values(model(x)) - frames).max() < 1e-5
    assert np.abs(values(model(x))[:, -1] - last_frame).max() < 1e-5
    (both,) = from_torch(path, prefix="lstm.", return_sequences=False)
    ends = keras.Sequential([keras.Input((None, F)), norm, both, head])
    assert np.abs(values(ends(x)) - last_states).max() < 1e-5
    assert np.abs(values(ends(x)) - last_frame).max() > 1e-2


def test_a_checkpoint_and_a_module_by_prefix(tagger, tmp_path):
    torch.save({"epoch": 3, "model_state_dict": tagger.state_dict()}, tmp_path / "c.pt")
    for source in (tmp_path / "c.pt", str(tmp_path / "c.pt"), tagger):
        (head,) = from_torch(source, prefix="head.")
        np.testing.assert_array_equal(head.get_weights()[0], tagger.head.weight.detach().numpy().T)


def test_what_is_no_layer_is_refused_with_the_way_out(tagger, tmp_path):
    with pytest.raises(ValueError, match=r"one of \['norm\.', 'lstm\.', 'head\.'\]"):
        from_torch(tagger)
    with pytest.raises(ValueError, match="`kind='Linear'` or `kind='Embedding'`"):
        from_torch(nn.Embedding(3, 2).state_dict())
    with pytest.raises(ValueError, match="max_norm"):
        from_torch(nn.Embedding(3, 2, max_norm=1.0))
    with pytest.raises(ValueError, match="padding_mode='circular'"):
        from_torch(nn.Conv1d(F, U, 3, padding=1, padding_mode="circular"))
    with pytest.raises(ValueError, match="normalized_shape"):
        from_torch(nn.LayerNorm((T, F)))
    with pytest.raises(ValueError, match="track_running_stats"):
        from_torch(nn.BatchNorm1d(F, track_running_stats=False))
    with pytest.raises(ValueError, match=r"must be one nn\.LSTM"):
        from_torch(nn.Conv2d(1, 1, 3))
    with pytest.raises(ValueError, match="leave out activation"):
        from_torch(nn.LSTM(F, U), activation="relu")
    with pytest.raises(TypeError, match="Received: int"):
        from_torch(3)


def test_files_that_hold_more_than_tensors(tagger, tmp_path):
    torch.save(tagger, tmp_path / "module.pt")
    with pytest.raises(ValueError, match=r"torch\.save\(model\.state_dict\(\)"):
        from_torch(tmp_path / "module.pt")
    torch.save({"epoch": 3, "loss": 0.5}, tmp_path / "numbers.pt")
    with pytest.raises(ValueError, match="and no tensors"):
        from_torch(tmp_path / "numbers.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ValueError, match="more than tensors"):
        from_torch(tmp_path / "text.pt")
    with pytest.raises(ValueError, match="no such file"):
        from_torch(tmp_path / "none.pt")
