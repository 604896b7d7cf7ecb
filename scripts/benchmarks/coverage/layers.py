"""A row for each layer of `keras.layers` that can occur in a model of sequences."""

import keras

from benchmarks.coverage.rows import FRAMES, SUBJECT, TOKENS, Row, frames, images, raw, tokens

L = keras.layers
N = {"name": SUBJECT}


def _two(kind: type) -> Row:
    """A merging layer of two branches."""
    return frames(kind.__name__, lambda y: kind(**N)([y, L.Dense(4, name="branch")(y)]))


def _plain(kind: type, **options: object) -> Row:
    return frames(kind.__name__, lambda y: kind(**options, **N)(y))


def _per_frame(kind: type, *arguments: object, size: int = 4, **options: object) -> Row:
    """A layer of images, applied to each frame of a video."""
    name = f"{kind.__name__} (TimeDistributed)"
    return images(name, lambda y: L.TimeDistributed(kind(*arguments, **options), **N)(y), size=size)


def _spectrogram(kind: type, *arguments: object, **options: object) -> Row:
    """A layer of images, with time as an axis of the image (B, T, F, 1)."""

    def call(y):  # type: ignore[no-untyped-def]
        grid = L.Reshape((FRAMES, 4, 1), name="grid")(y)
        return kind(*arguments, **options, **N)(grid)

    return frames(f"{kind.__name__} (of a spectrogram)", call, length=FRAMES)


def _volume(kind: type, *arguments: object, **options: object) -> Row:
    """A layer of volumes, with time as the first axis (B, T, H, W, C)."""
    return images(kind.__name__, lambda y: kind(*arguments, **options, **N)(y), length=FRAMES)


def _masked_both_ways(kind: type, each: bool) -> Row:
    """A recurrent layer of tokens, some of them padding, in both directions."""

    def call(x):  # type: ignore[no-untyped-def]
        y = L.Embedding(TOKENS, 4, mask_zero=True)(x)
        return L.Bidirectional(kind(2, return_sequences=each), **N)(y)

    result = "each result" if each else "last result"
    return tokens(f"Bidirectional ({kind.__name__}, masked, {result})", call)


