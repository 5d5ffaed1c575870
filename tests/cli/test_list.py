"""`list`: what can be chosen, read from the plug-ins themselves."""

import json

import pytest

from trajrl.agents import AGENTS
from trajrl.cli.list import KINDS, first_line
from trajrl.cli.main import dispatch
from trajrl.envs import ENVS
from trajrl.formats import FORMATS
from trajrl.samplers import SAMPLERS
from trajrl.samplers.metrics import METRICS
from trajrl.training.presets import PRESETS

REGISTRIES = {
    "agents": AGENTS, "samplers": SAMPLERS, "metrics": METRICS, "envs": ENVS, "formats": FORMATS,
    "presets": PRESETS,
}  # fmt: skip


def listed(capsys, kind: str) -> dict:
    assert dispatch(["list", kind, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])[kind]


@pytest.mark.parametrize("kind", REGISTRIES)
def test_everything_that_is_registered_is_listed_with_what_it_is(capsys, kind):
    found = listed(capsys, kind)
    assert set(found) >= set(REGISTRIES[kind])
    assert all(entry["what"] and not entry["what"].endswith(".") for entry in found.values())


@pytest.mark.parametrize("name", AGENTS)
def test_the_docstring_of_an_agent_names_its_paper(capsys, name):
    assert listed(capsys, "agents")[name]["paper"]


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_docstring_of_a_sampler_names_its_paper(capsys, name):
    assert listed(capsys, "samplers")[name]["paper"]


def test_what_agents_support_comes_from_their_fields(capsys):
    found = listed(capsys, "agents")
    assert found["trajectory_ql"]["supports"] == ["history", "chunks", "horizon", "online"]
    assert found["diffusion_ql"]["supports"] == ["online"]
    assert found["bc_diffusion"]["supports"] == ["history", "chunks"]


def test_bare_list_names_the_kinds_and_a_wrong_one_the_nearest(capsys):
    assert dispatch(["list"]) == 0
    text = capsys.readouterr().out
    assert all(f" {kind} " in text for kind in KINDS)
    assert dispatch(["list", "agent"]) == 1
    assert "did you mean 'agents'" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["", *KINDS])
@pytest.mark.parametrize("columns", [80, 120])
def test_the_page_fits_the_terminal(capsys, monkeypatch, kind, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert dispatch(["list", kind] if kind else ["list"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= columns


def test_the_first_sentence_says_what_a_thing_is():
    assert first_line("QG: guided.  It regresses noise.\n\n    y = r\n") == "QG: guided"
    assert first_line("Mean reward.") == "Mean reward"
