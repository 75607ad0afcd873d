"""Cards, terms and what is said of them: every text stays text, and nothing is drawn of an empty table."""

import pandas as pd

from audit.figures.cards import Card, cards_html, facts_html


def test_terms_and_descriptions_stand_in_order_and_hostile_texts_are_shown_as_they_are() -> None:
    assert facts_html({"a": "x < y", "</dt><script>b": "&amp;"}) == (
        '<dl class="facts"><div><dt>a</dt><dd>x &lt; y</dd></div>'
        "<div><dt>&lt;/dt&gt;&lt;script&gt;b</dt><dd>&amp;amp;</dd></div></dl>"
    )


def test_a_card_is_folded_and_its_tables_have_a_caption_and_heads() -> None:
    table = pd.DataFrame([("steps", 40, "how <long>")], columns=["setting", "default", "meaning"])
    card = Card("Relearning", "Does it <come> back?", {"After": "a paper"}, {"Settings": table, "None": table.head(0)})
    assert cards_html([card]) == (
        '<details class="card"><summary><strong>Relearning</strong> Does it &lt;come&gt; back?</summary>'
        '<dl class="facts"><div><dt>After</dt><dd>a paper</dd></div></dl>'
        '<table class="said"><caption>Settings</caption><thead><tr><th scope="col">setting</th>'
        '<th scope="col">default</th><th scope="col">meaning</th></tr></thead>'
        '<tbody><tr><th scope="row">steps</th><td>40</td><td>how &lt;long&gt;</td></tr></tbody></table></details>'
    )
    assert cards_html([]) == ""
