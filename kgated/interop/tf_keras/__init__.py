"""kgated's cells and layers as tf_keras classes, for tensorflow-model-optimization (tfmot).

tfmot accepts only tf_keras models. Each class here, called a twin, is the tf_keras counterpart of a
kgated class: it computes by the same `kgated.steps`, has the same weights in the same order, and
implements tfmot's interfaces for pruning, clustering and quantization. Importing this package needs
`pip install "kgated[tfmot]"` and does not change the environment variables of the process.
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
