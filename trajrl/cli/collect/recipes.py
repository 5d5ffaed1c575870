"""What a collection is made of: parts, each a policy with noise and a share of the transitions.

    random          uniform actions                      expert          the expert policy
    medium          the medium policy                    medium-expert   half of each
    skewed          a quarter expert, the rest medium    medium-replay   all an agent met from nothing on
    pointmaze-play  OGBench's controller of point mazes, under the noise of its data
    cube-double-play, cube-single-play, cube-triple-play, puzzle-3x3-play, scene-play
                    OGBench's planning oracles, as its data sets were made

The others are D4RL's recipes (and the demo store's, `skewed`).  medium_replay.py makes medium-replay.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from json import dumps, loads
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, NamedTuple

from trajrl.core.paths import DATA, POLICIES
from trajrl.core.registry import unknown

if TYPE_CHECKING:
    from trajrl.envs.base.suite import Suite
    from trajrl.rollout.history_queue import Actor

REPLAY = "medium-replay"
DEMO_ENVIRONMENT = "Hopper-v4"  # that of the demo store


class Script(NamedTuple):
    """The recipe of an environment's own script."""

    env: str  # where none is named
    kind: str  # what the name of any other begins with
    noise: float = 0.0  # unless another is named
    label: str = "play"  # of its episodes


PLAYED = ("cube-double-play", "cube-single-play", "cube-triple-play", "puzzle-3x3-play", "scene-play")
SCRIPTS: dict[str, Script] = {
    **{
        name: Script(f"ogbench:{name}-v0", f"ogbench:{name.removesuffix('-play')}-")
        for name in PLAYED
    },
    "pointmaze-play": Script(
        "ogbench:pointmaze-medium-navigate-singletask-v0", "ogbench:pointmaze-", 0.5, "navigate"
    ),
}  # fmt: skip
RECIPES: dict[str, dict[str, float]] = {
    "expert": {"expert": 1.0},
    "medium": {"medium": 1.0},
    "medium-expert": {"medium": 0.5, "expert": 0.5},
    REPLAY: {},
    "random": {"random": 1.0},
    "skewed": {"expert": 0.25, "medium": 0.75},
    **{name: {} for name in SCRIPTS},
}


@dataclass(frozen=True)
class Part:
    """One policy's part of a collection."""

    policy: str  # random, oracle, a run's folder or a policy file
    share: float = 1.0  # of the transitions
    noise: float = 0.0  # standard deviation of what is added to actions
    epsilon: float = 0.0  # share of steps with a uniform action instead
    source: str = ""  # label of its episodes


def of_recipe(
    recipe: str,
    env: str,
    noise: tuple[float, ...] = (0.0,),
    epsilon: float = 0.0,
    folder: Path = POLICIES,
) -> list[Part]:
    """Return the parts of a recipe; policies are files called <environment>-medium.npz and -expert.npz."""
    if recipe not in RECIPES:
        raise ValueError(unknown("recipe", recipe, RECIPES))
    if recipe in SCRIPTS:
        return of_script(recipe, env, noise, epsilon)
    family = family_of(env)
    parts: list[Part] = []
    for level, share in RECIPES[recipe].items():
        path = folder / f"{family}-{level}.npz"
        if level != "random" and not path.exists():
            raise FileNotFoundError(
                f"the recipe {recipe} needs {path}, a policy file ({DATA / 'README.md'} has the layout); "
                "--policies names another folder"
            )
        parts += rungs(level if level == "random" else str(path), share, noise, epsilon, level)
    return parts


def recipe_for(env: str) -> str:
    """Return the recipe of an environment's own script; empty where the script has none."""
    return next((name for name, script in SCRIPTS.items() if env.startswith(script.kind)), "")


def env_of(recipe: str) -> str:
    """Return the environment that a recipe is made in where none is named."""
    return SCRIPTS[recipe].env if recipe in SCRIPTS else DEMO_ENVIRONMENT


def file_of(recipe: str, env: str) -> str:
    """Return the name of a recipe's store where none is given."""
    return f"{recipe}.h5" if recipe in SCRIPTS else f"{family_of(env)}-{recipe}.h5"


def family_of(env: str) -> str:
    """Return the name that an environment shares with its versions: hopper of d4rl:hopper-medium-v2."""
    return re.split(r"[-_]v?\d|-", env.rpartition(":")[2])[0].lower()


def of_script(recipe: str, env: str, noise: tuple[float, ...], epsilon: float) -> list[Part]:
    """Return the parts of an environment's own script, with its usual noise where none is named."""
    script = SCRIPTS[recipe]
    if not env.startswith(script.kind):
        raise ValueError(f"the recipe {recipe} is for {script.kind}..., such as {script.env}; got {env}")
    return rungs("oracle", 1.0, noise if any(noise) else (script.noise,), epsilon, script.label)


def of_policy(policy: str, noise: tuple[float, ...], epsilon: float, source: str) -> list[Part]:
    """Return one policy under a ladder of noise: a part for each rung, of equal shares."""
    return rungs(policy, 1.0, noise, epsilon, source or Path(policy).stem)


def rungs(policy: str, share: float, noise: tuple[float, ...], epsilon: float, label: str) -> list[Part]:
    """Split a share of the transitions evenly over the noises, each under a label of its own."""
    return [
        Part(policy, share / len(noise), rung, epsilon, label if len(noise) == 1 else f"{label}+{rung:g}")
        for rung in noise
    ]


def make_policy(name: str, suite: Suite) -> Actor:
    """Build the policy `name` stands for, and check that it fits the environment."""
    from trajrl.rollout.policies import FilePolicy, RandomPolicy
    from trajrl.training.run_dir.load_run import load_run, require_box, require_fit

    if name == "random":
        return RandomPolicy(suite.action_dim)
    if not Path(name).exists():
        ships = POLICIES / f"{name}.npz"
        hint = f"; the one that ships is the file {ships}" if ships.exists() else ""
        raise FileNotFoundError(
            f"no policy '{name}': it is not random, oracle, a run directory or a file{hint}"
        )
    policy: Any
    if Path(name).is_dir():
        run = load_run(name)
        policy, box = run.agent(), run.action_box()
    else:
        policy, box = FilePolicy(name), None
    shown = getattr(policy, "images", {})
    require_fit(name, (policy.obs_dim, policy.action_dim), suite, shown)
    require_box(name, box, suite)
    return policy


def sight_of(policy: str, env: str) -> dict[str, Any]:
    """Return the options under which an environment shows a run what it was trained to see."""
    from trajrl.training.run_dir.load_run import load_run

    return load_run(policy).sight(env) if (Path(policy) / "config.json").exists() else {}


def other_options(policy: str, suite: Suite) -> str:
    """Return a line where a run acts under other options of the environment than it was trained under."""
    from trajrl.training.config import RunConfig

    if not (Path(policy) / "config.json").exists():
        return ""
    trained = RunConfig.load(Path(policy) / "config.json").env_options
    options: dict[str, Any] = loads(
        dumps(asdict(suite.options))
    )  # as config.json has them: a tuple is a list
    now = {name: value for name, value in options.items() if name != "env_timeout"}
    other = {name: trained[name] for name in now if trained.get(name, now[name]) != now[name]}
    plain = {name: value if isinstance(value, str) else dumps(value) for name, value in other.items()}
    words = " ".join(quote(f"env.{name}={value}") for name, value in plain.items())
    return f"note: {policy} was trained under other options: --set {words}" if words else ""
