"""Classifiers and language models of recurrent layers, and their training from a file."""

from kgated.models.chance import ChanceWarning
from kgated.models.classifier import train_classifier
from kgated.models.frame import frame_classifier
from kgated.models.language import NEXT_TOKEN_LOSS, LanguageModel, bits_per_token, text_streams
from kgated.models.sequence import data_info, sequence_classifier
from kgated.models.streaming import train_streaming

__all__ = [
    "NEXT_TOKEN_LOSS",
    "ChanceWarning",
    "LanguageModel",
    "bits_per_token",
    "data_info",
    "frame_classifier",
    "sequence_classifier",
    "text_streams",
    "train_classifier",
    "train_streaming",
]
