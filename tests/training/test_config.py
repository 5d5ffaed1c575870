"""The config: one value per field, read by its type, unknown names refused with the nearest."""

import json

import pytest

from trajrl.agents import AGENTS
from trajrl.training.config import RunConfig, merge
from trajrl.training.presets import PRESETS
from trajrl.training.resolve_config import resolve_config, short_line
from trajrl.training.settings import convert, literal, options, split_settings


def test_settings_are_sorted_by_part():
    found = split_settings(["agent.eta=2.0", "sampler.clusters=8", "seed=1"])
    rest = {"env": {}, "goals": {}, "run": {"seed": "1"}}
    assert found == {"agent": {"eta": "2.0"}, "sampler": {"clusters": "8"}, **rest}


@pytest.mark.parametrize("wrong", ["agent.eta", "=3", "agnt.eta=2"])
def test_a_setting_without_name_value_or_known_part_is_refused(wrong):
    with pytest.raises(ValueError):
        split_settings([wrong])


def test_values_are_read_by_the_type_of_the_field():
    config = merge(RunConfig(), {"seed": "3", "early_stop": "1", "agent": "bc_diffusion"})
    assert (config.seed, config.early_stop, config.agent) == (3, 1.0, "bc_diffusion")


WRONG = [("seed", "x"), ("seed", 1.5), ("steps", True), ("early_stop", "fast"), ("utd", "NaN")]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_value_of_another_type_is_refused(name, value):
    with pytest.raises(ValueError, match=name):
        merge(RunConfig(), {name: value})


def test_an_unknown_field_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'batch_size'"):
        merge(RunConfig(), {"batchsize": 3})


@pytest.mark.parametrize("field", ["steps", "batch_size", "eval_episodes", "checkpoint_every", "log_every"])
def test_counts_start_at_one(field):
    with pytest.raises(ValueError, match=field):
        merge(RunConfig(), {field: 0}).validate()


def test_early_stop_is_not_negative():
    with pytest.raises(ValueError, match=r"early_stop must not be negative; got -0\.5"):
        merge(RunConfig(), {"early_stop": -0.5}).validate()


@pytest.mark.parametrize(("agent", "options"), [("sac", []), ("rlpd", []), ("rlpd", ["agent.bc_alpha=0.1"])])
def test_early_stop_needs_an_agent_that_clones(agent, options):
    from trajrl.training.resolve_config import resolve_config

    chosen = {"data": "x", "agent": agent, "early_stop": 0.1}
    if options:
        assert resolve_config(chosen, options).early_stop == 0.1
        return
    with pytest.raises(ValueError, match=f"--early-stop watches the .* loss, and {agent} has none"):
        resolve_config(chosen)


@pytest.mark.parametrize("field", ["utd", "explore_noise", "env_timeout"])
def test_numbers_are_finite(field):
    with pytest.raises(ValueError, match=f"{field} must be a finite number; got inf"):
        merge(RunConfig(), {field: float("inf")}).validate()


def test_choices_name_the_nearest():
    with pytest.raises(ValueError, match="float32"):
        merge(RunConfig(), {"dtype": "float23"}).validate()


