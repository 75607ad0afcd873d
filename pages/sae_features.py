"""SAE features: which of the original's features survive, what they mean, and what they carry."""

from __future__ import annotations

import streamlit as st

from audit.figures import features as figures
from audit.views import features
from pages.shared import live, said, series, show, theme
from pages.shared.opening import open_view
from pages.shared.state import View

SURVIVAL, FEATURES = "sae.survival", "sae.features"
OTHERS = ("sae.truth", "sae.dictionary", "sae.shared", "sae.restore", "sae.clamp")
PLOT = "feature-plot"


def draw_features(view: View) -> None:
    """The plot of all features of one candidate and the card of the chosen one."""
    measured = {name: f for name, f in view.of(FEATURES).items() if f is not None and not f.table.empty}
    if not measured:
        return
    with st.container(horizontal=True):
        name = st.segmented_control(
            "Candidate",
            list(measured),
            key="feature-candidate",
            default=next(iter(measured)),
            required=True,
            format_func=theme.literal,
        )
        table = measured[name].table
        layers = features.layers(table)
        layer = st.segmented_control(
            "Block", layers, key="feature-block", default=layers[-1], required=True, bind="query-params"
        )
    layer = layer if layer in layers else layers[-1]
    with_cards = features.with_cards(table, layer)
    feature = _chosen(with_cards)
    left, right = st.columns([3, 2])
    with left:
        show.plot(
            figures.activity(features.activity(table, layer), name, view.looks[name], feature),
            PLOT,
            f"Activity of every feature of block {layer} at the last token of forget items: in the original against in "
            f"{name}. On the dashed line nothing changed; below it features fell silent.",
            _clicked,
            ("points",),
        )
        st.caption("Each point is a feature. Click one that has a card, or choose its number on the right.")
    with right:
        st.selectbox(
            "Feature (those that carry the answers most first)", with_cards, key="feature", bind="query-params"
        )
        if feature is not None:
            draw_card(view, features.card(table, layer, feature, name))
    if feature is not None:
        card = features.card(table, layer, feature, name)
        draw_contexts(view, card)
        draw_live(view, name, card, with_cards)


def _chosen(known: list[int]) -> int | None:
    """The feature in the box, when this block has it."""
    value = st.session_state.get("feature", st.query_params.get("feature"))
    try:
        wanted = int(value) if value is not None else None
    except ValueError:
        wanted = None
    return wanted if wanted in known else (known[0] if known else None)


def _clicked() -> None:
    """A click in the plot chooses the feature in the box."""
    feature = features.picked_feature(st.session_state[PLOT].selection)
    if feature is not None:
        st.session_state["feature"] = feature


def draw_card(view: View, card: features.Card) -> None:
    """What one feature is, and what became of it."""
    with st.container(border=True, key="feature-card"):
        st.text(f"Feature {card.feature} of block {card.layer}")
        st.text(card.sentence)
        st.text(f"Its direction raises: {features.tokens_line(card.promotes)}")
        st.text(f"and lowers: {features.tokens_line(card.suppresses)}")
        st.text(f"It adds {card.carries:+.2f} to the logit of the true answers in the original, on average.")
    show.plot(
        figures.histogram(card.histogram, card.top, view.looks),
        "feature-histogram",
        f"How strongly feature {card.feature} fires on tokens of forget items, a line for each model.",
    )


def draw_contexts(view: View, card: features.Card) -> None:
    """The strongest contexts, tokens shaded, one model under the other."""
    st.text("Where it fires most: the stronger the colour of a token, the more, on one scale for all models.")
    for place, line in enumerate(card.contexts):
        show.plot(
            figures.context(line["tokens"], line["rows"], card.top, theme.mode()),
            f"context-{place}",
            f"Activation of feature {card.feature} at every token of {line['item']}, a line for each model.",
        )
        said.link(view, line["item"])


def draw_live(view: View, name: str, card: features.Card, known: list[int]) -> None:
    """Scale features in the loaded models and see the answer change."""
    st.markdown("#### Try it")
    models = live.bench(view, name, "features")
    if models is None:
        return
    prompts = {item.id: item.prompt for item in models.bench.corpus("forget").items}
    with st.container(horizontal=True):
        item = st.selectbox(
            "Item", features.items_first(card, list(prompts)), format_func=lambda i: f"{i}: {prompts[i]}",
            key=f"live-item-{card.layer}-{card.feature}",
        )  # fmt: skip
        chosen = st.multiselect(
            "Features", known, default=[card.feature], key=f"live-features-{card.layer}-{card.feature}"
        )
        scale = st.slider("Scale", -4.0, 4.0, 0.0, 0.5, key="live-scale", help="1 changes nothing, 0 takes them away.")
    live.answers(lambda: models.features(item, card.layer, chosen, scale), "features")


@st.fragment
def survival_part(view: View) -> None:
    """Survival."""
    show.evidence(view, SURVIVAL, lambda table: show.chart(view, SURVIVAL, table))


@st.fragment
def features_part(view: View) -> None:
    """All features and the card of one."""
    show.evidence(view, FEATURES, lambda table: draw_features(view), rows=False)


@st.fragment
def others_part(view: View) -> None:
    """One of the other questions about features."""
    show.one_of(view, "More about the features", OTHERS, "sae-more")


view = open_view(
    __file__, "SAE features", "Hidden states taken apart into features that can be named: which still fire, and why."
)
survival_part(view)
features_part(view)
others_part(view)
series.trajectory(view, ("sae.survival", "sae.dictionary"))
