"""Tables in Markdown: whatever the text, as many lines and columns as were given."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from trainless.markdown import escape, table, table_of_texts

TEXTS = st.text(st.sampled_from("ab |\\`*_<>&#~\n\r\t[]{}$é-"), max_size=12)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=4))
def test_texts_break_neither_lines_nor_columns(rows: list[tuple[str, str]]) -> None:
    lines = table_of_texts(["a|b", "c"], rows).split("\n")
    assert len(lines) == len(rows) + 2
    for line in lines:
        # A bar ends a column unless an odd number of backslashes stands before it.
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3
        assert "<" not in line


@given(TEXTS)
def test_escaped_text_is_the_same_once_unescaped(text: str) -> None:
    shown = re.sub(r"\\([\\`*_{}\[\]|#$~&])", r"\1", escape(text).replace("&lt;", "<"))
    assert shown == " ".join(text.split())


def test_numbers_stand_to_the_right() -> None:
    assert table(["x", "n"], [["**a**", "1"]], numbers=[1]) == "| x | n |\n| :--- | ---: |\n| **a** | 1 |"
