"""Data sets of sequences: built from folders of recordings, padded, split, saved; an example."""

from kgated_edge.evaluation.dataset import SequenceData, load_npz
from kgated_edge.evaluation.dataset_info import DataInfo

from kgated.data.building.augmentation import SensorAugmentation, SoundAugmentation
from kgated.data.building.data_sets import BuildOptions, Part
from kgated.data.building.from_folder import FrontEndOptions, LabelOptions, csv_to_npz, wav_to_npz
from kgated.data.dataset_writer import save_npz
from kgated.data.example_data import DataSet, japanese_vowels
from kgated.data.reading.csv_folder import CsvOptions
from kgated.data.sequences import (
    class_count,
    frame_class_count,
    is_real,
    pad,
    real_frames,
    split,
    split_recordings,
    take,
    zero_padded,
)
from kgated.data.splitting import assign_groups, parse_split

__all__ = [
    "BuildOptions",
    "CsvOptions",
    "DataInfo",
    "DataSet",
    "FrontEndOptions",
    "LabelOptions",
    "Part",
    "SensorAugmentation",
    "SequenceData",
    "SoundAugmentation",
    "assign_groups",
    "class_count",
    "csv_to_npz",
    "frame_class_count",
    "is_real",
    "japanese_vowels",
    "load_npz",
    "pad",
    "parse_split",
    "real_frames",
    "save_npz",
    "split",
    "split_recordings",
    "take",
    "wav_to_npz",
    "zero_padded",
]
