"""What an imported number is called, asks and cannot see, by its id `<tool>.<metric>`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from audit.interop.result import CurveRow, ImportedRow, TextRow
from audit.types import Access, Chart, Place

FORGET = "high: still remembered"
KEPT = "high: better kept"
LIKE_RETAINED = "near 1: like a model that never saw the forget set"
AUC_OU = "1: forget texts are always likelier than unseen ones, 0.5: no difference"
AUC_MUSE = "0: forget texts are always likelier than unseen ones, 0.5: no difference"
PRIVLEAK = "0 is best; negative: forget texts still stand out, positive: over-unlearned"


@dataclass(frozen=True)
class Tool:
    """A tool whose results can be imported."""

    title: str
    source: str
    blind_to: str


@dataclass(frozen=True)
class Card:
    """The words for one imported metric, with the names that an evidence class has."""

    title: str
    question: str
    blind_to: str
    formula: str
    source: str
    place: Place
    direction: str
    row: type = ImportedRow
    needs: frozenset[Access] = frozenset()
    chart: Chart = Chart("bar", "metric", "recomputed", low="low", high="high", x_title="", y_title="recomputed")
    cost: float = 0.0


LOW_IS_BETTER = r"(?:\w*perplexity|bits_per_byte|brier_score|ter|wer)(?:_.*)?"
"""Metrics of lm-evaluation-harness that are better when low; a filter's name may follow."""
ANSWERS = "anything that is stored or recoverable but not said, and it has no control of this audit."
TOOLS: dict[str, Tool] = {
    "open_unlearning": Tool("OpenUnlearning", "locuslab/open-unlearning, d3d7cf9", ANSWERS),
    "tofu": Tool("TOFU", "Maini et al. 2024, locuslab/tofu, bdc209e", ANSWERS),
    "muse": Tool("MUSE", "Shi et al. 2024, swj0419/muse_bench, fcd6651", ANSWERS),
    "rwku": Tool("RWKU", "Jin et al. 2024, jinzhuoran/RWKU, b8a03b3", ANSWERS),
    "depth_score": Tool(
        "Unlearning Depth Score", "gnueaj/unlearning-depth-score, fc31639",
        "knowledge outside the patched positions, and a defect of the tool that patches the last layer after its norm.",
    ),
    "leak_at_k": Tool("leak@k", "OptimAI-Lab/Leak-k 2025, arXiv 2511.04934", "errors of the judge that says leaked."),
    "lm_eval": Tool(
        "lm-evaluation-harness", "EleutherAI/lm-evaluation-harness", "what a model would say when it may say anything."
    ),
    "tamper": Tool(
        "EleutherAI tamper attack", "EleutherAI/unlearn, 1a6079f",
        "whether a model that never knew would gain as much; the tool attacks no such model, and writes 0.25 "
        "where an evaluation is missing.",
    ),
    "saebench": Tool("SAEBench", "adamkarvonen/SAEBench, 8042bb3", "any unlearned checkpoint: it rates a dictionary."),
}  # fmt: skip

READABLE = ", ".join(tool.title for tool in TOOLS.values())


def not_results(count: int) -> str:
    """How many files are results of no tool that can be imported, in a sentence; empty for none."""
    return f"{count} {'file is' if count == 1 else 'files are'} results of no known tool." if count else ""


