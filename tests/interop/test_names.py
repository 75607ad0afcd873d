"""Folder names by the conventions of section 1.4 of the tools' descriptions."""

from __future__ import annotations

import re
from pathlib import PurePosixPath as P

import pytest

from audit.casefile import NAME
from audit.interop.names import named_by, parse, short


def test_method_and_hyper_parameters() -> None:
    name = parse("open-unlearning/unlearn_tofu_Llama-3.2-1B-Instruct_forget10_NPO_lr1e-05_beta0.5_alpha1_epoch10")
    assert (name.benchmark, name.model, name.split, name.method) == ("tofu", "Llama-3.2-1B-Instruct", "forget10", "NPO")
    assert name.parameters == {"lr": "1e-05", "beta": "0.5", "alpha": "1", "epochs": "10"}
    assert name.role == "candidate"


@pytest.mark.parametrize(
    ("text", "method", "role", "parameters"),
    [
        ("tofu_Llama-3.2-1B-Instruct_full", "full", "original", {}),
        ("tofu_Llama-3.2-1B-Instruct_retain90", "retain90", "reference", {}),
        ("muse_Llama-2-7b-hf_News_target", "target", "original", {}),
        ("muse_Llama-2-7b-hf_News_retrain", "retrain", "reference", {}),
        ("ft_epoch5_lr1e-05_llama2-7b_retain99_wd0.01", "retain99", "reference",
         {"epochs": "5", "lr": "1e-05", "weight_decay": "0.01"}),
        ("unlearn_tofu_Llama-3.2-1B-Instruct_forget10_RMU_layer5_scoeff10_epoch10", "RMU", "candidate",
         {"layer": "5", "steering_coefficient": "10", "epochs": "10"}),
        ("unlearn_tofu_Llama-3.2-1B-Instruct_forget10_SimNPO_lr5e-05_b3.5_a1_d1_g0.125_ep5", "SimNPO", "candidate",
         {"lr": "5e-05", "beta": "3.5", "alpha": "1", "delta": "1", "gamma": "0.125", "epochs": "5"}),
        ("npo_lr1e5_b01_a5_ep5", "npo", "candidate", {"lr": "1e5", "beta": "01", "alpha": "5", "epochs": "5"}),
    ],
)  # fmt: skip
def test_conventions(text: str, method: str, role: str, parameters: dict[str, str]) -> None:
    name = parse(text)
    assert (name.method, name.role, name.parameters) == (method, role, parameters)


def test_the_model_is_the_folder_above_evals() -> None:
    root = P("/data")
    assert named_by(P("/data/saves/unlearn/tofu_X_NPO/evals"), root) == "tofu_X_NPO"
    assert named_by(P("/data/tofu_X_NPO/checkpoint-60/evals"), root) == "tofu_X_NPO checkpoint-60"
    assert named_by(P("/data/tofu_X_full/evals_forget10"), root) == "tofu_X_full evals_forget10"
    assert named_by(P("/data/m/eval_results/ds_size300"), root) == "m"


def test_candidate_names_are_short_unique_and_folders() -> None:
    long = "unlearn_tofu_Llama-3.2-1B-Instruct_forget10_SimNPO_lr5e-05_b3.5_a1_d1_g0.125_ep5_and_more_of_it"
    taken: dict[str, str] = {}
    for name in (long, long, long[:-1] + "u", "../../etc", "reference", "a/b:c*d", "", "x" * 200, "é" * 80):
        made = short(name, taken)
        assert NAME.fullmatch(made) and made.casefold() not in taken and not re.search(r"[/\\]", made)
        taken[made.casefold()] = made
    assert "reference (2)" in taken.values()
    assert short("floor", {}) == "floor (2)" and short("second reference", {}) == "second reference (2)"
