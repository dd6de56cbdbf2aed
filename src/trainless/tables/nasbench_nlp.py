"""NAS-Bench-NLP (Klyuchnikov et al., IEEE Access 2022): recurrent cells as recipes, trained as language models."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from trainless.errors import ArchitectureError, TableError
from trainless.search_spaces.nasbench_nlp import NASBenchNLP
from trainless.tables.base import BenchmarkTable
from trainless.tables.files import shown
from trainless.tables.plain import read_plain

__all__ = ["read_nasbench_nlp"]

_SPACE = NASBenchNLP()
_SPLIT = re.compile(r"(val|test)", re.IGNORECASE)
_LOSS = re.compile(r"loss|ppl|perplexity|bpc", re.IGNORECASE)
_RECIPES = re.compile(r"recep|recip|arch|cell", re.IGNORECASE)


def read_nasbench_nlp(path: Path) -> BenchmarkTable:
    """Read the losses of trained cells: a CSV file with a column of recipes, and columns of losses or perplexities.

    A column of numbers counts by its name: ``val`` or ``test`` with ``loss``, ``ppl``, ``perplexity`` or ``bpc``; one
    with ``wiki`` in it is of WikiText-2, all others of the Penn Treebank. The table holds them with a minus sign, so
    that higher is better. Of recipes that compute the same the mean counts; a training that failed has no value.

    Raises:
        TableError: the file is missing, damaged, or has no such columns.

    Example:
        >>> import tempfile
        >>> recipe = '{"h_new_0": {"op": "linear", "input": ["h_prev_0", "x"]}}'
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "nlp.csv")
        ...     pd.DataFrame({"recepie": [recipe], "val_loss": [4.5], "test_loss": [4.4]}).to_csv(path)
        ...     read_nasbench_nlp(path).frame.T.to_dict()
        {'h0=linear(x,h0)': {'ptb.valid': -4.5, 'ptb.test': -4.4}}
    """
    frame = read_plain(path)
    recipes = [name for name in frame.columns if _RECIPES.search(str(name)) and not _is_number(frame[name])]
    losses = {
        f"{'wikitext-2' if 'wiki' in str(name).lower() else 'ptb'}.{_split(str(name))}": name
        for name in frame.columns
        if _SPLIT.search(str(name)) and _LOSS.search(str(name)) and _is_number(frame[name])
    }
    if not recipes or not losses:
        raise TableError(
            f"'{path}' has the columns {shown(', '.join(map(str, frame.columns)))}, expected one of recipes and one of "
            "numbers whose name says 'val' or 'test' and 'loss' or 'perplexity': give the public file."
        )
    values = pd.DataFrame({column: -frame[name].astype(float) for column, name in losses.items()})
    by_cell = values.groupby(frame[recipes[0]].map(lambda text: _cell(str(text))), sort=False).mean()
    return BenchmarkTable("nasbench-nlp", "nasbench_nlp", by_cell.rename_axis("architecture"))


def _is_number(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column))


def _split(name: str) -> str:
    found = _SPLIT.search(name)
    return "valid" if found and found[1].lower() == "val" else "test"


def _cell(text: str) -> str:
    try:
        return str(_SPACE.parse(text))
    except ArchitectureError as error:
        raise TableError(f"'{shown(text)}' is no recipe of a cell: fetch the file again. ({error})") from error
