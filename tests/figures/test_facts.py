"""Terms and what is said of them: every text stays text."""

from audit.figures.facts import facts_html


def test_terms_and_descriptions_stand_in_order_and_hostile_texts_are_shown_as_they_are() -> None:
    assert facts_html({"a": "x < y", "</dt><script>b": "&amp;"}) == (
        '<dl class="facts"><div><dt>a</dt><dd>x &lt; y</dd></div>'
        "<div><dt>&lt;/dt&gt;&lt;script&gt;b</dt><dd>&amp;amp;</dd></div></dl>"
    )
