"""Errors that this package raises.

Every message is one line: the subject, the rule, what was received, and what to do.
"""


class EdgeError(ValueError):
    """Base of all errors below; the command line turns it into exit code 2."""


class ManifestError(EdgeError):
    """A model file that cannot be run: missing, damaged, or not made by `kgated convert`."""


class FrameError(EdgeError):
    """A frame that the model does not accept; the state is as before the call."""


class NotFiniteError(FrameError):
    """A frame with NaN or inf; the state is as before the call."""


class StateError(EdgeError):
    """A state that the model does not accept; the state is as before the call."""


class DataError(EdgeError):
    """An `.npz` file, or arrays in it, that break the data contract."""


def cannot_run(error: RuntimeError) -> EdgeError:
    """The error for an exception of the interpreter during a step."""
    reason = " ".join(str(error).split())
    return EdgeError(f"the interpreter cannot run this model: {reason}: convert it again")
