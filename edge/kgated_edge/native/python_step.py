"""A step of a library as a function of CPython, without the costs of a call through ctypes.

The library is given pointers to functions of Python's stable ABI, so it is compiled without
Python's headers and fits every CPython from 3.11 on. The step holds the interpreter's lock, so it
is for steps of some microseconds.
"""

import ctypes
import sys
import sysconfig
from collections.abc import Callable
from typing import Any

from kgated_edge.format.tensor_spec import Array

_FUNCTIONS = (
    "PyObject_GetBuffer",
    "PyBuffer_Release",
    "PyErr_Clear",
    "PyObject_CallNoArgs",
    "PyTuple_GetItem",
    "PyLong_AsVoidPtr",
    "PyList_Size",
    "Py_IncRef",
)
_ENTRY = "kgated_python_1"
_MAX_NDIM = 8


class _Bound(ctypes.Structure):
    """The library's `kg_bound`."""

    _fields_ = (
        ("state", ctypes.c_void_p),
        ("output", ctypes.c_void_p),
        ("ndim", ctypes.c_ssize_t),
        ("shape", ctypes.c_ssize_t * _MAX_NDIM),
    )


def python_step(
    functions: Any, memory: Array, frame: Array, output: Array, idle: list[Any]
) -> Callable[[Any], Any] | None:
    """A function of a frame that runs one step and returns a new array.

    The function returns None and does nothing for a frame that it does not take: another type,
    shape or dtype, not contiguous, or with NaN or inf; and while `idle` is empty.

    Args:
        functions: the library.
        memory: the struct with the states.
        frame: an array of the frame's shape.
        output: float32, overwritten in each step.
        idle: empty while another thread uses the model.

    Returns:
        the function, which keeps the arrays; None where the library or this Python has none.
    """
    if not (_is_supported() and hasattr(functions, _ENTRY) and 1 <= frame.ndim <= _MAX_NDIM):
        return None
    entry = getattr(functions, _ENTRY)
    entry.argtypes, entry.restype = [ctypes.c_void_p], ctypes.c_void_p
    method = entry(_pointers())
    bound = _Bound(memory.ctypes.data, output.ctypes.data, frame.ndim, frame.shape)
    owned = (ctypes.addressof(bound), output.copy, idle, None, bound, memory)
    return _new_function()(method, owned, None)


def _is_supported() -> bool:
    """Whether this is CPython with the lock that the step relies on."""
    has_lock = not sysconfig.get_config_var("Py_GIL_DISABLED")
    return sys.implementation.name == "cpython" and has_lock


def _pointers() -> ctypes.Array[ctypes.c_void_p]:
    python = ctypes.pythonapi
    addresses = [ctypes.cast(getattr(python, name), ctypes.c_void_p) for name in _FUNCTIONS]
    return (ctypes.c_void_p * len(addresses))(*addresses)


def _new_function() -> Callable[[int, tuple[Any, ...], None], Callable[[Any], Any]]:
    """`PyCFunction_NewEx`: a function of a method's definition and its first argument."""
    form = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    return form(("PyCFunction_NewEx", ctypes.pythonapi))
