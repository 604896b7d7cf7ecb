"""The errors a user of kgated can meet beside ValueError and TypeError."""


class ConversionError(Exception):
    """A model can't become the `.tflite` file asked for; the message says why and the way out."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message that says something."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), repr(error))
