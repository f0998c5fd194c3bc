"""Tokenised rows, saved as axolotl saves them: whether any label is trained."""

import datasets
import pytest

from alphaf_orch.programs.common import Failure
from alphaf_orch.programs.training.trained_tokens import check_trained_tokens


def saved(place, labels):
    rows = {"input_ids": [[1, 2, 3]] * len(labels), "labels": labels}
    datasets.Dataset.from_dict(rows).save_to_disk(str(place / "abc"))
    return place


def test_the_tokens_that_are_trained_are_counted(tmp_path):
    assert check_trained_tokens(saved(tmp_path, [[-100, 2, 3], [-100, -100, -100]])) == (
        "trained tokens: 2 of 6 in 2 rows"
    )


def test_rows_whose_every_label_is_masked_are_refused(tmp_path):
    with pytest.raises(Failure, match="every label is masked: no token of 3 tokenised rows is trained") as refused:
        check_trained_tokens(saved(tmp_path, [[-100] * 3] * 3))
    assert refused.value.code == 3


def test_rows_without_labels_say_nothing_of_masks(tmp_path):
    datasets.Dataset.from_dict({"input_ids": [[1]]}).save_to_disk(str(tmp_path / "abc"))
    assert check_trained_tokens(tmp_path) == "trained tokens: 0 of 0 in 0 rows"
