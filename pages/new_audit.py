"""Start an audit: choose subjects, corpora and evidence; see what is wrong and what it takes; run, watch, resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from audit import jobs
from audit.casefile import AuditPlan, write_plan
from audit.catalogue import CATALOGUE, by_default, evidence_class
from audit.errors import AuditError
from audit.figures.style import visible
from audit.review.roles import Action
from audit.views import checkpoints, intake, pasted, progress, systems
from pages.shared import form, importing, pace, reading, watching, who
from pages.shared.reading import Known
from pages.shared.state import RUN, browse_root, head, runs_root
from pages.shared.theme import literal

CANDIDATE, TYPES = ("name", "path", "kind", "series", "step"), {"step": "Int64"}
FILE, FIELDS, IMPORT = "From a case file", "From models and files", "Import results"
DEVICES = {"auto": "choose for me", "cpu": "CPU", "cuda": "all GPUs", "cuda:0": "first GPU"}
TEMPLATES = {"plain": "plain text", "qa": "question and answer", "chat": "the model's chat template"}


def draw_case_file(root: Path) -> tuple[Known | None, list[str]]:
    """A case file that is there already, or the text of one."""
    typed = st.text_input(
        "Case file",
        key="new-case-file",
        placeholder="lab/case.toml",
        help=f"A path below {literal(root)}.",
        bind="query-params",
    )
    with st.expander("Or upload or paste one", icon=":material/upload_file:"):
        st.caption(
            f"Paths in it start at {literal(root)}. It can say what the form cannot: dictionaries of features, "
            "settings of a loader, an adapter's base. A candidate with a kind is a system; the page Methods lists the "
            "kinds and their settings."
        )
        file = st.file_uploader("Upload", type="toml", key="new-case-upload", max_upload_size=1)
        written = st.text_area(
            "Text", key="new-case-text", height=260, max_chars=pasted.LONGEST, placeholder=pasted.EXAMPLE,
            help="What was uploaded counts before what is typed here.",
        )  # fmt: skip
    try:
        if typed:
            return reading.case_file(typed, root), []
        given = file.getvalue().decode("utf-8", "replace") if file else written or ""
        return (reading.text(given, root), []) if given.strip() else (None, [])
    except AuditError as error:
        return None, [str(error)]


def draw_fields(root: Path) -> tuple[intake.Draft, list[str]]:
    """Models and files one by one."""
    name = st.text_input("Name of the audit", key="new-name", placeholder="Ten people, two methods")
    left, right = st.columns(2)
    with left:
        st.caption(f"Models: folders below {literal(root)} with config.json and safetensors files, or hub ids")
        original = st.text_input("Original", key="new-original", help="The model before anything was forgotten.")
        reference = st.text_input(
            "Reference (optional)", key="new-reference",
            help="A model trained without the forgotten facts. Without one, the holdout is the control.",
        )  # fmt: skip
        second = st.text_input(
            "Second reference (optional)", key="new-second-reference",
            help="Another model trained without them: drift then shows how far two such models lie apart.",
        )  # fmt: skip
        template = st.selectbox("Prompts as", list(TEMPLATES), format_func=lambda t: TEMPLATES[t], key="new-template")
        seed = st.number_input("Seed", min_value=0, value=0, step=1, key="new-seed")
        with st.expander("Generators: who looks at what they draw"):
            st.caption("Two image classifiers that were trained apart, and real labelled images to test them on.")
            scorers = {
                "scorer": st.text_input("Scorer", key="new-scorer", help="Says which class a drawn image shows."),
                "judge": st.text_input(
                    "Judge (optional)", key="new-judge",
                    help="A class is seen only where both see it; of what a search led by the scorer finds, the judge "
                    "alone decides.",
                ),
                "images": st.text_input("Real images", key="new-scorer-images", help="As a corpus of images."),
            }  # fmt: skip
    with right:
        st.caption(
            f"Corpora: files below {literal(root)} with prompts and answers (.jsonl, .json, .csv, .parquet); "
            "for image classifiers a folder of classes, or a file with images and labels; for vision-language models "
            "a file with image, prompt, answer and text_prompt; for generators one with seed or latent, and label"
        )
        corpora = {
            "forget": st.text_input("Forget", key="new-forget", help="The facts that were to be forgotten."),
            "retain": st.text_input("Retain", key="new-retain", help="Facts of the same kind that were to be kept."),
            "holdout": st.text_input("Holdout (optional)", key="new-holdout", help="Facts that no model ever saw."),
        }
        with st.expander("General knowledge (optional)"):
            st.caption("Two more corpora for TOFU's model utility; nothing else asks for them.")
            for split, label in (("real_authors", "Real authors"), ("world_facts", "World facts")):
                corpora[split] = st.text_input(label, key=f"new-{split}")
        with st.expander("Encoders: what is searched, and after which prompt"):
            st.caption(
                "Text encoders and two-tower models are told by their files. Their items are texts with the answers to "
                "find, or images with captions as answers."
            )
            prompt = st.text_input(
                "Embedding prompt (optional)", key="new-embedding-prompt",
                placeholder='This sentence: "{text}" means in one word:"',
                help="Uses language models as encoders: the state of the last token after it is the vector of a text.",
            )  # fmt: skip
    pace.words_are_out()
    st.caption("Candidates: the models that were made to forget")
    rows = st.data_editor(
        pd.DataFrame({column: pd.Series(dtype=TYPES.get(column, "str")) for column in CANDIDATE}),
        num_rows="dynamic", key="new-candidates-table", hide_index=True,
        alt="Candidates: name, path, kind, and for checkpoints series and step",
        column_config={
            "name": "Candidate", "path": "Path",
            "kind": st.column_config.SelectboxColumn(
                "Kind", options=list(systems.options()), format_func=lambda kind: systems.options()[str(kind)],
                help="A plain model or adapter, or what stands around or inside the model at this path.",
            ),
            "series": st.column_config.TextColumn(
                "Series", help="Checkpoints of one run, or states after so many requests, have the same series."
            ),
            "step": st.column_config.NumberColumn(
                "Step", min_value=0, step=1, help="How far along in its series: steps of training, or requests."
            ),
        },
    )  # fmt: skip
    table = [checkpoints.row_of(row) for row in rows.to_dict("records")]
    guards = {row["name"]: form.system_form(row["name"], row["kind"]) for row in table if row["kind"]}
    only, settings, wrong = draw_evidence()
    candidates = tuple((row["name"], row["path"]) for row in table)
    draft = intake.Draft(
        name, original, reference, candidates, corpora, int(seed), template, only, settings, second, guards,
        checkpoints.checkpoints_of(table),
    )  # fmt: skip
    return replace(draft, embedding_prompt=prompt.strip(), scorers=scorers), wrong


def _choose() -> None:
    """Tick what the choice stands for; every pill can be changed afterwards."""
    wanted = intake.chosen_by(st.session_state["new-choice"])
    for family, known in intake.families().items():
        st.session_state[f"new-evidence-{family}"] = [id for id in known if id in wanted]


def draw_evidence() -> tuple[tuple[str, ...], dict[str, dict[str, object]], list[str]]:
    """Which evidence, and its settings."""
    st.subheader("What to measure")
    st.segmented_control(
        "Evidence", list(intake.CHOICES), format_func=lambda c: intake.CHOICES[c], key="new-choice", default="all",
        required=True, on_change=_choose, help="Attacks, maps and dictionaries of features take longest.",
    )  # fmt: skip
    chosen: list[str] = []
    usual = by_default()
    for family, known in intake.families().items():
        chosen += st.pills(
            family, known, selection_mode="multi", default=[id for id in known if id in usual],
            key=f"new-evidence-{family}", format_func=lambda id: evidence_class(id).title,
        )  # fmt: skip
    ids = [id for id in CATALOGUE if id in chosen]
    settings, wrong = form.evidence_form(ids)
    if not ids:
        wrong.append("No evidence is chosen; choose at least one.")
    return (() if ids == usual else tuple(ids)), settings, wrong


@st.cache_data(max_entries=20, show_spinner="Reading the models' files and timing this machine…")
def _examined(_plan: AuditPlan, digest: str, device: str, stamps: tuple[int, ...]) -> tuple[list[str], str]:
    """What keeps subjects from being compared, and what the run will take; `stamps` are the models' times of change."""
    wrong = intake.pair_problems(_plan)
    try:
        forecast = jobs.estimate(_plan, device)
    except AuditError as error:
        return [*wrong, str(error)], ""
    return wrong, (
        f"{progress.duration(forecast.seconds)} on this machine, within a factor of about three; "
        f"{progress.size(forecast.bytes)} of memory, {progress.size(forecast.available)} are free."
    )


