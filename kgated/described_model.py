"""A Sequential model that keeps what its data set says: class names, period, front end."""

from collections.abc import Mapping
from typing import Any

import keras


@keras.saving.register_keras_serializable("kgated")
class DescribedSequential(keras.Sequential):
    """A Sequential model with a description of its frames and classes, saved in its configuration.

    Args:
        layers, trainable, name: as for `keras.Sequential`.
        data_info: `DataInfo.to_plain()` of the data set that it is trained on.
    """

    def __init__(
        self,
        layers: Any = None,
        trainable: bool = True,
        name: str | None = None,
        data_info: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(layers, trainable=trainable, name=name)
        self.data_info = PlainInfo(data_info or {})

    def get_config(self) -> dict[str, Any]:
        """The configuration of the layers, and the description."""
        return {**super().get_config(), "data_info": dict(self.data_info.document)}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "DescribedSequential":
        """Build the model from `get_config()`."""
        document = config.get("data_info", {})
        layers = {name: value for name, value in config.items() if name != "data_info"}
        model: DescribedSequential = super().from_config(layers, custom_objects)
        model.data_info = PlainInfo(document)
        return model


class PlainInfo:
    """A document of JSON on a model: Keras would track a dict, and its lists, as layers."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = dict(document)
