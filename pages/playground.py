"""One question to every model at once: answers beside each other, what each thinks of the true one, and why."""

from __future__ import annotations

from contextlib import closing

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from audit.errors import AuditError
from audit.figures.lens import lens as draw_lens
from audit.figures.style import ORIGINAL, visible
from audit.figures.texts import subject_html
from audit.live import Models
from audit.live.ask import LONGEST, Piece, Sampling, answers, question
from audit.live.changed import Changes
from audit.live.models import OFF
from audit.live.told import Told, told
from audit.types import Item
from audit.views import concepts, features, playground
from pages.shared import kept, live, show
from pages.shared.opening import open_view
from pages.shared.state import View
from pages.shared.theme import literal

OWN, ITEM, CHOSEN, BASKET = "own", "item", "asked-item", "asked-questions"
MOST_ASKED, MOST_BESIDE = 4000, 4


def draw_question(view: View, models: Models) -> Item | None:
    """An item of the audit with its image, or a question of the reader's own with its true answer if there is one."""
    known = {item.id: item for corpus in models.case.corpora.values() for item in corpus.items}
    labels = {OWN: "a question of your own", **{id: f"{id}: {item.prompt}" for id, item in known.items()}}
    asked = st.query_params.get(ITEM)
    before = st.session_state.get(CHOSEN)
    st.session_state[CHOSEN] = next(id for id in (asked, before, *known, OWN) if id in labels)
    chosen = st.selectbox("Ask about", list(labels), format_func=lambda id: labels[id], key=CHOSEN, on_change=_chosen)
    if chosen != OWN:
        show.picture(kept.pictures(view).get(chosen), chosen)
        st.text(visible(f"Asked: {known[chosen].prompt}\nTrue answer: {known[chosen].answer}"))
        return known[chosen]
    prompt = st.text_area("Question", key="prompt", height=80, max_chars=MOST_ASKED, bind="query-params")
    answer = st.text_input(
        "True answer (optional)", key="answer", max_chars=MOST_ASKED, bind="query-params",
        help="With it the page shows its probability and its rank in every block.",
    )  # fmt: skip
    try:
        return question(prompt or "", answer or "")
    except AuditError:
        st.caption("Type a question.")
        return None


def _chosen() -> None:
    """The item stands in the address by its id; a box bound to it would put its whole text there."""
    st.query_params[ITEM] = st.session_state[CHOSEN]


def draw_sampling() -> Sampling:
    """How tokens are drawn."""
    with st.container(horizontal=True):
        temperature = st.slider(
            "Temperature", 0.0, 2.0, 0.0, 0.1, key="temperature", bind="query-params",
            help="0 is greedy: the most likely token every time, as the audit asks.",
        )  # fmt: skip
        top_p = st.slider("Top-p", 0.05, 1.0, 1.0, 0.05, key="top-p", bind="query-params", disabled=temperature == 0)
        seed = st.number_input("Seed", 0, 10**6, 0, key="seed", bind="query-params", disabled=temperature == 0)
        length = st.number_input("Most tokens", 1, LONGEST, 40, key="length", bind="query-params")
    return Sampling(temperature, top_p, int(seed or 0), int(length or 1))


def draw_changes(view: View, models: Models) -> Changes:
    """What is changed inside every model while it is asked."""
    layer, chosen, scale, vectors = 0, [], 1.0, []
    left, right = st.columns(2)
    with left:
        if st.toggle("Scale features of the dictionary", key="change-features", bind="query-params"):
            table = next((f.table for f in view.of("sae.features").values() if f is not None and len(f.table)), None)
            if table is None:
                st.caption("This run has no finding “SAE features”, so there is no feature to choose.")
            else:
                layers = features.layers(table)
                layer = st.segmented_control("Block", layers, default=layers[-1], required=True, key="change-layer")
                known = features.with_cards(table, layer)
                chosen = st.multiselect(
                    "Features (those that carry the answers most first)", known, default=known[:8],
                    key=f"change-which-{layer}",
                )  # fmt: skip
                scale = st.slider("Scale", -4.0, 4.0, 0.0, 0.5, key="change-scale",
                                  help="1 changes nothing, 0 takes them away.")  # fmt: skip
    with right:
        if st.toggle("Take value vectors out", key="change-vectors", bind="query-params"):
            found = view.of("concepts.value_vectors").values()
            table = next((f.table for f in found if f is not None and len(f.table)), None)
            if table is None:
                st.caption("This run has no finding “Concept vectors”, so there is no vector to choose.")
            else:
                known_vectors = concepts.vectors(table)
                vectors = st.multiselect(
                    "Vectors, as block:dimension (those that write most of the answers first)", known_vectors,
                    default=known_vectors[:1], key="change-which-vectors",
                )  # fmt: skip
    return Changes(layer, tuple(chosen), scale, tuple(concepts.numbers_of(name) for name in vectors))


def draw_guards(view: View, models: Models) -> bool:
    """Whether the model under each guarded system is asked too; there is nothing to choose where none is shown."""
    guarded = [name for name in models.guarded if name in models.chosen(view.shown)]
    return bool(guarded) and st.toggle(
        "Ask with the guard off too", key="guard-off", bind="query-params",
        help=f"The plain model under {literal(', '.join(guarded))}: guards, filters and interventions taken away.",
    )  # fmt: skip