def draw_launch(known: Known) -> None:
    """What it will take, and the button."""
    plan = known.plan
    st.text(visible(intake.in_words(plan)))
    for warning in plan.warnings:
        st.warning(literal(warning), icon=":material/warning:")
    device = st.segmented_control(
        "Run on", list(DEVICES), format_func=lambda d: DEVICES[d], default="auto", required=True, key="new-device"
    )
    wrong, forecast = _examined(plan, known.digest, device, intake.stamps(plan))
    for sentence in wrong:
        st.error(literal(sentence), icon=":material/error:")
    if wrong:
        st.text("A candidate that cannot be compared is reported as failed; the others are audited.")
    if forecast:
        with st.container(key="forecast"):
            st.text(f"Will take {forecast}")
    st.button(
        "Run this audit", key="new-run-audit", type="primary", icon=":material/play_arrow:",
        disabled=not forecast or not who.may(Action.RUN), on_click=_launch, args=(plan, known.data, device),
    )  # fmt: skip


def _launch(plan: AuditPlan, data: Mapping[str, Any] | None, device: str) -> None:
    """Write the case file into a new run folder (or take the one given), start the run, and watch it."""
    folder = intake.folder_for(plan.name, runs_root())
    try:
        who.require(Action.RUN)
        case = plan.path
        if data is not None:
            case = folder / "case.toml"
            write_plan(case, data)
        jobs.start(case, folder, device=device)
    except AuditError as error:
        st.session_state["refused"] = str(error)
        return
    st.query_params[RUN] = folder.name


