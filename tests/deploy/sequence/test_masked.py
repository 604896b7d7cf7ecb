"""Masked recurrent layers in integers, also where calibration has padding alone at some steps."""

import keras
import numpy as np
import pytest
from kgated_edge import SequenceData, SequenceModel, selftest
from registry import randomized

import kgated

TIME, TOKENS, LONGEST = 8, 12, 4
CELLS = {
    "GRU": lambda **options: keras.layers.GRU(4, **options),
    "GRU reset_before": lambda **options: keras.layers.GRU(4, reset_after=False, **options),
    "LSTM": lambda **options: keras.layers.LSTM(4, **options),
    "SimpleRNN": lambda **options: keras.layers.SimpleRNN(4, **options),
    "kgated LSTM": lambda **options: kgated.LSTM(4, layer_norm=True, **options),
    "kgated PeepholeLSTM": lambda **options: kgated.PeepholeLSTM(4, **options),
    "kgated GRU": lambda **options: kgated.GRU(4, **options),
}
CASES = [  # cell, mask, lowering, quantize, whether there is a result per frame
    ("GRU", "zero", "unrolled", "int8", False),
    ("GRU reset_before", "both", "unrolled", "int8", True),
    ("LSTM", "zero", "while", "int8", False),
    ("LSTM", "Masking", "unrolled", "int16x8", True),
    ("SimpleRNN", "lengths", "while", "int8", True),
    ("kgated LSTM", "zero", "unrolled", "int8", False),
    ("kgated PeepholeLSTM", "Masking", "while", "int8", False),
    ("kgated GRU", "both", "unrolled", "int16x8", False),
]


def masked_model(cell, mask, per_frame):
    length = None if mask in ("lengths", "both") else TIME
    if mask == "Masking":
        first = [keras.Input((length, 3)), keras.layers.Masking()]
    else:
        embedding = keras.layers.Embedding(TOKENS, 3, mask_zero=mask != "lengths")
        first = [keras.Input((length,), dtype="int32"), embedding]
    recurrent = keras.layers.Bidirectional(CELLS[cell](return_sequences=per_frame))
    return keras.Sequential([*first, recurrent, keras.layers.Dense(2, activation="softmax")])


def sequences(mask, rng, longest):
    """Sequences of 1 to `longest` real frames of `TIME`, the rest padding of the mask's kind."""
    lengths = rng.integers(1, longest + 1, 16).astype(np.int64)
    x = rng.integers(1, TOKENS, (16, TIME)).astype(np.int32)
    if mask == "Masking":
        x = rng.normal(size=(16, TIME, 3)).astype(np.float32)
    if mask in ("zero", "Masking"):
        x[np.arange(TIME) >= lengths[:, None]] = 0
        lengths[:] = TIME
    return SequenceData(x, lengths)


@pytest.mark.parametrize(("cell", "mask", "lowering", "quantize", "per_frame"), CASES)
def test_steps_that_are_padding_in_all_of_the_calibration(
    cell, mask, lowering, quantize, per_frame, rng, tmp_path
):
    model, path = randomized(masked_model(cell, mask, per_frame), rng), tmp_path / "m.tflite"
    size = {"max_length" if mask in ("lengths", "both") else "length": TIME}
    options = {"mode": "sequence", "lowering": lowering, "quantize": quantize, **size}
    kgated.to_tflite(model, path, calibration=sequences(mask, rng, LONGEST), **options)
    assert selftest(path).passed
    edge, errors = SequenceModel(path), []
    longer = sequences(mask, rng, TIME)
    for length in np.unique(longer.lengths):  # a call of Keras for all sequences of one length
        frames = longer.x[longer.lengths == length, :length]
        results = np.stack([edge.run(sequence) for sequence in frames])
        errors.append(np.abs(results - np.asarray(model(frames))).max())
    limit = 0.02 if quantize == "int16x8" else 0.15
    assert max(errors) <= limit
