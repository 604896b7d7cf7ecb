"""Splits by group: no group on two sides, each class by its share where that is possible."""

import numpy as np
import pytest

from kgated.data import (
    SequenceData,
    assign_groups,
    parse_split,
    split,
    split_recordings,
    splitting,
)
from kgated.data.splitting import SplitError


def test_no_group_is_in_two_parts_and_classes_keep_their_fractions(rng):
    persons = np.repeat(np.arange(20), 12)
    labels = np.tile(np.repeat(np.arange(3), 4), 20)
    parts = assign_groups(persons.astype(str), labels, {"test": 0.2, "valid": 0.1}, seed=3)
    for person in range(20):
        assert len(set(parts[persons == person])) == 1
    for label in range(3):
        shares = [np.mean(parts[labels == label] == part) for part in ("train", "test", "valid")]
        assert shares == pytest.approx([0.7, 0.2, 0.1])


def test_each_part_has_a_rare_class_where_it_has_a_group_for_each():
    groups = [str(n) for n in range(23)]
    labels = ["common"] * 20 + ["rare"] * 3
    parts = assign_groups(groups, labels, {"test": 0.2, "valid": 0.1})
    assert sorted(parts[20:]) == ["test", "train", "valid"]


def test_the_seed_decides_and_repeats():
    groups, labels = [str(n) for n in range(40)], ["a", "b"] * 20
    again = [assign_groups(groups, labels, {"test": 0.25}, seed).tolist() for seed in (1, 1, 2)]
    assert again[0] == again[1] != again[2]


def test_a_class_of_which_nothing_is_left_for_training_is_refused():
    with pytest.raises(ValueError, match="nothing is left of class 'b' to train on"):
        assign_groups(["p", "q", "r"], ["a", "a", "b"], {"test": 0.9})


@pytest.mark.parametrize("seed", range(4))
def test_two_recordings_are_one_for_each_part(seed):
    """The classes of one are all in the other one, which stays to train on."""
    y = np.array([[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2]])
    data = SequenceData(np.zeros((2, 6, 1), np.float32), np.array([6, 6]), y)
    remaining, aside = split_recordings(data, 0.2, seed=seed)
    assert (remaining.y.tolist(), aside.y.tolist()) == ([y[1].tolist()], [y[0].tolist()])


def test_groups_of_about_the_same_size_are_swapped():
    counts = np.array([[40, 0], [3, 0], [9, 0], [2, 2], [30, 5]])
    assigned = np.array([0, 0, 0, 1, 1])
    splitting._swap_for_classes(counts, assigned)
    assert assigned.tolist() == [0, 1, 0, 0, 1]


def test_a_part_takes_no_last_recording_of_a_class():
    y = np.array([[0, 0, 1], [0, 0, 2]])
    data = SequenceData(np.zeros((2, 3, 1), np.float32), np.array([3, 3]), y)
    with pytest.raises(SplitError, match="nothing is left of class"):
        split_recordings(data, 0.2)


@pytest.mark.parametrize(
    "text", ["", "test", "test=x", "test=0", "test=1", "a=0.5,b=0.5", "train=0.5", "a=0.1,a=0.2"]
)
def test_parse_split_refuses_what_is_no_split(text):
    with pytest.raises(ValueError, match="--split must"):
        parse_split(text)


def test_parse_split_reads_fractions():
    assert parse_split("test=0.2, valid=0.1") == {"test": 0.2, "valid": 0.1}


def test_the_validation_part_of_training_holds_no_group_of_training(rng):
    groups = np.repeat([f"r{n}" for n in range(8)], 5)
    data = SequenceData(
        rng.normal(size=(40, 3, 2)).astype(np.float32),
        np.full(40, 3),
        np.repeat([0, 1] * 4, 5),
        groups=groups,
    )
    remaining, aside = split(data, 0.25)
    assert not set(remaining.groups) & set(aside.groups)
    assert (len(remaining), len(aside)) == (30, 10)
