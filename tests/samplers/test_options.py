"""Options of samplers: names, types, ranges, parts; what is wrong gives one line with the nearest name."""

from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from populations import CASES, population

from trajrl.core.registry import find
from trajrl.samplers import SAMPLERS, make_sampler
from trajrl.samplers.options import choose_sampler, resolved_options


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("clutser", {}, "no sampler 'clutser'; did you mean 'cluster'"),
        ("cluster*prioritty", {}, "did you mean 'priority'"),
        ("cluster", {"clutsers": 3}, "no cluster sampler option 'clutsers'; did you mean 'clusters'"),
        ("cluster*priority", {"metrc": "return"}, "did you mean 'metric'"),
        ("cluster*priority", {"right.alfa": 1.0}, "did you mean 'alpha'"),
        ("mixture", {"ofline.alpha": 1.0}, "no mixture sampler option 'ofline.alpha'"),
        ("uniform", {"floor": 0.1}, "the sampler 'uniform' has no options; got 'floor'"),
        ("priority", {"metric": "td_eror_rank"}, "did you mean 'td_error_rank'"),
        ("priority", {"start": "backwards"}, "did you mean 'backward_cursor'"),
        ("priority", {"alpha": "much"}, "takes float; got 'much'"),
        ("priority", {"alpha": True}, "takes float; got True"),
        ("priority", {"alpha": -1}, "'alpha' is at least 0; got -1"),
        ("priority", {"floor": 1.5}, "'floor' is a share between 0 and 1; got 1.5"),
        ("priority", {"refresh_every": 0}, "'refresh_every' is at least 1; got 0"),
        ("cluster", {"clusters": "many"}, "clusters is a number or 'auto'; got 'many'"),
        ("cluster", {"clusters": 0}, "'clusters' is at least 1; got 0"),
        ("cluster", {"keyframes": 1}, "'keyframes' is at least 2; got 1"),
        ("cluster", {"refit_every": -1}, "'refit_every' is at least 0; got -1"),
        ("weighted", {"law": "wr"}, "no law of return weighting 'wr'"),
        ("weighted", {"temperature": 0}, "'temperature' is above 0; got 0"),
        ("weighted", {"ess": 1.2}, "'ess' is a share between 0 and 1; got 1.2"),
        ("mixture", {"fraction": 2.0}, "'fraction' is a share"),
        ("mixture", {"fraction_end": -0.1}, "'fraction_end' is a share"),
        ("mixture", {"over_steps": -1}, "'over_steps' is at least 0"),
        ("quality", {"threshold": "median"}, "there are: mean, quantile|did you mean 'mean'"),
        ("quality", {"judge": "trajectories"}, "did you mean 'trajectory'"),
        ("quality", {"states": 0}, "'states' is at least 1; got 0"),
        ("quality", {"low_end": 0.0, "high_end": 0.0}, "one of the weights"),
        ("uniform*priority", {}, "'uniform' does not"),
        ("policy=weighted", {}, "reads policy=NAME values=NAME; got 'policy=weighted'"),
        ("policy=weighted values=", {}, "reads policy=NAME values=NAME"),
        ("critic=weighted values=top", {}, "reads policy=NAME values=NAME"),
        ("policy=wieghted values=uniform", {}, "did you mean 'weighted'"),
        ("policy=weighted values=uniform", {"policy.temprature": 1.0}, "did you mean 'temperature'"),
        (
            "policy=priority values=uniform",
            {},
            "'priority' learns from TD errors, which are those of the val",
        ),
        ("policy=uniform values=roles", {}, "a sampler for each role stands alone; 'roles' is no part of"),
        ("mixture", {"offline": "policy=top values=top"}, "a sampler for each role stands alone"),
        ("policy=top values=top", {"narrow_at": 0.5}, "shares of a run: give its updates"),
        ("policy=top values=top", {"narrow_at": 1.5}, "'narrow_at' is a share between 0 and 1; got 1.5"),
        ("cluster*mixture", {}, "'mixture' has not"),
    ],
)
def test_a_wrong_option_gives_one_clear_line(name, options, words):
    with pytest.raises(ValueError, match=words) as error:
        make_sampler(name, population(), **options)
    assert "\n" not in str(error.value)


def test_every_option_has_a_default_and_a_comment():
    for name in SAMPLERS:
        kind = find(SAMPLERS, name, "sampler").config_type
        for config in (kind, *kind.__bases__):
            if config is object:
                continue
            source = Path(__import__(config.__module__, fromlist=["x"]).__file__).read_text()
            for field in fields(config):
                assert field.default is not MISSING, f"{name}.{field.name}"
                if field.name in config.__annotations__:
                    line = next(x for x in source.splitlines() if x.startswith(f"    {field.name}: "))
                    assert "  # " in line, f"{name}.{field.name} says nothing about itself"


def test_every_option_is_read_by_something():
    package = Path(find(SAMPLERS, "uniform", "sampler").__module__.replace(".", "/")).parent
    text = "".join(path.read_text() for path in (Path(__file__).parents[2] / package).rglob("*.py"))
    for name in SAMPLERS:
        for field in fields(find(SAMPLERS, name, "sampler").config_type):
            uses = text.count(f".{field.name}") + text.count(f'"{field.name}"')
            assert uses, f"nothing reads {name}.{field.name}"


def test_resolved_options_name_the_parts():
    printed = resolved_options(
        SAMPLERS, "cluster*priority", {"metric": "return", "left.clusters": 4, "floor": 0.3}
    )
    assert printed["left"] == "cluster"
    assert printed["right.metric"] == "return"
    assert printed["left.clusters"] == 4
    assert printed["left.floor"] == printed["right.floor"] == 0.3
    assert printed["right.alpha"] == 0.7


@pytest.mark.parametrize("case", sorted(CASES))
def test_resolved_options_build_the_same_sampler_again(case):
    name, options = CASES[case]
    printed = resolved_options(SAMPLERS, name, options)
    assert resolved_options(SAMPLERS, "product" if "*" in name else name, printed) == printed


def test_a_whole_number_may_stand_for_a_float():
    assert choose_sampler(SAMPLERS, "priority", {"alpha": 1}).config.alpha == 1.0