def test_a_saved_config_comes_back_equal(tmp_path):
    config = merge(RunConfig(), {"seed": 7, "agent_options": {"eta": 2.0}})
    config.save(tmp_path / "config.json")
    assert RunConfig.load(tmp_path / "config.json") != RunConfig()
    assert RunConfig.load(tmp_path / "config.json") == config


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"sed": 1}', '{"seed": "x"}'])
def test_a_damaged_config_is_one_clear_error(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(ValueError):
        RunConfig.load(tmp_path / "c.json")


def test_literals():
    assert [literal(t) for t in ("1", "2.5", "true", "False", "None", "[1, 2]", "x")] == [
        1, 2.5, True, False, None, [1, 2], "x",
    ]  # fmt: skip


def test_lists_become_tuples_where_the_field_is_one():
    assert convert("sizes", "[3, 4]", (1,)) == (3, 4)


def test_options_fill_every_field_and_refuse_unknown_ones():
    config = RunConfig()
    assert options("run", config, {"seed": "4"})["seed"] == 4
    assert set(options("run", config, {})) == set(json.loads(json.dumps(config.__dict__)))
    with pytest.raises(ValueError, match="did you mean 'seed'"):
        options("run", config, {"sede": 1})


def test_every_field_of_the_config_is_read_somewhere():
    from dataclasses import fields
    from pathlib import Path

    root = Path(__file__).parents[2] / "trajrl"
    text = "\n".join(p.read_text() for p in root.rglob("*.py") if p.name != "config.py")
    unused = [f.name for f in fields(RunConfig) if f"config.{f.name}" not in text]
    assert unused == ["preset"] or unused == []


@pytest.mark.parametrize("agent", ["acfql", "trajectory_ql"])
def test_the_demo_of_the_small_sparse_task_has_settings_of_its_own(agent):
    rooms = resolve_config({"data": "toy:rooms", "preset": "demo", "agent": agent})
    other = resolve_config({"data": "toy:rooms", "preset": "demo", "agent": agent, "env": "toy:point"})
    assert (rooms.agent_options["gamma"], rooms.steps, rooms.batch_size) == (0.95, 4_000, 128)
    assert (other.agent_options["gamma"], other.steps, other.batch_size) == (0.99, 10_000, 256)


def test_a_preset_sets_the_environment_and_an_option_wins():
    scene = {"data": "x", "preset": "qc", "agent": "acfql", "env": "ogbench:scene-play-singletask-v0"}
    assert resolve_config(scene).env_options == {"sparse": True}
    assert resolve_config(scene, ["env.sparse=false", "env.reward_shift=1"]).env_options == {
        "sparse": False, "reward_shift": 1.0,
    }  # fmt: skip
    assert resolve_config({**scene, "env": "ogbench:cube-double-play-singletask-v0"}).env_options == {}


@pytest.mark.parametrize("preset", ["standard", "paper"])
@pytest.mark.parametrize(("steps", "every"), [(2_000, 100), (1_000_000, 1_000), (10, 1)])
def test_a_short_run_has_at_least_twenty_rows_of_metrics_where_it_has_twenty_steps(preset, steps, every):
    config = resolve_config({"preset": preset, "agent": "td3_bc", "data": "x.h5", "steps": steps})
    assert config.log_every == every


@pytest.mark.parametrize("preset", ["standard", "paper"])
@pytest.mark.parametrize(
    ("steps", "evaluations", "checkpoints"), [(2_000, 400, 400), (30_000, 6_000, 5_000), (40, 100, 100)]
)
def test_a_short_run_has_five_evaluations_and_checkpoints(preset, steps, evaluations, checkpoints):
    config = resolve_config({"preset": preset, "agent": "td3_bc", "data": "x.h5", "steps": steps})
    assert (config.eval_every, config.checkpoint_every) == (evaluations, checkpoints)
    line = f"the run is short, {steps} steps: an evaluation every {evaluations}"
    assert short_line(config) == line + (f", a checkpoint every {checkpoints}" if checkpoints < 5_000 else "")


def test_a_long_run_and_what_was_asked_for_keep_their_intervals():
    chosen = {"preset": "standard", "agent": "td3_bc", "data": "x.h5"}
    long, asked = resolve_config(chosen), resolve_config({**chosen, "steps": 2_000, "eval_every": 900})
    assert (long.eval_every, long.checkpoint_every, short_line(long)) == (50_000, 5_000, "")
    assert (asked.eval_every, asked.checkpoint_every) == (900, 400)
    assert short_line(asked) == "the run is short, 2000 steps: a checkpoint every 400"
    assert resolve_config({**chosen, "steps": 2_000}, ["eval_every=0"]).eval_every == 0
    assert resolve_config({"agent": "td3_bc", "steps": 2_000}).eval_every == 2_500  # the demo's


def test_log_every_is_as_given_and_the_demo_keeps_its_own():
    assert (
        resolve_config({"agent": "td3_bc", "data": "x.h5", "steps": 2_000, "log_every": 500}).log_every == 500
    )
    assert resolve_config({"agent": "td3_bc", "data": "x.h5", "steps": 40}, ["log_every=7"]).log_every == 7
    assert resolve_config({"agent": "td3_bc", "steps": 500}).log_every == 250


def test_standard_holds_out_a_tenth_of_fifty_episodes_and_a_share_asked_for_of_any_number():
    def share(**asked):
        found = resolve_config({"data": "x.h5", **asked})
        return found.holdout, found.holdout_min_episodes

    assert share() == (0.1, 50)
    assert share(holdout=0.3) == (0.3, 0)
    assert share(preset="paper") == share(preset="demo") == share(holdout=0) == (0.0, 0)
    with pytest.raises(ValueError, match=r"holdout is a share of the episodes, .* below 1; got 1"):
        share(holdout=1.0)


@pytest.mark.parametrize("agent", sorted(AGENTS))
@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_agent_takes_every_preset_of_a_run(agent, preset):
    config = resolve_config({"agent": agent, "preset": preset, "data": "x.h5", "env": "toy:point"})
    assert config.agent == agent
    if preset == "small":
        assert config.steps == PRESETS["small"]["steps"]
