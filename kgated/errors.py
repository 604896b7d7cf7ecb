"""The errors a user of kgated can meet beside ValueError and TypeError."""


class ConversionError(Exception):
    """A model can't become the `.tflite` file asked for; the message says why and the way out."""