def ask(models: Models, names: list[str], item: Item, sampling: Sampling, changes: Changes, view: View) -> None:
    """Stream every model's answer into a card of its own, then keep what was said and thought."""
    texts = {name: place for name, (place, _) in cards(view, names).items()}
    said: dict[str, Piece] = {}
    with closing(answers(models, names, item, sampling, changes)) as pieces:
        for piece in pieces:
            said[piece.name] = piece
            texts[piece.name].text(piece.problem or piece.text or "…")
    with st.spinner("Looking inside…"):
        thoughts = [told(models, name, item, changes) for name in names]
    st.session_state["played"] = (_key(view, names, item, sampling, changes), said, thoughts)


def cards(view: View, names: list[str]) -> dict[str, tuple[DeltaGenerator, DeltaGenerator]]:
    """A card for each model with a place for its answer and one for the words below it."""
    found = {}
    looks = {**view.looks, **{name + OFF: look for name, look in view.looks.items()}}
    grid = st.grid(min(len(names), MOST_BESIDE), min_column_width=260)
    for place, name in enumerate(names):
        with grid.container(border=True, key=f"heard-{place}"):
            st.html(subject_html(name, looks))
            found[name] = (st.empty(), st.empty())
    return found


def draw_answers(view: View, item: Item, said: dict[str, Piece], thoughts: list[Told]) -> None:
    """The finished answers with what differs in words, then what each model thinks of the true answer."""
    original = said.get(ORIGINAL)
    places = cards(view, list(said))
    for name, piece in said.items():
        text, words = places[name]
        text.text(piece.problem or piece.text or "(nothing)")
        words.text(playground.verdict(piece, original, item.answer))
    st.caption(
        "✓ and ✗: whether the true answer stands in what is said. ⟦Brackets⟧: words that are not the original's, "
        "compared in order, without case and punctuation."
    )
    st.subheader("What does each model think right after the question?")
    show.frame(playground.table(said, thoughts), "thoughts", playground.MEANING, "What each model says and thinks")
    for sentence in playground.unseen(thoughts):
        st.caption(literal(sentence))
    table = playground.lens(thoughts)
    if table.empty:
        if not item.answer:
            st.caption("Give the true answer to see its probability and its rank in every block.")
        return
    st.subheader("In which block does the true answer rise?")
    found = playground.in_words(thoughts)
    st.text(found)
    show.plot(
        draw_lens(table, list(said)), "lens",
        f"Rank of the true answer's first token in every block of every model, 1 is the top. {found}",
    )  # fmt: skip
    st.caption(
        "Each block's state at the last token of the question, read by the model's own unembedding: the rank of the "
        "true answer's first token, 1 is the top. Brighter is nearer to the top. Point at a cell to see what that "
        "block puts first. One question only: “Head projection” on the page Attacks measures all items with a control."
    )
    with st.expander("All numbers", icon=":material/table:"):
        show.frame(table, "lens-table", {}, "Rank of the true answer by model and block")


def draw_basket(item: Item) -> None:
    """What was asked, as items of a corpus that an audit can be run on."""
    basket: list[Item] = st.session_state.setdefault(BASKET, [])
    with st.container(horizontal=True):
        st.button(
            "Add to my questions", key="add", icon=":material/playlist_add:", on_click=_add, args=(item,),
            disabled=not item.answer, help="A question needs its true answer to become an item of an audit.",
        )  # fmt: skip
        if basket:
            st.download_button(
                f"Download {len(basket)} as a corpus", playground.corpus_of(basket), file_name="questions.jsonl",
                mime="application/jsonl", key="basket", icon=":material/download:", on_click="ignore",
            )  # fmt: skip
    if basket:
        st.caption(
            "The file holds an item a line, as `forget.jsonl` does: name it in a case file, or choose it on the page "
            "New audit. The questions are kept in this browser session only."
        )


def _add(item: Item) -> None:
    basket: list[Item] = st.session_state.setdefault(BASKET, [])
    if item not in basket:
        basket.append(item)


def _asked() -> None:
    """Ask now, and put that into the address, so that a link asks again."""
    st.session_state["ask"] = True
    st.query_params["asked"] = "yes"


def _key(view: View, names: list[str], item: Item, sampling: Sampling, changes: Changes) -> tuple[object, ...]:
    return view.id, tuple(names), item, sampling, changes


def draw(view: View, models: Models) -> None:
    """Question, settings, answers."""
    item = draw_question(view, models)
    with st.expander("How tokens are drawn", icon=":material/casino:"):
        sampling = draw_sampling()
    with st.expander("Change something inside", icon=":material/tune:"):
        changes = draw_changes(view, models)
    if item is None:
        return
    names = models.chosen(view.shown, draw_guards(view, models))
    key = _key(view, names, item, sampling, changes)
    if changes:
        st.text(f"In every model: {changes.in_words()}.")
    st.button("Ask", key="go", type="primary", icon=":material/send:", on_click=_asked)
    first = "played" not in st.session_state and st.query_params.get("asked") == "yes"
    place = st.container()
    if st.session_state.pop("ask", False) or first:
        with place.empty().container():
            try:
                ask(models, names, item, sampling, changes, view)
            except AuditError as error:
                st.error(literal(error), icon=":material/error:")
                return
        st.rerun()
    played = st.session_state.get("played")
    if played is None or played[0] != key:
        st.caption("Nothing was asked with these settings yet." if played else "Press Ask: the models are loaded then.")
        return
    with place:
        draw_answers(view, item, played[1], played[2])
    draw_basket(item)


view = open_view(__file__, "Playground", "Ask every model the same, and see what each says and what it thinks.")
if view.run.imported:
    st.info("This run was imported: it has findings, but no models that could be asked.", icon=":material/cloud_off:")
elif (found := live.models(view)) is not None:
    draw(view, found)
