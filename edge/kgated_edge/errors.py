"""Errors that this package raises.

Every message is one line: the subject, the rule, what was received, and what to do.
"""

import errno


class EdgeError(ValueError):
    """Base of all errors below; the command line turns it into exit code 2."""


class ManifestError(EdgeError):
    """A model file that cannot be run: missing, damaged, or not made by `kgated convert`."""


class SignatureError(ManifestError):
    """A model file without the signature that the caller requires; it was not run."""


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


def readable(error: OSError) -> str:
    """The error in one line: the file, and what is wrong with it."""
    if error.filename is None or error.strerror is None:
        return str(error)
    remedy = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check the path"
    return f"{error.filename}: {error.strerror[:1].lower()}{error.strerror[1:]}: {remedy}"


def damage(error: Exception) -> str:
    """A few words on the defect of a file that NumPy can't load."""
    if "allow_pickle" in str(error):  # it takes whatever is no archive for a pickle
        return "it is no zip archive"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 80 else text[:77] + "..."
