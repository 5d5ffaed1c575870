"""--help-config: every field with its default and the comment in the source, for what was chosen."""

import json
from dataclasses import dataclass, fields

import pytest

from trajrl.agents import AGENTS
from trajrl.cli.field_comments import field_comments
from trajrl.cli.main import dispatch
from trajrl.core.registry import find
from trajrl.envs.base.wrappers import EnvOptions
from trajrl.samplers import SAMPLERS
from trajrl.training.config import RunConfig


@dataclass(frozen=True)
class Base:
    first: int = 1  # of the base
    second: int = 2  # of the base


@dataclass(frozen=True)
class Heir(Base):
    """Says more of one field."""

    # A heading is no comment of a field.
    second: int = 3
    third: tuple[int, ...] = (
        1,
        2,
    )  # at the end
    fourth: str = "#"  # with a # inside
    fifth: int = 5
    """Below it."""


def test_comments_are_read_beside_and_below_a_field_and_from_the_base():
    assert field_comments(Heir) == {
        "first": "of the base", "second": "of the base", "third": "at the end",
        "fourth": "with a # inside", "fifth": "Below it.",
    }  # fmt: skip


CONFIGS = {
    "run": RunConfig,
    "environment": EnvOptions,
    **{name: find(AGENTS, name, "agent").Config for name in AGENTS},
    **{name: find(SAMPLERS, name, "sampler").config_type for name in SAMPLERS},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_field_has_a_comment(name):
    assert [field for field, comment in field_comments(CONFIGS[name]).items() if not comment] == []


def explained(capsys, *words: str) -> dict:
    assert dispatch([*words, "--help-config", "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("command", ["offline", "online"])
def test_every_field_of_what_was_chosen_is_printed(capsys, command):
    chosen = (
        "--agent",
        "td3_bc",
        "--sampler",
        "cluster*priority",
        "--env",
        "toy:rooms",
        "--batch-size",
        "32",
    )
    found = explained(capsys, command, *chosen)
    run = {**found["run"], **found["run, online phase"]}
    options = {
        f"{part}_options" for part in ("agent", "env", "goals", "sampler")
    }  # each has a table of its own
    assert set(run) == {f.name for f in fields(RunConfig)} - options
    assert run["batch_size"] == {
        "name": "batch_size", "default": 256, "value": 32, "comment": field_comments(RunConfig)["batch_size"]
    }  # fmt: skip
    assert set(found["agent td3_bc"]) == {f"agent.{f.name}" for f in fields(CONFIGS["td3_bc"])}
    assert set(found["sampler cluster"]) == {f"sampler.left.{f.name}" for f in fields(CONFIGS["cluster"])}
    assert "sampler.right.metric" in found["sampler priority"]
    assert set(found["environment toy:rooms"]) == {f"env.{f.name}" for f in fields(EnvOptions)}


def test_the_table_holds_default_value_and_comment(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    assert dispatch(["offline", "--agent", "td3_bc", "--set", "agent.alpha=4", "--help-config"]) == 0
    lines = capsys.readouterr().out.splitlines()
    alpha = next(line for line in lines if line.split()[:1] == ["agent.alpha"])
    assert alpha.split(maxsplit=3)[1:] == [
        "4",
        "(2.5)",
        "weight of Q against cloning; raising it: further from the data",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("columns", [80, 120])
def test_the_tables_fit_the_terminal(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert dispatch(["offline", "--help-config"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= columns


def test_a_short_online_phase_is_shown_as_it_would_run(capsys):
    words = ("online", "--preset", "standard", "--agent", "trajectory_ql", "--env-steps", "800")
    found = explained(capsys, *words)
    assert found["run, online phase"]["learning_starts"]["value"] == 100  # an eighth
    assert found["agent trajectory_ql"]["agent.decay"]["value"] == "none"  # it ended with the offline phase
