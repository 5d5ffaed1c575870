"""Environments, one suite per file: `suite:name`, a Gymnasium id, or `package.module:callable`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trajrl.core.console import say
from trajrl.core.registry import find, unknown
from trajrl.core.trust import is_call, require

if TYPE_CHECKING:
    from trajrl.envs.base.scripted import Demonstration
    from trajrl.envs.base.suite import Suite

NO_ENVIRONMENT = "none"  # --env none: the data is learned from, and nothing is acted in

ENVS: dict[str, str] = {
    "bandit": "trajrl.envs.bandit:BanditSuite",
    "d4rl": "trajrl.envs.d4rl:D4rlSuite",
    "gymnasium": "trajrl.envs.gymnasium:GymnasiumSuite",
    "minari": "trajrl.envs.minari:MinariSuite",
    "ogbench": "trajrl.envs.ogbench:OgbenchSuite",
    "robomimic": "trajrl.envs.robomimic:RobomimicSuite",
    "toy": "trajrl.envs.toy:ToySuite",
}

ORACLES: dict[str, str] = {
    "ogbench": "trajrl.envs.ogbench_oracle:demonstration",
    "toy": "trajrl.envs.toy:demonstration",
}


def make_suite(name: str, **options: Any) -> Suite:
    """Build the suite `name` stands for; `options` are fields of trajrl.envs.base.wrappers.EnvOptions."""
    from trajrl.envs.base.wrappers import make_options

    make_options(options)  # a wrong one is refused before anything is built
    kind, own_name = find_kind(name)
    return kind(own_name, make_options({**kind.published(own_name), **options}))


def find_kind(name: str) -> tuple[type[Suite], str]:
    """Return the suite that `name` belongs to, and what it is called there."""
    from trajrl.envs.custom import CustomSuite, importable
    from trajrl.envs.gymnasium import GymnasiumSuite, registered

    prefix, colon, rest = name.partition(":")
    if name == NO_ENVIRONMENT:
        raise ValueError("--env none stands for no environment, and this acts in one; name it with --env")
    if colon and prefix in ENVS:
        return find(ENVS, prefix, "environment suite"), rest
    if name in registered(name):
        return GymnasiumSuite, name
    if is_call(name, ENVS):
        require(name, "environment")  # even to look whether a module is there may import its package
    if colon and importable(prefix):
        return CustomSuite, name
    if colon and "." not in prefix:
        raise ValueError(unknown("environment suite or module", prefix, ENVS))
    if colon:
        raise ValueError(f"no module '{prefix}' for environment '{name}'; is its folder on PYTHONPATH?")
    for suite in ENVS:
        if find(ENVS, suite, "environment suite").knows(name):
            raise ValueError(f"no environment '{name}'; did you mean '{suite}:{name}'?")
    raise ValueError(unknown("environment", name, registered(name)))


def note_in_process(name: str) -> None:
    """Say, before it is built, that a user's own environment could end this process, and what guards it."""
    if ":" in name and find_kind(name)[0].of_user:
        say(
            f"{name} runs in this process and could end it (os._exit, abort, a fault of its simulator): "
            "--set env.env_timeout=60 gives every copy a process of its own, which is started again"
        )


def make_demonstration(name: str) -> Demonstration:
    """Return the scripted oracle that belongs to an environment."""
    prefix, _, rest = name.partition(":")
    if prefix not in ORACLES:
        known = ", ".join(f"{suite}:..." for suite in ORACLES)
        raise ValueError(f"'{name}' has no scripted oracle; there are some for {known}")
    return find(ORACLES, prefix, "oracle")(rest)