RECURRENT = [
    frames("LSTM", lambda y: L.LSTM(3, return_sequences=True, **N)(y)),
    frames("LSTM (last result)", lambda y: L.LSTM(3, **N)(y)),
    frames("LSTM (go_backwards)", lambda y: L.LSTM(3, go_backwards=True, **N)(y)),
    frames("GRU", lambda y: L.GRU(3, return_sequences=True, **N)(y)),
    frames("GRU (reset before)", lambda y: L.GRU(3, reset_after=False, **N)(y)),
    frames("SimpleRNN", lambda y: L.SimpleRNN(3, return_sequences=True, **N)(y)),
    frames("RNN", lambda y: L.RNN(L.GRUCell(3), **N)(y)),
    frames("LSTMCell (RNN)", lambda y: L.RNN(L.LSTMCell(3), return_sequences=True, **N)(y)),
    frames("GRUCell (RNN)", lambda y: L.RNN(L.GRUCell(3), return_sequences=True, **N)(y)),
    frames("SimpleRNNCell (RNN)", lambda y: L.RNN(L.SimpleRNNCell(3), **N)(y)),
    frames(
        "StackedRNNCells (RNN)",
        lambda y: L.RNN(L.StackedRNNCells([L.LSTMCell(3), L.GRUCell(2)]), **N)(y),
    ),
    frames(
        "Bidirectional (LSTM)",
        lambda y: L.Bidirectional(L.LSTM(2, return_sequences=True), **N)(y),
    ),
    frames("Bidirectional (GRU)", lambda y: L.Bidirectional(L.GRU(2), merge_mode="sum", **N)(y)),
    *(_masked_both_ways(kind, each) for kind in (L.LSTM, L.GRU) for each in (True, False)),
    frames(
        "ConvLSTM1D",
        lambda y: L.ConvLSTM1D(2, 3, **N)(L.TimeDistributed(L.Reshape((4, 1)), name="rows")(y)),
    ),
    images("ConvLSTM2D", lambda y: L.ConvLSTM2D(2, 3, padding="same", **N)(y)),
    frames(
        "ConvLSTM3D",
        lambda y: L.ConvLSTM3D(2, 2, padding="same", **N)(
            L.TimeDistributed(L.Reshape((2, 2, 2, 1)), name="volume")(y)
        ),
        width=8,
    ),
    frames("TimeDistributed (Dense)", lambda y: L.TimeDistributed(L.Dense(3), **N)(y)),
    images(
        "TimeDistributed (GRU)",
        lambda y: L.TimeDistributed(L.GRU(3), **N)(
            L.TimeDistributed(L.Reshape((4, 8)), name="rows")(y)
        ),
    ),
]
CONVOLUTION = [
    frames("Conv1D (causal)", lambda y: L.Conv1D(3, 3, padding="causal", **N)(y)),
    frames(
        "Conv1D (causal, dilated)",
        lambda y: L.Conv1D(3, 2, padding="causal", dilation_rate=2, **N)(y),
    ),
    frames("Conv1D (causal, strided)", lambda y: L.Conv1D(3, 3, 2, padding="causal", **N)(y)),
    frames("Conv1D (causal, groups)", lambda y: L.Conv1D(4, 3, padding="causal", groups=2, **N)(y)),
    frames("Conv1D (same)", lambda y: L.Conv1D(3, 3, padding="same", **N)(y)),
    frames("Conv1D (valid)", lambda y: L.Conv1D(3, 3, **N)(y), length=FRAMES),
    frames(
        "Conv1D (relu6)", lambda y: L.Conv1D(3, 2, padding="causal", activation="relu6", **N)(y)
    ),
    frames("DepthwiseConv1D (same)", lambda y: L.DepthwiseConv1D(3, padding="same", **N)(y)),
    frames(
        "DepthwiseConv1D (after ZeroPadding1D)",
        lambda y: L.DepthwiseConv1D(3, **N)(L.ZeroPadding1D((2, 0))(y)),
    ),
    frames("SeparableConv1D (same)", lambda y: L.SeparableConv1D(3, 3, padding="same", **N)(y)),
    frames(
        "SeparableConv1D (after ZeroPadding1D)",
        lambda y: L.SeparableConv1D(3, 3, **N)(L.ZeroPadding1D((2, 0))(y)),
    ),
    frames("Conv1DTranspose", lambda y: L.Conv1DTranspose(3, 3, 2, **N)(y), length=FRAMES),
    _spectrogram(L.Conv2D, 2, 3, padding="same"),
    _spectrogram(L.DepthwiseConv2D, 3, padding="same"),
    _spectrogram(L.SeparableConv2D, 2, 3, padding="same"),
    _spectrogram(L.Conv2DTranspose, 2, 3, 2),
    _per_frame(L.Conv2D, 2, 3, padding="same"),
    _per_frame(L.DepthwiseConv2D, 3),
    _per_frame(L.SeparableConv2D, 2, 3),
    _per_frame(L.Conv2DTranspose, 2, 2, 2),
    _volume(L.Conv3D, 2, 2, padding="same"),
    _volume(L.Conv3DTranspose, 2, 2),
]
POOLING = [
    frames("MaxPooling1D", lambda y: L.MaxPooling1D(2, **N)(y)),
    frames("MaxPooling1D (overlapping)", lambda y: L.MaxPooling1D(3, 1, "same", **N)(y)),
    frames("AveragePooling1D", lambda y: L.AveragePooling1D(2, **N)(y)),
    _plain(L.GlobalAveragePooling1D),
    _plain(L.GlobalMaxPooling1D),
    frames("AdaptiveAveragePooling1D", lambda y: L.AdaptiveAveragePooling1D(2, **N)(y), FRAMES),
    frames("AdaptiveMaxPooling1D", lambda y: L.AdaptiveMaxPooling1D(2, **N)(y), FRAMES),
    *(
        _per_frame(kind, 2)
        for kind in (
            *(L.MaxPooling2D, L.AveragePooling2D),
            *(L.AdaptiveAveragePooling2D, L.AdaptiveMaxPooling2D),
        )
    ),
    _per_frame(L.GlobalAveragePooling2D),
    _per_frame(L.GlobalMaxPooling2D),
    *(
        _volume(kind, 2)
        for kind in (
            *(L.MaxPooling3D, L.AveragePooling3D),
            *(L.AdaptiveAveragePooling3D, L.AdaptiveMaxPooling3D),
        )
    ),
    _volume(L.GlobalAveragePooling3D),
    _volume(L.GlobalMaxPooling3D),
]
SHAPES = [
    frames("Reshape", lambda y: L.Reshape((FRAMES // 2, 8), **N)(y), length=FRAMES),
    frames("Permute", lambda y: L.Permute((2, 1), **N)(y), length=FRAMES),
    frames("Flatten", lambda y: L.Flatten(**N)(y), length=FRAMES),
    _per_frame(L.Reshape, (2, 16)),
    _per_frame(L.Permute, (2, 1, 3)),
    _per_frame(L.Flatten),
    frames("RepeatVector", lambda y: L.RepeatVector(FRAMES, **N)(L.GRU(3)(y))),
    frames("Cropping1D", lambda y: L.Cropping1D(1, **N)(y), length=FRAMES),
    frames("ZeroPadding1D", lambda y: L.ZeroPadding1D(1, **N)(y)),
    frames("UpSampling1D", lambda y: L.UpSampling1D(2, **N)(y)),
    *(_per_frame(kind, 1) for kind in (L.Cropping2D, L.ZeroPadding2D)),
    _per_frame(L.UpSampling2D, 2),
    _per_frame(L.Resizing, 2, 2),
    _per_frame(L.CenterCrop, 2, 2),
    *(_volume(kind, 1) for kind in (L.Cropping3D, L.ZeroPadding3D)),
    _volume(L.UpSampling3D, 2),
]
ATTENTION = [
    frames("MultiHeadAttention", lambda y: L.MultiHeadAttention(2, 2, **N)(y, y)),
    frames(
        "MultiHeadAttention (causal)",
        lambda y: L.MultiHeadAttention(2, 2, **N)(y, y, use_causal_mask=True),
    ),
    frames("GroupQueryAttention", lambda y: L.GroupQueryAttention(2, 4, 2, **N)(y, y)),
    frames("Attention", lambda y: L.Attention(**N)([y, y])),
    frames("AdditiveAttention", lambda y: L.AdditiveAttention(**N)([y, y])),
]
MERGING = [
    *map(_two, (L.Add, L.Subtract, L.Multiply, L.Average, L.Maximum, L.Minimum, L.Concatenate)),
    frames("Concatenate (over time)", lambda y: L.Concatenate(axis=1, **N)([y, y])),
    frames("Dot", lambda y: L.Dot(axes=2, **N)([y, L.Dense(4)(y)]), length=FRAMES),
]
NORMALIZATION = [
    _plain(L.BatchNormalization),
    _plain(L.LayerNormalization),
    _plain(L.RMSNormalization),
    frames("GroupNormalization", lambda y: L.GroupNormalization(2, **N)(y)),
    _plain(L.UnitNormalization),
    frames("SpectralNormalization (Dense)", lambda y: L.SpectralNormalization(L.Dense(3), **N)(y)),
    frames(
        "Normalization",
        lambda y: L.Normalization(mean=[0.5] * 4, variance=[2.0, 1.0, 0.5, 3.0], **N)(y),
    ),
    _plain(L.Rescaling, scale=0.5, offset=0.2),
]
REGULARIZATION = [
    *(
        _plain(kind, rate=0.5)
        for kind in (L.Dropout, L.AlphaDropout, L.GaussianDropout, L.SpatialDropout1D)
    ),
    _plain(L.GaussianNoise, stddev=0.5),
    _plain(L.ActivityRegularization),
    _plain(L.Identity),
    _per_frame(L.SpatialDropout2D, 0.5),
    _volume(L.SpatialDropout3D, 0.5),
]
PER_FRAME = [
    _plain(L.Dense, units=3),
    frames("EinsumDense", lambda y: L.EinsumDense("btf,fg->btg", (None, 3), bias_axes="g", **N)(y)),
    frames("Lambda", lambda y: L.Lambda(lambda x: x * 2.0, **N)(y)),
    _plain(L.Activation, activation="tanh"),
    _plain(L.ReLU),
    frames("ReLU (all options)", lambda y: L.ReLU(1.5, 0.1, 0.2, **N)(y)),
    _plain(L.LeakyReLU),
    _plain(L.ELU),
    _plain(L.PReLU, shared_axes=[1]),
    frames("PReLU (a weight per frame)", lambda y: L.PReLU(**N)(y), length=FRAMES),
    _plain(L.Softmax),
    raw("Masking", lambda x: L.GRU(3)(L.Masking(**N)(x))),
]
TOKEN_LAYERS = [
    tokens("Embedding", lambda x: L.Embedding(TOKENS, 4, **N)(x)),
    tokens(
        "Embedding (masked)", lambda x: L.GRU(3)(L.Embedding(TOKENS, 4, mask_zero=True, **N)(x))
    ),
    tokens("ReversibleEmbedding", lambda x: L.ReversibleEmbedding(TOKENS, 4, **N)(x)),
    tokens(
        "CategoryEncoding",
        lambda x: L.CategoryEncoding(TOKENS, output_mode="one_hot", **N)(x),
        length=FRAMES,
    ),
    tokens(
        "Hashing",
        lambda x: L.Embedding(5, 4)(L.Hashing(5, **N)(x)),
    ),
    tokens(
        "HashedCrossing",
        lambda x: L.Embedding(5, 4)(L.HashedCrossing(5, **N)([x, x])),
    ),
    tokens(
        "IntegerLookup",
        lambda x: L.Embedding(9, 4)(L.IntegerLookup(vocabulary=[1, 2, 3, 4], **N)(x)),
    ),
    frames(
        "Discretization",
        lambda y: L.Embedding(3, 4)(L.Discretization(bin_boundaries=[-0.5, 0.5], **N)(y[:, :, 0])),
    ),
    frames(
        "Discretization (one_hot)",
        lambda y: L.Discretization(bin_boundaries=[-0.5, 0.5], output_mode="one_hot", **N)(y),
        width=1,
    ),
]
SOUND = [
    raw("STFTSpectrogram", lambda x: L.STFTSpectrogram("psd", 8, 4, 8, **N)(x), (32, 1)),
    raw("STFTSpectrogram (log)", lambda x: L.STFTSpectrogram("log", 8, 4, 8, **N)(x), (32, 1)),
    raw(
        "MelSpectrogram",
        lambda x: L.MelSpectrogram(8, 4, 8, num_mel_bins=4, sampling_rate=100, max_freq=50, **N)(
            x[:, :, 0]
        ),
        (32, 1),
    ),
]
ROWS = [
    *RECURRENT,
    *CONVOLUTION,
    *POOLING,
    *SHAPES,
    *ATTENTION,
    *MERGING,
    *NORMALIZATION,
    *REGULARIZATION,
    *PER_FRAME,
    *TOKEN_LAYERS,
    *SOUND,
]
