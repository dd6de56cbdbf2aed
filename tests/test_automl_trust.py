"""Trust: a sample is trained, and the scores of proxies are held against it."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Command
from scipy.stats import kendalltau

from trainless.automl import trust
from trainless.data import load_data, split
from trainless.errors import InputError
from trainless.scoring import Scorer
from trainless.search_spaces import search_space
from trainless.training import train

pytestmark = pytest.mark.slow

SMALL = search_space("nasbench201", channels=4, cells=1)
OPTIONS = {"train": 6, "proxies": "flops, nwot", "epochs": 2, "images": 300, "workers": 0, "seed": 3}


def test_correlates_scores_with_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = trust("digits", SMALL, store=tmp_path / "trust.db", **OPTIONS)  # type: ignore[arg-type]
    assert len({SMALL.canonical(SMALL.parse(text)) for text in found.accuracies.index}) == 6
    for name in ("flops", "nwot"):
        expected = kendalltau(found.scores[name].loc[found.accuracies.index], found.accuracies).statistic
        assert found.metrics.loc[name, "kendall"] == pytest.approx(expected)
    # The accuracies are those of plain trainings, and the scores those of the scorer.
    digits = load_data("digits")
    parts = split(split(digits, 300 / len(digits), 3)[1], 0.2, 3)
    text = str(found.accuracies.index[0])
    network = SMALL.build(SMALL.canonical(SMALL.parse(text)), digits.task)
    assert train(network, *parts, epochs=2, seed=3).valid_accuracy == found.accuracies[text]
    table = Scorer(SMALL, "flops, nwot", "digits", seed=3, workers=0).score([text])
    assert table.loc[text, "flops"] == found.scores.loc[text, "flops"]
    # What is stored is not trained again.
    monkeypatch.setattr("trainless.estimators.trainings.train", None)
    again = trust("digits", SMALL, store=tmp_path / "trust.db", **OPTIONS)  # type: ignore[arg-type]
    assert again.accuracies.to_dict() == found.accuracies.to_dict()


def test_refuses_too_few() -> None:
    with pytest.raises(InputError, match="4 architectures are to be trained, expected at least 5"):
        trust("digits", SMALL, train=4)
    with pytest.raises(InputError, match=r"has only \d+ different networks"):
        trust("digits", SMALL, train=9000)


def test_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = Command(monkeypatch, capsys)
    given = ("trust", "--data", "digits", "--space", "nasbench201(channels=4, cells=1)", "--train", 5,
             "--epochs", 1, "--images", 200, "--proxies", "params,flops", "--workers", 0,
             "--store", tmp_path / "trust.db")  # fmt: skip
    document = command.document(*given, "--csv", tmp_path / "rows.csv")
    assert [row["proxy"] for row in document["proxies"]] == ["params", "flops"]
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 6
    code, out, _ = command(*given)
    assert code == 0
    assert "kendall_low" in out
    assert "expected at least 5" in command.refusal(*given, "--train", 3)
    assert "did you mean 'nwot'" in command.refusal(*given, "--proxies", "nwott")
