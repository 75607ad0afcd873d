from __future__ import annotations

from typing import Any

import pytest
import torch

from audit.lab.builder import Kitchen
from audit.lab.data import collate
from audit.lab.losses import answer_loss, keep_loss, sum_per_row, token_losses


def test_losses_agree_with_the_model_s_own(kitchen: Kitchen, micro_model: Any) -> None:
    batch = collate(kitchen.data.retain, range(7))
    with torch.no_grad():
        for ours, labels in ((keep_loss, batch.labels), (answer_loss, batch.answers)):
            theirs = micro_model(input_ids=batch.ids, labels=labels).loss
            assert ours(micro_model, batch).item() == pytest.approx(theirs.item(), abs=1e-5)


def test_padding_changes_nothing(kitchen: Kitchen, micro_model: Any) -> None:
    together = collate(kitchen.data.retain, range(6))
    with torch.no_grad():
        joint = token_losses(micro_model, together, together.labels)
        alone = [collate(kitchen.data.retain, [row]) for row in range(6)]
        single = torch.cat([token_losses(micro_model, one, one.labels) for one in alone])
    torch.testing.assert_close(joint, single, atol=1e-5, rtol=0)


def test_sum_per_row_by_hand() -> None:
    labels = torch.tensor([[-100, 4, 5], [-100, -100, -100], [-100, -100, 6]])
    assert sum_per_row(torch.tensor([1.0, 2.0, 4.0]), labels).tolist() == [3.0, 0.0, 4.0]