def draw_new() -> None:
    """The form, and one sentence for each thing that is wrong in it."""
    root = browse_root()
    st.subheader("New audit")
    how = st.segmented_control(
        "How",
        [FIELDS, FILE, IMPORT],
        default=FIELDS,
        key="new-how",
        bind="query-params",
        required=True,
        label_visibility="collapsed",
    )
    known: Known | None = None
    if how == IMPORT:
        importing.draw(root)
        return
    if how == FILE:
        known, wrong = draw_case_file(root)
    else:
        draft, wrong = draw_fields(root)
        if draft.empty:
            st.text("Fill in the fields; what is wrong or missing is said here at once.")
            return
        wrong += intake.problems(draft, root)
        if not wrong:
            try:
                known = reading.draft(draft, root)
            except AuditError as error:
                wrong.append(str(error))
    for sentence in wrong:
        st.error(literal(sentence), icon=":material/error:")
    if known is not None:
        draw_launch(known)


head(
    __file__,
    "New audit",
    "An audit runs in a process of its own: close this page, and it goes on; open it again, and it is here.",
)
if refused := st.session_state.pop("refused", ""):
    st.error(literal(refused), icon=":material/error:")
if refusal := who.identity().why_not(Action.RUN):
    st.info(literal(refusal), icon=":material/lock:")
watching.draw_runs()
draw_new()
