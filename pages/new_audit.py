"""Start an audit: choose subjects, corpora and evidence; see what is wrong and what it takes; run, watch, resume."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from audit import jobs
from audit._casepaths import below
from audit.casefile import AuditPlan, read_plan, write_plan
from audit.catalogue import CATALOGUE, by_default, evidence_class
from audit.errors import AuditError
from audit.progress import Progress
from audit.views import intake, progress
from audit.views.progress import RESUMABLE
from pages.shared import form, importing, show
from pages.shared.state import RUN, browse_root, head, known_jobs, runs_root
from pages.shared.theme import literal

FILE, FIELDS, IMPORT = "From a case file", "From models and files", "Import results"
DEVICES = {"auto": "choose for me", "cpu": "CPU", "cuda": "all GPUs", "cuda:0": "first GPU"}
TEMPLATES = {"plain": "plain text", "qa": "question and answer", "chat": "the model's chat template"}


def watch(id: str, folder: Path) -> None:
    """How far one run is; it goes on when this page is closed, and any page that knows its name can watch it."""
    running = jobs.state(folder).state == "running"
    st.session_state["watched-state"] = "running" if running else ""
    st.fragment(_card, run_every="1s" if running else None)(id, folder)


def _card(id: str, folder: Path) -> None:
    now = jobs.state(folder)
    if st.session_state["watched-state"] == "running" and now.state != "running":
        st.rerun()
    with st.container(border=True, key="watched"):
        st.text(f"{id}: {progress.summary(now)}")
        st.progress(min(max(now.fraction, 0.0), 1.0))
        if now.state == "running":
            st.text(progress.line(now))
        elif now.error:
            say = st.info if now.state == "cancelled" else st.error
            say(literal(now.error), icon=":material/info:" if now.state == "cancelled" else ":material/error:")
        _buttons(id, folder, now)


def _buttons(id: str, folder: Path, now: Progress) -> None:
    with st.container(horizontal=True):
        if now.state == "running":
            st.button("Cancel", key="new-cancel", on_click=_attempt, args=(jobs.cancel, folder), icon=":material/stop:")
        elif now.state in RESUMABLE and now.case:
            st.button(
                "Resume", key="new-resume", on_click=_attempt, args=(jobs.start, Path(now.case), folder),
                type="primary", icon=":material/play_arrow:", help="What was finished is not measured again.",
            )  # fmt: skip
        if (folder / "case.json").exists():
            st.page_link(
                "pages/overview.py", label="Open the findings", icon=":material/stairs:", query_params={RUN: id}
            )


def _attempt(action: object, *arguments: object) -> None:
    """Do something that may be refused, and say why on the next run of the page."""
    try:
        action(*arguments)  # type: ignore[operator]
    except AuditError as error:
        st.session_state["refused"] = str(error)


def draw_runs() -> None:
    """The runs that can be watched, the one in the URL above."""
    known = known_jobs()
    asked = st.query_params.get(RUN, "")
    running = [id for id, folder in known.items() if jobs.state(folder).state == "running"]
    watched = asked if asked in known else running[0] if running else ""
    if watched:
        watch(watched, known[watched])
    if not known:
        return
    with st.expander(f"Audits in {runs_root()}", expanded=not watched, icon=":material/folder:"):
        states = {id: jobs.state(folder) for id, folder in known.items()}
        table = pd.DataFrame([(id, progress.summary(now), now.error) for id, now in states.items()],
                             columns=["audit", "state", "error"])  # fmt: skip
        event = show.frame(table, "jobs", {}, "Audits with their state", on_select="rerun", selection_mode="single-row")
        if event.selection.rows and table["audit"].iloc[event.selection.rows[0]] != asked:
            st.query_params[RUN] = table["audit"].iloc[event.selection.rows[0]]
            st.rerun()


def draw_case_file(root: Path) -> tuple[AuditPlan | None, list[str]]:
    """A case file that is there already."""
    typed = st.text_input(
        "Case file", key="new-case-file", placeholder="lab/case.toml", help=f"A path below {root}.", bind="query-params"
    )
    if not typed:
        return None, []
    try:
        return read_plan(below(root, root, typed, "The case file"), root=root), []
    except AuditError as error:
        return None, [str(error)]


def draw_fields(root: Path) -> tuple[intake.Draft, list[str]]:
    """Models and files one by one."""
    name = st.text_input("Name of the audit", key="new-name", placeholder="Ten people, two methods")
    left, right = st.columns(2)
    with left:
        st.caption(f"Models: folders below {root} with config.json and safetensors files, or hub ids")
        original = st.text_input("Original", key="new-original", help="The model before anything was forgotten.")
        reference = st.text_input(
            "Reference (optional)", key="new-reference",
            help="A model trained without the forgotten facts. Without one, the holdout is the control.",
        )  # fmt: skip
        second = st.text_input(
            "Second reference (optional)", key="new-second-reference",
            help="Another model trained without them: drift then shows how far two such models lie apart.",
        )  # fmt: skip
        st.caption("Candidates: the models that were made to forget")
        rows = st.data_editor(
            pd.DataFrame({"name": pd.Series(dtype=str), "path": pd.Series(dtype=str)}),
            num_rows="dynamic", key="new-candidates-table", hide_index=True, alt="Candidates: name and path",
            column_config={"name": "Candidate", "path": "Path"},
        )  # fmt: skip
    with right:
        st.caption(f"Corpora: files below {root} with prompts and answers (.jsonl, .json, .csv, .parquet)")
        corpora = {
            "forget": st.text_input("Forget", key="new-forget", help="The facts that were to be forgotten."),
            "retain": st.text_input("Retain", key="new-retain", help="Facts of the same kind that were to be kept."),
            "holdout": st.text_input("Holdout (optional)", key="new-holdout", help="Facts that no model ever saw."),
        }
        with st.expander("General knowledge (optional)"):
            st.caption("Two more corpora for TOFU's model utility; nothing else asks for them.")
            for split, label in (("real_authors", "Real authors"), ("world_facts", "World facts")):
                corpora[split] = st.text_input(label, key=f"new-{split}")
        template = st.selectbox("Prompts as", list(TEMPLATES), format_func=lambda t: TEMPLATES[t], key="new-template")
        seed = st.number_input("Seed", min_value=0, value=0, step=1, key="new-seed")
    only, settings, wrong = draw_evidence()
    candidates = tuple(
        (str(row["name"] or "").strip(), str(row["path"] or "").strip()) for row in rows.to_dict("records")
    )
    draft = intake.Draft(name, original, reference, candidates, corpora, int(seed), template, only, settings, second)
    return draft, wrong


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


def draw_launch(plan: AuditPlan, draft: intake.Draft | None, root: Path) -> None:
    """What it will take, and the button."""
    st.text(intake.in_words(plan))
    for warning in plan.warnings:
        st.warning(literal(warning), icon=":material/warning:")
    device = st.segmented_control(
        "Run on", list(DEVICES), format_func=lambda d: DEVICES[d], default="auto", required=True, key="new-device"
    )
    wrong, forecast = _examined(plan, plan.digest, device, intake.stamps(plan))
    for sentence in wrong:
        st.error(literal(sentence), icon=":material/error:")
    if wrong:
        st.text("A candidate that cannot be compared is reported as failed; the others are audited.")
    if forecast:
        with st.container(key="forecast"):
            st.text(f"Will take {forecast}")
    st.button(
        "Run this audit", key="new-run-audit", type="primary", icon=":material/play_arrow:", disabled=not forecast,
        on_click=_launch, args=(plan, draft, root, device),
    )  # fmt: skip


def _launch(plan: AuditPlan, draft: intake.Draft | None, root: Path, device: str) -> None:
    """Write the case file into a new run folder (or take the one given), start the run, and watch it."""
    folder = intake.folder_for(plan.name, runs_root())
    try:
        case = plan.path
        if draft is not None:
            case = folder / "case.toml"
            write_plan(case, intake.case_data(draft, root))
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
    plan: AuditPlan | None = None
    draft: intake.Draft | None = None
    if how == IMPORT:
        importing.draw(root)
        return
    if how == FILE:
        plan, wrong = draw_case_file(root)
    else:
        draft, wrong = draw_fields(root)
        if draft.empty:
            st.text("Fill in the fields; what is wrong or missing is said here at once.")
            return
        wrong += intake.problems(draft, root)
        if not wrong:
            try:
                plan = intake.plan_of(draft, root)
            except AuditError as error:
                wrong.append(str(error))
    for sentence in wrong:
        st.error(literal(sentence), icon=":material/error:")
    if plan is not None:
        draw_launch(plan, draft, root)


head(
    __file__,
    "New audit",
    "An audit runs in a process of its own: close this page, and it goes on; open it again, and it is here.",
)
if refused := st.session_state.pop("refused", ""):
    st.error(literal(refused), icon=":material/error:")
draw_runs()
draw_new()
