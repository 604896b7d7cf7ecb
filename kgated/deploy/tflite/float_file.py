"""A float file on its way through the conversion: objects, layers, and bytes where needed."""

from dataclasses import dataclass, field

from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite.flatbuffer import pack, parse
from kgated.deploy.tflite.layer_table import LayerTable


@dataclass
class FloatFile:
    """A float file as objects; the quantizer and the interpreter take its bytes.

    Attributes:
        model: the objects; whoever changes them calls `changed`.
        layers: which layer each operator comes from.
    """

    model: schema.ModelT
    layers: LayerTable
    _content: bytes | None = field(default=None, repr=False)

    @classmethod
    def from_bytes(cls, content: bytes, layers: LayerTable | None = None) -> "FloatFile":
        """Parse a file; the layers are by default those that its names tell."""
        model = parse(content)
        return cls(model, layers or LayerTable.from_names(model), content)

    @property
    def content(self) -> bytes:
        """The file's bytes, packed again only after a change."""
        if self._content is None:
            self._content = pack(self.model)
        return self._content

    def changed(self) -> None:
        """Note that the objects are no more what the bytes say."""
        self._content = None
