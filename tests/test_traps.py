"""Ways to make an audit silently wrong, found in published code: each has tests that fail on the naive way.

This is the list. A test of it that is renamed or lost is noticed here.
"""

from __future__ import annotations

import ast

import pytest

from tests.conftest import ROOT

TRAPS: dict[str, tuple[str, ...]] = {
    "An adapter made on a residual base (LoKU, FILA) is put on the original: it loads and is another model.": (
        "subjects/test_adapter.py::test_step_zero_of_a_residual_base_is_the_original_and_neither_part_alone_is",
        "subjects/test_adapter.py::test_another_base_is_refused_although_it_would_load",
    ),
    "A guard (ECO) takes away the hooks that the audit set, so that captures hold nothing or old numbers.": (
        "subjects/systems/test_embedding_guard.py::test_hooks_of_the_audit_survive_the_guard",
    ),
    "A guard corrupts while the prompt is read; without a cache it would corrupt again at every step.": (
        "subjects/systems/test_embedding_guard.py::test_what_is_read_at_once_is_what_is_written_with_a_cache",
        "subjects/systems/test_embedding_guard.py::test_a_checkpoint_that_turns_its_cache_off_writes_the_same",
    ),
    "Tokens below the filter of a logit combination (ULD) keep the base's logits, and a filter of 0 tokens is none.": (
        "subjects/systems/test_logit_combination.py::test_tokens_below_the_filter_keep_the_base_s_logits",
        "subjects/systems/test_logit_combination.py::test_a_filter_that_is_less_than_one_token_lets_nothing_through",
        "subjects/systems/test_logit_combination.py::test_assistant_formula_weight_and_filter_are_the_subject",
        "subjects/systems/test_logit_combination.py::test_a_weight_that_was_not_meant_forgets_nothing",
    ),
    "Skill unlearning as released takes the mean for a deviation and a variance for another; the paper does not.": (
        "subjects/systems/test_skill_unlearning.py::"
        "test_the_released_code_takes_the_mean_for_the_deviation_and_variances",
        "subjects/systems/test_skill_unlearning.py::test_variants_places_and_coins_are_the_subject",
    ),
    "k-NN on the outputs (UUEF's code) is not k-NN on the representation (its paper).": (
        "images/test_truth.py::test_neighbours_on_features_and_on_outputs_differ_for_a_changed_head",
        "evidence/probes/test_knn.py::test_the_outputs_are_read_apart_from_the_states",
    ),
    "Biased CKA of a few items (UUEF: the mean over batches) calls noise alike, and has no null of two trainings.": (
        "evidence/drift/test_cka.py::test_the_mean_over_batches_is_larger_than_what_all_items_say_together",
        "evidence/drift/test_cka.py::test_unrelated_states_are_at_zero_only_when_debiased",
        "evidence/drift/test_second_reference.py::test_on_the_lab_two_trainings_differ_by_less_than_all",
    ),
    "An attack (UnLOK-VQA's code) reads whichever model is loaded and runs one attack whatever is asked for.": (
        "evidence/attacks/test_named_checkpoint.py::test_exchanged_in_the_case_their_numbers_are_exchanged",
        "evidence/attacks/test_named_checkpoint.py::test_the_naive_way_attacks_the_unedited_model_twice",
        "evidence/attacks/test_named_checkpoint.py::test_a_checkpoint_that_was_written_again_is_read_again",
        "evidence/attacks/test_lens.py::test_what_the_plain_projection_misses",
    ),
    "Extraction likelihood by the generation's n-grams (the paper) or by the text's (the code) are two numbers.": (
        "metrics/test_text.py::test_the_two_denominators_differ_where_a_model_stops_early",
    ),
    "Words of a value vector under each model's own unembedding differ where only the head was edited.": (
        "evidence/concepts/test_value_vectors.py::"
        "test_another_unembedding_alone_moves_no_vector_but_the_words_it_is_read_by",
    ),
    "What an attack recovers says nothing without the same attack on a model that never knew.": (
        "evidence/attacks/test_variations.py::test_the_amateur_sees_no_tested_fact_and_no_true_answer",
        "evidence/attacks/test_variations.py::test_a_model_that_never_knew_stays_at_its_floor",
        "evidence/attacks/test_variations.py::test_without_any_control_there_is_no_attack",
        "evidence/attacks/test_relearn.py::test_a_model_that_never_knew_gives_nothing_back",
        "evidence/attacks/test_relearn.py::test_without_any_control_nothing_is_trained",
        "generators/test_truth.py::test_whoever_leads_the_search_is_fooled_and_must_not_decide",
    ),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_every_trap_has_its_tests(trap: str) -> None:
    assert TRAPS[trap]
    for test in TRAPS[trap]:
        file, name = test.split("::")
        found = ast.parse((ROOT / "tests" / file).read_text()).body
        assert name in {part.name for part in found if isinstance(part, ast.FunctionDef)}, test
