"""The classic models on recurrent layers, and how a classifier is trained from a file."""

from kgated.models.classifier import train_classifier
from kgated.models.language import NEXT_TOKEN_LOSS, LanguageModel, bits_per_token, text_streams
from kgated.models.sequence import data_info, sequence_classifier

__all__ = [
    "NEXT_TOKEN_LOSS",
    "LanguageModel",
    "bits_per_token",
    "data_info",
    "sequence_classifier",
    "text_streams",
    "train_classifier",
]