Line = tuple[str, str, str, str, Place]
"""Pattern of the metric, title, direction, formula, place."""
METRICS: dict[str, tuple[Line, ...]] = {
    "open_unlearning": (
        (r"forget_quality", "Forget quality", LIKE_RETAINED, "p-value of a KS test of truth ratios", "said"),
        (r"model_utility", "Model utility", KEPT, "harmonic mean of nine scores on retained sets", "utility"),
        (r"privleak", "PrivLeak", PRIVLEAK, "100 (A - A_ref) / A_ref, A = 1 - area of Min-K 40 %", "said"),
        (r"mia_(.+)", "Membership inference, {0}", AUC_OU, "area under the ROC curve, forget against holdout", "said"),
        (r"exact_memorization", "Exact memorization", FORGET, "share of tokens that are the likeliest", "said"),
        (r"extraction_strength", "Extraction strength", FORGET, "1 - shortest sufficient prefix / length", "said"),
        (r"forget_(?i:truth_ratio)", "Truth ratio, forget", "near 1: right and wrong answers equally likely",
         "mean min(R, 1/R), R = p_wrong / p_right", "said"),
        (r"(retain|ra|wf)_(?i:truth_ratio)", "Truth ratio, {0}", KEPT, "mean max(0, 1 - R)", "utility"),
        (r"forget_Q_A_(PARA_|PERT_)?Prob", "Probability, forget {0}", FORGET, "mean exp(-mean loss)", "said"),
        (r"(\w+)_Prob_normalised", "Normalised probability, {0}", KEPT, "p / (p + sum of wrong)", "utility"),
        (r"(retain|ra|wf)_Q_A_(PARA_|PERT_)?Prob", "Probability, {0} {1}", KEPT, "mean exp(-mean loss)", "utility"),
        (r"forget_(\w+)_ROUGE", "ROUGE, forget {0}", FORGET, "mean ROUGE-L", "said"),
        (r"(retain|ra|wf)_(\w+)_ROUGE", "ROUGE, {0} {1}", KEPT, "mean ROUGE-L", "utility"),
    ),
    "tofu": (
        (r"forget_quality", "Forget quality", LIKE_RETAINED, "p-value of a KS test of truth ratios", "said"),
        (r"model_utility", "Model utility", KEPT, "harmonic mean of nine scores on retained sets", "utility"),
        (r"truth_ratio_forget", "Truth ratio, forget", "near 1: right and wrong answers equally likely",
         "mean min(r, 1/r), r = p_right / p_wrong", "said"),
        (r"(rouge|probability)_forget", "{0}, forget", FORGET, "mean", "said"),
        (r"(rouge|probability|truth_ratio)_(\w+)", "{0}, {1}", KEPT, "mean", "utility"),
    ),
    "muse": (
        (r"verbmem_f", "Verbatim memory, forget", FORGET, "100 x mean ROUGE-L F1 of a continuation", "said"),
        (r"knowmem_f", "Knowledge memory, forget", FORGET, "100 x mean ROUGE-L F1 of an answer", "said"),
        (r"knowmem_r", "Knowledge memory, retain", KEPT, "100 x mean ROUGE-L F1 of an answer", "utility"),
        (r"privleak", "PrivLeak", PRIVLEAK, "100 (A - A_ref) / A_ref, A = area of Min-K 40 %", "said"),
        (r"auc_(forget|retain|holdout)_(forget|retain|holdout)_(.+)", "Area under the ROC curve, {0} against {1}, {2}",
         "0: the first set's texts are always likelier than the second's, 0.5: no difference",
         "share of pairs ranked right", "said"),
        (r"auc_(.+)", "Area under the ROC curve, {0}", AUC_MUSE, "share of pairs ranked right", "said"),
    ),
    "rwku": (
        (r"forget_level_3", "Forget, adversarial probes", FORGET, "mean ROUGE-L recall", "recoverable"),
        (r"forget_level_(\d)", "Forget, level {0}", FORGET, "mean ROUGE-L recall", "said"),
        (r"neighbor_level_(\d)", "Neighbours, level {0}", KEPT, "mean ROUGE-L recall", "utility"),
        (r"(forget|retain)_mia_(.+)", "Membership score on {0}, {1}", "high: more familiar; a mean, no area",
         "mean score", "said"),
        (r"(\w+)", "Utility, {0}", KEPT, "mean", "utility"),
    ),
    "depth_score": (
        (r"uds", "Unlearning Depth Score", "1: erased as in the retained model, 0: intact",
         "mean over items of sum d1 clip(d2 / d1, 0, 1) / sum d1", "stored"),
        (r"method_table", "Published scores", "see each row", "as published", "stored"),
        (r"meta_eval", "How well metrics tell models apart", "high: better", "as published", "stored"),
        (r"(\w+)", "{0}", "high: more erased, or better kept", "as published", "stored"),
    ),
    "leak_at_k": ((r"(.+)", "leak@k, {0}", "high: more leaks", "mean of 1 - C(n - c, k) / C(n, k)", "recoverable"),),
    "tamper": (
        (r"wmdp_bio_acc", "Hazard questions along the attack", "high: knowledge came back", "accuracy", "recoverable"),
        (r"cloze_correct_prob", "Cloze along the attack", "high: knowledge came back", "probability", "recoverable"),
        (r"(.+)", "{0} along the attack", KEPT, "accuracy", "utility"),
    ),
    "saebench": ((r"unlearning_score", "Score of a dictionary", "high: forgets more with few side effects",
                  "1 - least accuracy among settings with side effects of at most 1 %", "stored"),),
    "lm_eval": (
        (rf"wmdp(.*\.{LOW_IS_BETTER})", "WMDP{0}", "low: still known", "as the harness defines it", "said"),
        (r"wmdp(.*)", "WMDP{0}", "high: still known", "accuracy or as named", "said"),
        (rf"(.+\.{LOW_IS_BETTER})", "{0}", "low: better kept", "as the harness defines it", "utility"),
        (r"(.+)", "{0}", KEPT, "as the harness defines it", "utility"),
    ),
}  # fmt: skip
CURVE = Chart("line", "step", "value", x_title="training steps of the attack", y_title="value")
TITLE_OF_TEXTS = "Answers as stored"


def card(id: str) -> Card | None:
    """The card of an imported metric, or None for an id that is not one."""
    name, _, rest = id.partition(".")
    if name not in TOOLS or not rest:
        return None
    tool = TOOLS[name]
    title, direction, formula, place = _line(name, rest)
    question = f"What did {tool.title} find: {title[:1].lower() + title[1:] if not title[1:2].isupper() else title}?"
    found = Card(f"{tool.title}: {title}", question, tool.blind_to, formula, tool.source, place, direction)
    if rest == "generations":
        return replace(found, row=TextRow)
    return replace(found, row=CurveRow, chart=CURVE) if name == "tamper" else found


def direction(id: str) -> str:
    """What a high or low value of an imported metric means."""
    found = card(id)
    return found.direction if found else "direction not known"


def _line(tool: str, metric: str) -> tuple[str, str, str, Place]:
    if metric == "generations":
        return TITLE_OF_TEXTS, "texts have no direction", "as stored", "said"
    tasks = METRICS["lm_eval"] if tool == "open_unlearning" and "." in metric else ()
    for pattern, title, direction, formula, place in (*METRICS.get(tool, ()), *tasks):
        match = re.fullmatch(pattern, metric)
        if match:
            parts = [(part or "").replace("_", " ").strip() for part in match.groups()]
            filled = " ".join(title.format(*parts).split())
            return filled[:1].upper() + filled[1:], direction, formula, place
    return metric.replace("_", " "), "direction not known", "as the tool defines it", "said"
