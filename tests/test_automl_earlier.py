"""An earlier run that a fit starts from: read without running its code, refused where it is damaged, kept beside."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from trainless.automl import EarlierRun, Fitted, Plan, fit
from trainless.automl.earlier import earlier_run
from trainless.automl.folders import write_run
from trainless.automl.inference import compute_logits, logits_of
from trainless.data import Splits, drop_leaks, fingerprint, load_data, load_splits
from trainless.data.splitting import part_of
from trainless.errors import InputError
from trainless.search import Limits
from trainless.search_spaces import search_space

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("earlier")]

SPACE = search_space("nats_size(unit=1)")
FIRST = "features_0.weight"


@pytest.fixture(scope="module")
def digits() -> Splits:
    return drop_leaks(load_splits("digits", fractions=(0.4, 0.3, 0.3), image_size=8, seed=3))


@pytest.fixture(scope="module")
def run(digits: Splits, tmp_path_factory: pytest.TempPathFactory) -> tuple[Fitted, Path]:
    folder = tmp_path_factory.mktemp("earlier")
    plan = Plan(epochs=2, space=SPACE, evaluations=2, workers=0, limits=Limits(parameters=2000), seed=3)
    return write_run(fit(digits, plan, folder=folder), folder, digits.test), folder


@pytest.fixture
def copy(run: tuple[Fitted, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(run[1], tmp_path / "run"))


def test_a_fit_from_drawn_weights_leaves_nothing_that_another_started_from(copy: Path, digits: Splits) -> None:
    (copy / "start.safetensors").write_bytes(b"of a fit before")
    fit(digits, Plan(epochs=1, space=SPACE, evaluations=2, workers=0, limits=Limits(parameters=2000)), folder=copy)
    assert not (copy / "start.safetensors").exists()


def test_its_network_is_the_one_that_was_written(run: tuple[Fitted, Path], digits: Splits) -> None:
    fitted, folder = run
    found = EarlierRun.read(folder, "from")
    assert (str(found.architecture), found.space.label) == (fitted.architecture, fitted.space)
    expected = compute_logits(fitted.network, digits.test.images)
    assert torch.allclose(logits_of(found.network(), digits.test), expected, atol=1e-4)
    assert found.cost("params") == fitted.costs["params"]


def test_none_of_its_code_is_run(copy: Path) -> None:
    (copy / "network.py").write_text("raise SystemExit('run')")
    EarlierRun.read(copy, "from").network()


def test_its_images_are_read_as_they_were(run: tuple[Fitted, Path], digits: Splits) -> None:
    found = EarlierRun.read(run[1], "grow")
    for source in (None, "digits", load_data("digits")):
        read = found.load(source)
        assert [fingerprint(part) for part in read.parts.values()] == list(map(fingerprint, digits.parts.values()))
    found.check(digits)
    other = replace(digits, valid=part_of(digits.valid, np.arange(len(digits.valid)) > 0))
    with pytest.raises(InputError, match="The images are not those of"):
        found.check(other)
    replace(found, use="from").check(other)


def test_where_images_were_in_memory_they_have_to_be_given(copy: Path) -> None:
    change_facts(copy, lambda facts: facts["setting"]["origin"].pop("source"))
    with pytest.raises(InputError, match="does not say where its images are: give them too"):
        EarlierRun.read(copy, "grow").load()
    change_facts(copy, lambda facts: facts["setting"]["origin"].update(source=str(copy / "nowhere")))
    with pytest.raises(InputError, match=r"images of the run .* are needed once more: .*nowhere"):
        EarlierRun.read(copy, "grow").load()


def change_facts(folder: Path, change: Callable[[Any], Any]) -> None:
    facts = json.loads((folder / "fit.json").read_text())
    change(facts)
    (folder / "fit.json").write_text(json.dumps(facts))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any], **noted: str) -> None:
    architecture = json.loads((folder / "fit.json").read_text())["architecture"]
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"architecture": architecture, **noted})


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (shutil.rmtree, "is no folder that `trainless fit` wrote"),
    "no facts": (lambda folder: (folder / "fit.json").unlink(), "is no folder that `trainless fit` wrote"),
    "half the facts": (lambda folder: (folder / "fit.json").write_text("{"), "is no folder that `trainless fit` wrote"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "safetensors' cannot be read"),
    "half the weights": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9]),
        "safetensors' cannot be read",
    ),
    "a weight less": (
        lambda folder: change_weights(folder, lambda weights: weights.pop(FIRST)), "damaged or of different fits"
    ),
    "no number": (
        lambda folder: change_weights(folder, lambda weights: weights[FIRST].fill_(torch.nan)),
        "not finite",
    ),
    "weights of another": (lambda folder: change_weights(folder, len, architecture="8"), "are of different networks"),
    "another space": (
        lambda folder: change_facts(folder, lambda facts: facts.update(space="convnet, unit=8")), "of different fits"
    ),
    "no such space": (
        lambda folder: change_facts(folder, lambda facts: facts.update(space="nowhere")), "of different fits"
    ),
    "half a setting": (
        lambda folder: change_facts(folder, lambda facts: facts["setting"].pop("images")), "of different fits"
    ),
    "an earlier version": (
        lambda folder: change_facts(folder, lambda facts: facts.pop("setting")), "An? fit cannot .* earlier version"
    ),
    "pretrained": (
        lambda folder: change_facts(folder, lambda facts: facts.update(pretrained={"origin": "timm"})),
        "has pretrained features",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_or_missing_is_refused_in_a_sentence(copy: Path, damage: str) -> None:
    change, told = DAMAGES[damage]
    change(copy)
    with pytest.raises(InputError, match=told) as refused:
        EarlierRun.read(copy, "from")
    assert "\n" not in str(refused.value)


def test_the_copy_counts_where_a_fit_goes_on(copy: Path, tmp_path: Path) -> None:
    first, folder = EarlierRun.read(copy, "grow"), tmp_path / "new"
    folder.mkdir()
    first.keep(folder)
    change_weights(copy, lambda weights: weights[FIRST].fill_(0.5))
    changed = EarlierRun.read(copy, "grow", folder)
    assert not torch.equal(changed.weights[FIRST], first.weights[FIRST])
    shutil.rmtree(copy)
    with pytest.raises(InputError, match="is no folder"):
        EarlierRun.read(copy, "grow", folder)  # a fit that begins
    again = EarlierRun.read(copy, "grow", folder, go_on=True)
    (folder / "unfinished.pt").touch()
    resumed = EarlierRun.read(copy, "grow", folder)
    for found in (again, resumed):
        assert (found.facts, str(found)) == (first.facts, str(first))
        assert all(torch.equal(found.weights[name], value) for name, value in first.weights.items())
    with pytest.raises(InputError, match="is no folder"):
        EarlierRun.read(tmp_path / "other", "grow", folder)


def limited(start: EarlierRun, **limits: float) -> Limits:
    return Plan(epochs=1, start=start, limits=Limits(**limits)).limits


def test_limits_become_wider_or_tighter(run: tuple[Fitted, Path]) -> None:
    grow, shrink = (EarlierRun.read(run[1], use) for use in ("grow", "shrink"))
    parameters, flops = int(grow.cost("params")), int(grow.cost("flops"))
    assert limited(grow) == Limits(parameters=2000)
    assert limited(grow, parameters=9000, flops=flops) == Limits(parameters=9000, flops=flops)
    with pytest.raises(InputError, match=r"params is 1,500, but --grow needs wider ones than .*, at least 2,000"):
        limited(grow, parameters=1500)
    with pytest.raises(InputError, match=f"flops is {flops - 1:,}, but --grow needs wider ones"):
        limited(grow, flops=flops - 1)
    assert limited(shrink, flops=flops - 1) == Limits(parameters=2000, flops=flops - 1)
    with pytest.raises(InputError, match=r"params is 3,000, but --shrink needs tighter ones than .*, at most 2,000"):
        limited(shrink, parameters=3000)
    for loose in ({}, {"parameters": parameters}):
        with pytest.raises(InputError, match=f"keeps the limits already .* such as --max-params {parameters // 2}"):
            limited(shrink, **loose)


def test_settings_of_the_run_count_where_none_are_given(run: tuple[Fitted, Path]) -> None:
    start = EarlierRun.read(run[1], "grow")
    plan = Plan(epochs=1, start=start)
    assert (plan.space_label, plan.measure, plan.is_resizing) == (SPACE.label, "accuracy", True)
    assert Plan(epochs=1, start=start, measure="log-loss").measure == "log-loss"
    assert replace(plan, epochs=2).limits == plan.limits  # settled once and for all
    with pytest.raises(InputError, match="The image_size is given, but --grow reads images as"):
        Plan(epochs=1, start=start, image_size=8)
    other = replace(start, use="from")
    assert (Plan(epochs=1, start=other).measure, Plan(epochs=1, start=other, image_size=8).image_size) == (None, 8)
    assert Plan(epochs=1, start=other, space="nats_size(unit=2)").space_label == "nats_size, unit=2"
    with pytest.raises(InputError, match=r"The search space is convnet, but the network of .* leave out --space"):
        Plan(epochs=1, start=other, space="convnet")


def test_a_fit_has_one_start(run: tuple[Fitted, Path]) -> None:
    assert earlier_run() is None
    assert str(earlier_run(shrink=run[1])) == f"shrink {run[1]}"
    with pytest.raises(InputError, match=r"has --from \(from_run in Python\) and --grow and --shrink, expected one"):
        earlier_run("a", "b", "c")
    with pytest.raises(InputError, match="The run of --grow is 5, expected the folder of one"):
        earlier_run(grow=5)  # type: ignore[arg-type]
