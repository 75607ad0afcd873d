"""Train a sparse autoencoder on states of the original with sae-lens (BatchTopK)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

BATCH = 1024
LEARNING_RATE = 1e-3
SCALING_BATCHES = 20


def train(
    states: np.ndarray,
    folder: Path,
    *,
    features: int,
    k: int,
    steps: int,
    seed: int,
    hook: str = "",
    progress: Callable[[float], None] = lambda fraction: None,
) -> None:
    """Train on states [tokens, width] and write the dictionary in sae-lens's own format into a folder.

    `progress` is called with the share of steps done and may raise to stop. The result depends on the states and the
    settings alone: the caller's random state is left as it was.
    Source: BatchTopK of Bussmann et al. 2024 (arXiv:2412.06410), sae-lens's SAETrainer.
    """
    import torch

    quiet_import()
    from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, SAETrainer
    from sae_lens.config import SAETrainerConfig

    batch = min(BATCH, len(states))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = BatchTopKTrainingSAEConfig(
            d_in=states.shape[1], d_sae=features, k=k, normalize_activations="expected_average_only_in"
        )
        config.metadata.hook_name = hook
        sae = BatchTopKTrainingSAE(config)
        total = (steps + SCALING_BATCHES) * batch
        feed = _batches(torch.from_numpy(states), batch, seed, steps + SCALING_BATCHES, progress)
        SAETrainer(
            SAETrainerConfig(
                total_training_samples=total - SCALING_BATCHES * batch,
                train_batch_size_samples=batch,
                lr=LEARNING_RATE,
                lr_end=LEARNING_RATE / 10,
                lr_decay_steps=steps // 5,
                dead_feature_window=max(20, steps // 20),
                feature_sampling_window=steps + 1,
                n_batches_for_norm_estimate=SCALING_BATCHES,
            ),
            sae,
            feed,
        ).fit()
    sae.save_inference_model(folder)


def _batches(
    states: torch.Tensor, batch: int, seed: int, expected: int, progress: Callable[[float], None]
) -> Iterator[torch.Tensor]:
    """Random batches without end, every state once per round."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    given = 0
    while True:
        order = torch.randperm(len(states), generator=generator)
        for begin in range(0, len(order) - batch + 1, batch):
            if given % 10 == 0:
                progress(min(1.0, given / expected))
            given += 1
            yield states[order[begin : begin + batch]]


def quiet_import() -> None:
    """Silence what sae-lens's dependencies say on being imported and while training: a job has its own progress."""
    import os

    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("WANDB_MODE", "disabled")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
