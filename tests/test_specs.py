"""The one grammar of names with options: what is written is read as the same, and what is wrong is said."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as some

from trainless.data import load_data
from trainless.errors import InputError, UnknownNameError
from trainless.estimators import ESTIMATORS, Full, Reduced, Surrogate, ZeroCost, estimator
from trainless.search_spaces import SEARCH_SPACES, search_space
from trainless.specs import Spec, look_up, options_of, parse_spec, read_options, spec_of, split_names, write_spec
from trainless.strategies import STRATEGIES, strategy, strategy_spec
from trainless.strategies.base import CONTEXT
from trainless.training import Recipe

CELLS = search_space("nasbench201", channels=4, cells=1)
# Values that the options of registered things take, where not every value of their type will do.
CHOSEN: dict[str, some.SearchStrategy[Any]] = {
    "backbone": some.sampled_from(["all", "lite0", "lite2"]),
    "model": some.sampled_from(["gp", "boosting"]),
    "guide": some.sampled_from(["none", "robust", "rank(flops, nwot)"]),
    "proxy": some.sampled_from(["nwot", "synflow:log"]),
    "proxies": some.sampled_from(["none", "flops nwot", "synflow:log"]),
    "base": some.sampled_from(
        ["full", "full(epochs=3)", "zero-cost(score=rank(flops, nwot))", "reduced(2, shift=0.1)"]
    ),
    "score": some.sampled_from(["nwot", "rank(flops, nwot)", "hybrid", "log-rank(params,nwot)"]),
    "optimizer": some.sampled_from(["adamw", "sgd"]),
    "schedule": some.sampled_from(["one-cycle", "cosine"]),
    "tournament": some.integers(1, 8),
    "population": some.integers(8, 200),
    "rungs": some.integers(1, 5),
    "shift": some.floats(0, 0.5),
    "head": some.sampled_from(["classification", "jigsaw", "segmentation", "generation"]),
    "sampling": some.sampled_from(["uniform", "sandwich"]),
    "order": some.sampled_from([1, 2]),
}
COUNTS, SHARES = some.integers(5, 10**6), some.floats(0, 1, exclude_min=True, exclude_max=True)


def values(name: str, usual: Any) -> some.SearchStrategy[Any]:
    by_type = {bool: some.booleans(), int: COUNTS, float: SHARES}
    if name == "affine" and isinstance(usual, float):  # of a recipe; that of a space says whether
        return some.floats(0, 0.5)
    return CHOSEN[name] if name in CHOSEN else by_type[type(usual)]


def some_of(options: Mapping[str, Any]) -> some.SearchStrategy[dict[str, Any]]:
    return some.fixed_dictionaries({}, optional={name: values(name, usual) for name, usual in options.items()})


class TestRegistered:
    """All that is registered, with any of its options, is written and read as the same."""

    @pytest.mark.parametrize("name", SEARCH_SPACES)
    @given(data=some.data())
    def test_spaces(self, name: str, data: some.DataObject) -> None:
        space = SEARCH_SPACES[name](**data.draw(some_of(options_of(SEARCH_SPACES[name]))))
        assert search_space(space.spec) == space
        assert search_space(spec_of(space, usual=False)) == space

    @pytest.mark.parametrize("name", ESTIMATORS)
    @given(data=some.data())
    def test_estimators(self, name: str, data: some.DataObject) -> None:
        kind = ESTIMATORS[name]
        options = data.draw(some_of(options_of(kind)))
        if hasattr(kind, "recipe"):
            options["recipe"] = Recipe(**data.draw(some_of(vars(Recipe()))))
        made = kind(**options)
        assert estimator(str(made)) == made
        assert str(estimator(str(made))) == str(made)

    @pytest.mark.parametrize("name", STRATEGIES)
    @given(data=some.data())
    def test_strategies(self, name: str, data: some.DataObject) -> None:
        usual = options_of(STRATEGIES[name], CONTEXT)
        options = data.draw(some_of(usual))
        if "tournament" in usual:
            assume(options.get("tournament", usual["tournament"]) <= options.get("population", usual["population"]))
        made = STRATEGIES[name](CELLS, **options)
        again = strategy(str(made), CELLS)
        assert {option: getattr(again, option) for option in usual} == usual | options
        assert str(again) == strategy_spec(write_spec(name, options)) == str(made)

    @pytest.mark.parametrize("name", STRATEGIES)
    def test_a_strategy_as_usual_is_its_name(self, name: str) -> None:
        assert str(strategy(name, CELLS, seed=3)) == name


class TestGrammar:
    @given(some.dictionaries(some.text(string.ascii_lowercase + "_", min_size=1), some.text()))
    def test_any_text_is_a_value(self, options: dict[str, str]) -> None:
        written = write_spec("thing", options)
        assert parse_spec(written) == Spec("thing", tuple(options.items()))
        assert split_names(f"a, {written},b") == ["a", written, "b"]

    @given(some.text('a(",)\\= '))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        try:
            spec = parse_spec(text)
        except InputError:
            return
        values = [value for _, value in spec.arguments]
        written = write_spec("again", {f"option_{number}": value for number, value in enumerate(values)})
        assert [value for _, value in parse_spec(written).arguments] == values

    @pytest.mark.parametrize(
        ("text", "spec"),
        [
            ("tpe", Spec("tpe")),
            (" tpe ( startup = 4 ) ", Spec("tpe", (("startup", "4"),))),
            ("tpe()", Spec("tpe")),
            ("zero-cost(sum(nwot, logsynflow))", Spec("zero-cost", (("", "sum(nwot, logsynflow)"),))),
            ("a(b=c(d=e), f)", Spec("a", (("b", "c(d=e)"), ("", "f")))),
            ('a(b="x, (y")', Spec("a", (("b", "x, (y"),))),
            ("photos (2)/pets(name=pets)", Spec("photos (2)/pets", (("name", "pets"),))),
            ("photos (2)/pets", Spec("photos (2)/pets")),
        ],
    )
    def test_reading(self, text: str, spec: Spec) -> None:
        assert parse_spec(text) == spec

    def test_what_stands_bare_is_written_bare(self) -> None:
        options = {"score": "log-rank(flops, nwot)", "proxies": "flops nwot", "share": 0.4, "mirror": True}
        assert write_spec("a", options) == "a(score=log-rank(flops, nwot), proxies=flops nwot, share=0.4, mirror=yes)"
        assert write_spec("a", {"file": "my, own.json"}) == 'a(file="my, own.json")'

    @pytest.mark.parametrize("text", ["tpe(startup=4", "tpe(startup=4))", "tpe)", "a(b))(c)", 'a(b="c)', 'a(b="c"d")'])
    def test_what_is_not_closed_is_refused(self, text: str) -> None:
        with pytest.raises(InputError, match="without its other"):
            parse_spec(text)

    def test_what_is_no_text_of_json_is_refused(self) -> None:
        with pytest.raises(InputError, match='The value "a" b is no text'):
            parse_spec('thing(name="a" b)')


class TestLookUp:
    def test_the_first_option_needs_no_name(self) -> None:
        assert estimator("full(3)") == estimator("full(epochs=3)") == Full(3)
        assert search_space("mobile(8, depth=2)") == search_space("mobile", width=8, depth=2)
        assert strategy("tpe(4)", CELLS).startup == 4  # type: ignore[attr-defined]

    def test_options_stand_in_text_and_beside_it(self) -> None:
        assert search_space("nasbench201(channels=8)", cells=2) == search_space("nasbench201(channels=8, cells=2)")
        made = strategy("nsga2(population=9)", CELLS, objectives=2)
        assert (str(made), made.objectives) == ("nsga2(population=9)", 2)

    def test_fields_of_a_dataclass_are_options(self) -> None:
        registry = {"reduced": Reduced}
        recipe = Recipe(shift=0.125, mirror=True)
        assert look_up("estimator", "reduced(2, mirror=yes, shift=0.125)", registry)() == Reduced(2, recipe=recipe)
        given = look_up("estimator", "reduced(mirror=yes)", registry, {"recipe": Recipe(shift=0.125)})()
        assert given == Reduced(recipe=recipe)

    def test_a_nested_spec_is_text(self) -> None:
        assert estimator("surrogate(gp, base=reduced(epochs=2))") == Surrogate(base="reduced(epochs=2)")
        assert estimator("zero-cost(rank(flops, nwot))") == ZeroCost("rank(flops, nwot)")

    @pytest.mark.parametrize(
        ("text", "options", "message"),
        [
            ("nasbench", {}, r"There is no search space 'nasbench': did you mean 'nasbench201'\? Known: autoformer"),
            ("nasbench201(width=8)", {}, "The search space 'nasbench201' has no option 'width', expected one of "
             r"channels, cells, as in nasbench201\(channels=16\)."),
            ("nasbench201", {"width": 8}, r"'nasbench201' has no option 'width', expected one of channels, cells"),
            ("nasbench201(4, 1)", {}, "'nasbench201' has no option '1', expected one of channels, cells"),
            ("nasbench201(channels=four)", {}, "The option 'channels' is 'four', expected a whole number, such as 16, "
             r"as in nasbench201\(channels=16\)."),
            ("nasbench201(4, channels=4)", {}, "option 'channels' of the search space 'nasbench201' is given twice"),
            ("nasbench201(channels=4)", {"channels": 4}, "'channels' of the search space 'nasbench201' is given twice"),
            ("nasbench201(channels=0)", {}, "The number of channels is 0, expected a whole number of at least 1"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_said(self, text: str, options: dict[str, int], message: str) -> None:
        with pytest.raises(InputError, match=message):
            search_space(text, **options)

    def test_fields_of_a_dataclass_are_told_by_its_name(self) -> None:
        with pytest.raises(
            InputError, match=r"no option 'x', expected one of epochs, or of a recipe, as in full\(epochs=12\)"
        ):
            estimator("full(x=1)")

    def test_what_has_no_options_says_so(self) -> None:
        with pytest.raises(
            InputError, match=r"The strategy 'random' has no option 'startup', for it has none: write ran"
        ):
            strategy("random(startup=3)", CELLS)

    @pytest.mark.parametrize("text", ["nsga2(objectives=2)", "tpe(seed=3)", "tpe(space=mobile)"])
    def test_what_the_search_decides_is_no_option(self, text: str) -> None:
        with pytest.raises(InputError, match="has no option"):
            strategy(text, CELLS)

    def test_a_value_of_each_type(self) -> None:
        known = {"is": True, "count": 1, "share": 0.5, "name": "x"}
        spec = parse_spec("thing(is=No, count=-3, share=1e-3, name=a b)")
        assert read_options("thing", spec, known) == {"is": False, "count": -3, "share": 0.001, "name": "a b"}

    @pytest.mark.parametrize("name", [7, None, ("nasbench201",)])
    def test_what_is_no_text_is_no_name(self, name: Any) -> None:
        with pytest.raises(UnknownNameError, match="There is no search space"):
            search_space(name)


class TestData:
    def test_options_stand_with_the_source(self) -> None:
        assert (
            load_data("digits(image_size=16, name=numbers)").task
            == load_data("digits", image_size=16, name="numbers").task
        )

    def test_options_beside_the_text_join_them(self) -> None:
        assert load_data("digits(image_size=4)", name="numbers").task.name == "numbers"
        with pytest.raises(InputError, match="'image_size' of the data set 'digits' is given twice"):
            load_data("digits(image_size=4)", image_size=4)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "digits(size=4)",
                r"The data set 'digits' has no option 'size', expected one of image_size, name, as in digits",
            ),
            ("digits(image_size=big)", "The option 'image_size' is 'big', expected a whole number, such as 32"),
            ("digits(image_size=0)", "Image size 0 is too small"),
            ("photos (2)", r"There is no data set or path 'photos \(2\)'"),
        ],
    )
    def test_what_is_wrong_is_said(self, text: str, message: str) -> None:
        with pytest.raises(InputError, match=message):
            load_data(text)
