"""Our cells and layers in tf_keras, for tensorflow-model-optimization.

That package knows tf_keras models alone. A twin computes by the same `kgated.steps`, has the same
weights in the same order, and implements what tfmot asks of a layer that it prunes, clusters or
quantizes. Importing this needs `pip install "kgated[tfmot]"`, and leaves the environment as it was.
"""

from kgated.interop.tf_keras.cells import (
    TwinGRUCell,
    TwinLSTMCell,
    TwinMinGRUCell,
    TwinMinLSTMCell,
    TwinPeepholeLSTMCell,
)
from kgated.interop.tf_keras.layers import (
    RecurrentQuantizeConfig,
    TwinBidirectional,
    TwinGRU,
    TwinLSTM,
    TwinMinGRU,
    TwinMinLSTM,
    TwinPeepholeLSTM,
    scope,
)
from kgated.interop.tf_keras.models import from_tf_keras, to_tf_keras
from kgated.interop.tf_keras.packages import tf_keras, tfmot

__all__ = [
    "RecurrentQuantizeConfig",
    "TwinBidirectional",
    "TwinGRU",
    "TwinGRUCell",
    "TwinLSTM",
    "TwinLSTMCell",
    "TwinMinGRU",
    "TwinMinGRUCell",
    "TwinMinLSTM",
    "TwinMinLSTMCell",
    "TwinPeepholeLSTM",
    "TwinPeepholeLSTMCell",
    "from_tf_keras",
    "scope",
    "tf_keras",
    "tfmot",
    "to_tf_keras",
]
