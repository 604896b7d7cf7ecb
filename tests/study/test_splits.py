"""Unusual data of a study: single tokens, huge tokens, groups that a pattern finds nothing in."""

import numpy as np
import pytest

from kgated.data import save_npz
from kgated.data.sequences import SequenceData
from kgated.study.splits import load_parts


def tokens(x, lengths=None):
    x = np.asarray(x, np.int32)
    lengths = np.full(len(x), x.shape[1]) if lengths is None else np.array(lengths)
    return SequenceData(x, lengths, None)


def test_sequences_of_a_single_token_are_left_out(tmp_path, rng):
    """They have no next token; a part of them alone would have no loss."""
    data = tokens(rng.integers(0, 4, (12, 10)), [1] * 6 + [10] * 6)
    save_npz(tmp_path / "d.npz", data)
    parts = load_parts(tmp_path / "d.npz")
    assert len(parts.train) + len(parts.validation) + len(parts.test) == 6
    assert min(part.lengths.min() for part in (parts.train, parts.validation, parts.test)) == 10


def test_huge_tokens_are_refused_before_a_model_has_an_output_for_each(tmp_path, rng):
    save_npz(tmp_path / "d.npz", tokens(rng.integers(0, 2, (12, 10)) * 2_000_000_000))
    with pytest.raises(ValueError, match=r"the largest token is 2000000000, .*: renumber"):
        load_parts(tmp_path / "d.npz")


def test_a_group_that_takes_no_part_in_a_match_is_refused(tmp_path, rng):
    data = SequenceData(
        rng.normal(size=(12, 4, 2)).astype(np.float32),
        np.full(12, 4),
        np.arange(12) % 2,
        groups=np.array([f"q{n}" if n else "p0" for n in range(12)]),
    )
    save_npz(tmp_path / "d.npz", data)
    with pytest.raises(ValueError, match=r"--group '.*' does not match 'p0'"):
        load_parts(tmp_path / "d.npz", group="(q)?[0-9]")
