"""Tables as Markdown and LaTeX."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainless.errors import UnknownNameError
from trainless.report import latex_table, markdown_table
from trainless.report.common.columns import cells_of, columns_of
from trainless.report.common.formats import compact, milliseconds, number, seconds

BOARD = pd.DataFrame(
    {
        "kendall": [0.6604, -0.25], "kendall_low": [0.65, math.nan], "kendall_high": [0.67, math.nan],
        "precision_at": [0.1, 0.1], "regret": [0.01, 2.5], "kind": ["mix", "data-dependent"],
        "seconds": [0.0, math.nan], "not_finite": [1201, 0],
    },
    index=pd.Index(["hybrid", "grad_norm"], name="proxy"),
)  # fmt: skip


class TestMarkdown:
    def test_leaderboard(self) -> None:
        assert markdown_table(BOARD, k=5).splitlines() == [
            "| proxy | Kendall's τ | precision@5 | regret, points | kind | seconds | not finite |",
            "| :--- | ---: | ---: | ---: | :--- | ---: | ---: |",
            "| hybrid | **0.660** (0.650 to 0.670) | **0.10** | **0.01** | mix | 0 | 1,201 |",
            "| grad\\_norm | −0.250 | **0.10** | 2.50 | data-dependent | – | **0** |",
        ]

    def test_choices(self) -> None:
        text = markdown_table(BOARD, columns=["regret", "kendall"], intervals=False, bold_best=False, index="name")
        assert text.splitlines()[::3] == ["| name | regret, points | Kendall's τ |", "| grad\\_norm | 2.50 | −0.250 |"]
        with pytest.raises(UnknownNameError, match="did you mean 'kendall'"):
            markdown_table(BOARD, columns=["kendal"])

    def test_index_that_only_numbers_the_rows_is_left_out(self) -> None:
        frame = pd.DataFrame({"data set": ["cifar10", None], "n": [1, 2000], "same": [True, False]})
        lines = markdown_table(frame).splitlines()
        assert lines == [
            "| data set | n | same |", "| :--- | ---: | :--- |", "| cifar10 | 1 | True |", "| – | 2,000 | False |",
        ]  # fmt: skip
        assert markdown_table(frame, index="row").splitlines()[2] == "| 0 | cifar10 | 1 | True |"

    def test_markup_is_escaped(self) -> None:
        frame = pd.DataFrame({"a|b": ["<b>x</b>\n| y", "*z* `q` $x$ [l](u)"]}, index=["_n_", "# h"])
        lines = markdown_table(frame).splitlines()
        assert len(lines) == 4
        assert lines[2] == "| \\_n\\_ | &lt;b>x&lt;/b> \\| y |"
        assert lines[3] == "| \\# h | \\*z\\* \\`q\\` \\$x\\$ \\[l\\](u) |"

    @given(st.text(max_size=30))
    def test_any_text_is_one_cell(self, text: str) -> None:
        lines = markdown_table(pd.DataFrame({"a": [1]}, index=[text])).rstrip("\n").split("\n")
        assert len(lines) == 3
        bars = [i for i, each in enumerate(lines[2]) if each == "|" and not _is_escaped(lines[2], i)]
        assert len(bars) == 3

    def test_empty(self) -> None:
        assert markdown_table(pd.DataFrame({"kendall": []}, dtype=float)).count("\n") == 2


def _is_escaped(text: str, place: int) -> bool:
    return (len(text[:place]) - len(text[:place].rstrip("\\"))) % 2 == 1


class TestLatex:
    def test_leaderboard(self) -> None:
        lines = [line.strip() for line in latex_table(BOARD, "50 % & more", "tab:a b_c", k=5).splitlines()]
        assert lines == [
            r"\begin{table}",
            r"\centering",
            r"\caption{50 \% \& more}",
            r"\label{tab:ab_c}",
            r"\begin{tabular}{lrrrlrr}",
            r"\toprule",
            r"proxy & Kendall's $\tau$ & precision@5 & regret, points & kind & seconds & not finite \\",
            r"\midrule",
            r"hybrid & \textbf{0.660} {\scriptsize [0.650 to 0.670]} & \textbf{0.10} & \textbf{0.01} & mix & 0 & "
            r"1,201 \\",
            r"grad\_norm & $-$0.250 & \textbf{0.10} & 2.50 & data-dependent & -- & \textbf{0} \\",
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]

    def test_commands_in_names_stay_text(self) -> None:
        frame = pd.DataFrame({"x^2": [1.0]}, index=[r"\input{/etc/passwd} $x$ #1 ~ {a} <b> 50%" + "\n" + r"\\ & |"])
        text = latex_table(frame, r"\end{table}", "}\\evil{")
        row = text.splitlines()[8].strip()
        assert row == (
            r"\textbackslash{}input\{/etc/passwd\} \$x\$ \#1 \textasciitilde{} \{a\} \textless{}b\textgreater{} 50\% "
            r"\textbackslash{}\textbackslash{} \& \textbar{} & 1 \\"
        )
        assert r"\caption{\textbackslash{}end\{table\}}" in text
        assert r"\label{evil}" in text
        assert r"x\textasciicircum{}2" in text

    def test_rows_have_as_many_cells_as_columns(self) -> None:
        lines = latex_table(BOARD, "c", "l").splitlines()
        assert {line.count("&") for line in lines if line.endswith(r"\\")} == {6}


class TestCells:
    def test_what_reads_the_same_is_equally_good(self) -> None:
        frame = pd.DataFrame({"kendall": [0.50001, 0.50002, 0.4], "regret": [1.0, 1.001, 3.0]})
        rows = cells_of(frame, columns_of(frame))
        assert [[cell.is_best for cell in row] for row in rows] == [[True, True], [True, True], [False, False]]

    def test_one_row_has_no_best(self) -> None:
        frame = pd.DataFrame({"kendall": [0.5]})
        assert not cells_of(frame, columns_of(frame))[0][0].is_best

    def test_values_are_exact(self) -> None:
        frame = pd.DataFrame({"kendall": [1 / 3, math.inf]})
        (first,), (second,) = cells_of(frame, columns_of(frame))
        assert (first.text, first.value) == ("0.333", 1 / 3)
        assert (second.text, second.value) == ("∞", None)

    def test_a_column_that_only_looks_like_the_end_of_an_interval(self) -> None:
        frame = pd.DataFrame({"kendall": [0.5], "kendall_low": [0.4]})
        assert [column.name for column in columns_of(frame)] == ["kendall", "kendall_low"]


class TestFormats:
    @pytest.mark.parametrize(("value", "text"), [(0.0002, "0.0002"), (0.5, "0.50"), (12.4, "12"), (1234.0, "1,234")])
    def test_seconds_in_a_table(self, value: float, text: str) -> None:
        frame = pd.DataFrame({"seconds": [value]})
        assert cells_of(frame, columns_of(frame))[0][0].text == text

    def test_numbers(self) -> None:
        assert [number(value) for value in (math.nan, math.inf, -math.inf)] == ["NaN", "∞", "−∞"]
        assert [compact(value) for value in (0.25, 999, 1e3, 2.5e6, 3e9)] == ["0.25", "999", "1 k", "2.5 M", "3 G"]
        # What digits would round up to a thousand has the next prefix.
        assert [compact(value) for value in (999.7, 999_700, -999_700)] == ["1 k", "1 M", "−1 M"]
        assert milliseconds(99.96) == "100"
        assert [seconds(value) for value in (1e-9, 1.5e-6, 0.0123, 61.0)] == ["1e−09 s", "1.5 µs", "12.3 ms", "61 s"]
        assert number(float(np.float32(0.5))) == "0.50000"
