"""Objects that own an interpreter or states: a copy of one would share them."""

from typing import ClassVar, NoReturn, SupportsIndex


class NoCopies:
    """Refuses `copy.copy`, `copy.deepcopy` and `pickle`, which all call `__reduce_ex__`."""

    __slots__ = ()
    _instead: ClassVar[str]
    """What to do in place of a copy, for the message."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} can't be copied or pickled, since the copy would share its "
            f"tensors: {self._instead}"
        )


MODEL_INSTEAD = (
    "call clone() for a second one with the same file, save_state() and load_state() to move its "
    "states, or give another process the file's path"
)
