"""Errors of a database that fails in the middle of a study, as one line."""

import contextlib
import sys
from collections.abc import Iterator

from kgated.optional_imports import from_extra

AGAIN = "start the same command again: it continues where it stopped"


@contextlib.contextmanager
def storage_errors() -> Iterator[None]:
    """Turn an error of the database into one that says what to do.

    Raises:
        OSError: the database is lost or full, or another process took over a trial of this one; one
            line.
    """
    try:
        yield
    except Exception as error:
        message = _message(error)
        if message is None:
            raise
        raise OSError(f"{message}; {AGAIN}") from error


@contextlib.contextmanager
def version_errors() -> Iterator[None]:
    """Turn an error of reading what a trial has stored into one that names the cause.

    Raises:
        ValueError: fields are missing, or unknown.
    """
    try:
        yield
    except (TypeError, KeyError) as error:
        raise ValueError(
            f"the trials are those of another version of kgated ({error}): continue with that "
            "version, or name another folder or database"
        ) from None


def _message(error: Exception) -> str | None:
    """A message for an error of the database; None for any other error."""
    if "optuna" not in sys.modules:  # its absence may be the error
        return None
    database = from_extra("sqlalchemy.exc", "postgresql").SQLAlchemyError
    optuna = from_extra("optuna", "compare").exceptions
    if not isinstance(error, (database, optuna.StorageInternalError)):
        if not isinstance(error, optuna.UpdateFinishedTrialError):
            return None
        return "another process took over a trial, since the connection to the database was lost"
    # Only the first error of the chain has the reason.
    reasons = [
        str(e.orig) for e in _chain(error) if isinstance(e, database) and getattr(e, "orig", None)
    ]
    reason = (reasons or [str(error)])[-1].strip().splitlines()[0]
    return f"the database of --storage failed: {reason}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, its cause, the cause of that, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
