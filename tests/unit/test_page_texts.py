"""Texts of a trace are hostile: on a page they are seen, and do nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment
from markupsafe import Markup

from poolhog.render.page.texts import LONGEST, embedded, page_text, shown


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("SELECT 1\n\tFROM a", "SELECT 1\n\tFROM a"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("\u2066x\u2069\u200f", "⟨U+2066⟩x⟨U+2069⟩⟨U+200F⟩"),
        ("a\u2028b\u2029", "a⟨U+2028⟩b⟨U+2029⟩"),
        ("\ud800 lone", "⟨U+D800⟩ lone"),
        ("\x00\x1b[31m\r", "⟨U+0000⟩⟨U+001B⟩[31m⟨U+000D⟩"),
        ("\ufeffzero\u200bwidth\xad", "⟨U+FEFF⟩zero⟨U+200B⟩width⟨U+00AD⟩"),
        ("日本 שלום 🚀\ufe0f हिन्दी", "日本 שלום 🚀\ufe0f हिन्दी"),
    ],
)
def test_what_cannot_be_seen_is_spelled_out(text: str, seen: str) -> None:
    assert page_text(text) == seen
    assert page_text(seen) == seen


def test_a_long_text_is_cut_and_says_so() -> None:
    assert page_text("x" * LONGEST) == "x" * LONGEST
    cut = page_text("x" * (LONGEST + 1_234))
    assert cut == "x" * LONGEST + " … (1,234 more characters)"


def test_a_template_shows_no_text_as_it_is() -> None:
    environment = Environment(autoescape=True, finalize=shown)
    template = environment.from_string("{{ text }} {{ [text]|first }} {{ number }} {{ made }}")
    told = template.render(text="<b\u202e", number=1.5, made=Markup("<i>x</i>"))
    assert told == "&lt;b⟨U+202E⟩ &lt;b⟨U+202E⟩ 1.5 <i>x</i>"


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_embedded_json_is_the_value_and_has_nothing_that_html_reads(value: object) -> None:
    written = embedded(value)
    assert json.loads(written) == value
    assert not set("<>&\u2028\u2029") & set(written)


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        embedded({"a": float("nan")})
