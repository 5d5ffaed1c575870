"""`collect`: record whole episodes of a policy, or of a recipe of policies, into a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from trajrl import __version__
from trajrl.cli.collect.journal import (
    Collection,
    folder_of,
    is_begun,
    remove,
    require_collection,
    summary,
)
from trajrl.cli.collect.medium_replay import finish, learn, met
from trajrl.cli.collect.recipes import (
    SCRIPTS,
    env_of,
    file_of,
    make_policy,
    of_policy,
    of_recipe,
    other_options,
    sight_of,
)
from trajrl.cli.common import Common, UsageError, progress, refuse_existing, say
from trajrl.cli.option import silent
from trajrl.core.paths import POLICIES
from trajrl.envs import make_demonstration, make_suite, note_in_process
from trajrl.store.file.writer import StoreWriter, refuse_foreign
from trajrl.store.notes import amount
from trajrl.training.resolve_config import env_settings
from trajrl.training.settings import split_settings

if TYPE_CHECKING:
    from trajrl.cli.collect.recipes import Part
    from trajrl.envs.base.suite import Suite
    from trajrl.rollout.history_queue import Actor
    from trajrl.store.action_box import ActionBox
    from trajrl.store.episode import Episode

NOWHERE = Path()
MANY = 5_000  # steps of a script for which processes of its own are worth their start
PART_NUMBERS = 10**9  # numbers of a script's episodes that one part may use


@dataclass(frozen=True, kw_only=True)
class Collect(Common):
    """Record whole episodes of a policy, until at least --steps transitions are there."""

    env: Annotated[str, silent("ID", "the recipe's own with --recipe")] = ""
    """suite:name, a registered Gymnasium id, or package.module:callable."""
    policy: str = ""
    """random, oracle (the environment's own script), a run directory, or FILE.npz (see data/README.md)."""
    recipe: str = ""
    """Instead of --policy: random, medium, expert, medium-expert, skewed, medium-replay (learned online),
    or by OGBench's scripts: pointmaze-play, cube-single-play, cube-double-play, cube-triple-play, scene-play,
    puzzle-3x3-play."""
    policies: Annotated[Path | None, silent("DIR", "data/policies")] = None
    """Where a recipe finds its policy files, such as hopper-medium.npz."""
    out: Annotated[Path, silent("PATH", "ENVIRONMENT-RECIPE.h5 with --recipe")] = NOWHERE
    """The store file to write; with --reference the JSON file."""
    steps: int = 10_000
    """Transitions to record; the last episode is kept whole."""
    noise: tuple[float, ...] = (0.0,)
    """Deviation of Gaussian noise added to every action in [-1, 1]; several are a ladder of equal shares."""
    epsilon: float = 0.0
    """Share of the steps with a uniform action instead of the policy's."""
    source: Annotated[str, silent("NAME", "the policy's name")] = ""
    """Label of the episodes."""
    envs: int = 4
    """Environments stepped together; changes speed, never the episodes.  Steps of episodes that the others
    are in when --steps are there are not kept."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...", help_behavior_hint="")] = ()
    """Options of the environment, such as env.time_limit=200; with medium-replay the run's fields too."""
    reference: bool = False
    """Measure random returns and those of --policy, an expert, as the references of --env."""
    episodes: int = 20
    """Episodes of each that --reference takes."""
    resume: bool = False
    """Continue a collection of this --out that was broken off; its data and fingerprint end up the same."""
    resume_or_start: bool = False
    """Resume a collection of this --out, or begin it where there is none."""
    overwrite: bool = False
    """Replace a store that has this name, and begin anew unless a collection is resumed."""

    def __post_init__(self) -> None:
        """Let a recipe be enough: it is made in its environment, under its own name."""
        if self.recipe:
            object.__setattr__(self, "env", self.env or env_of(self.recipe))
            named = Path(file_of(self.recipe, self.env))
            object.__setattr__(self, "out", named if self.out == NOWHERE else self.out)

    def run(self) -> dict[str, Any]:
        """Record, write, and say what came out."""
        if self.reference:
            from trajrl.cli.collect.references import measure

            numbers = self.seed, self.episodes, self.envs
            return measure(self.suite(), self.policy, self.out, *numbers, self.overwrite)
        resume = self.resumes()
        refuse_existing(self.out, self.overwrite)
        refuse_foreign(self.out)  # before hours of recording
        if self.recipe == "medium-replay":
            return self.replayed(resume)
        parts = self.parts()
        suite = None if parts[0].policy == "oracle" else self.suite()
        policies = [make_policy(part.policy, suite) if suite else None for part in parts]
        if suite and (note := other_options(parts[0].policy, suite)):
            say(note)
        asked = {
            "env": self.env,
            "seed": self.seed,
            "set": list(self.set),
            "parts": [asdict(p) for p in parts],
        }
        if self.overwrite and not resume:
            remove(folder_of(self.out))
        with Collection(self.out, asked, resume) as waiting:
            for number, part in enumerate(parts):
                made = self.acted(suite, policies[number], number, part, waiting) if suite else None
                episodes = made or self.scripted(number, part, waiting)
                due = self.steps * part.share - waiting.steps[number]
                shown = progress(up_to(episodes, due), f"collecting {part.source}", unit="episodes")
                for episode in shown:
                    waiting.add(number, episode)
            name, box = (suite.name, suite.action_box) if suite else name_and_box(self.env)
            arguments = suite.options.arguments if suite else {}
            with self.writer(name, [asdict(part) for part in parts], box, arguments) as writer:
                waiting.finish(writer, box)
                found = summary(writer.table)
            waiting.remove()
        return self.answer(name, found)

    def resumes(self) -> bool:
        """Say whether a collection is to be resumed; one that is not there is refused or, if asked, begun."""
        if self.resume and not self.resume_or_start:
            require_collection(self.out)
        return (self.resume or self.resume_or_start) and is_begun(folder_of(self.out))

    def replayed(self, resume: bool) -> dict[str, Any]:
        """Let an agent learn online from nothing, and write everything it met."""
        names = ("env", "seed", "set", "recipe", "steps")
        asked = {**{name: getattr(self, name) for name in names}, "set": list(self.set)}
        suite = self.suite()
        run = learn(suite, self.steps, self.seed, self.out, self.set, asked, resume, self.overwrite)
        learner = [{"policy": run.config.agent, "updates": run.step}]
        with self.writer(suite.name, learner, suite.action_box, suite.options.arguments) as writer:
            for episode in met(run):
                writer.append(episode)
            found = summary(writer.table)
        reached = finish(run, self.out)
        return {**self.answer(suite.name, found), **reached}

    def check(self) -> None:
        """Refuse numbers that are none of the kind, and two answers to one question."""
        super().check()
        least = {"steps": 1, "envs": 1, "episodes": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"--{name} is at least {bound}; got {getattr(self, name)}")
        if not self.noise or not all(0 <= noise < inf for noise in self.noise):
            raise ValueError(f"--noise is at least 0 and finite; got {' '.join(map(str, self.noise))}")
        if not 0 <= self.epsilon <= 1:
            raise ValueError(f"--epsilon is a share between 0 and 1; got {self.epsilon}")
        if bool(self.policy) == bool(self.recipe):
            raise ValueError("give --policy or --recipe, one of them")
        if not self.env or self.out == NOWHERE:
            raise UsageError("--policy needs --env and --out: where it acts, and the file to write")
        self.check_company()

    def check_company(self) -> None:
        """Refuse options that what was asked for would leave unused."""
        if self.reference and self.policy in ("", "random", "oracle"):
            raise ValueError("--reference takes --policy, the expert: a run's folder or a policy file")
        if self.reference and (self.resume or self.resume_or_start):
            raise ValueError("--reference measures anew: leave --resume out")
        disturbed = [name for name, given in (("noise", any(self.noise)), ("epsilon", self.epsilon)) if given]
        if disturbed and (self.reference or self.recipe == "medium-replay"):
            what = "--reference measures policies as they are" if self.reference else "sac explores by itself"
            raise ValueError(f"{what}: leave --{disturbed[0]} out")
        if self.recipe and self.source:
            raise ValueError("a recipe labels its episodes by policy: leave --source out")
        if (self.policy == "oracle" or self.recipe in SCRIPTS) and self.set:
            raise ValueError(f"an oracle acts in its environment as it is: leave --set {self.set[0]} out")

    def parts(self) -> list[Part]:
        """Return what the collection is made of."""
        if self.recipe:
            return of_recipe(self.recipe, self.env, self.noise, self.epsilon, self.policies or POLICIES)
        return of_policy(self.policy, self.noise, self.epsilon, self.source)

    def suite(self) -> Suite:
        """Build the environment with its options."""
        found = split_settings(self.set)
        other = [name for part in ("agent", "sampler", "goals", "run") for name in found[part]]
        if other and self.recipe != "medium-replay":
            raise ValueError(f"--set takes env.NAME=VALUE here; '{other[0]}' belongs to a run that learns")
        around = {**sight_of(self.policy, self.env), **env_settings(found["env"])}
        if not around.get("env_timeout"):
            note_in_process(self.env)
        suite = make_suite(self.env, **around)
        if suite.goal_conditioned:
            raise ValueError(
                f"{suite.name} shows a goal beside its state, and data is of states: --policy oracle, or one "
                f"of its tasks, such as {suite.one_task()}"
            )
        return suite

    def scripted(self, number: int, part: Part, waiting: Collection) -> Iterator[Episode]:
        """Yield episodes of the environment's own script without end."""
        from trajrl.cli.collect.scripted import Asked, episodes

        asked = Asked(self.env, self.seed, part.source, part.noise, part.epsilon)
        left = self.steps * part.share - waiting.steps[number]
        return episodes(
            asked, number * PART_NUMBERS + waiting.episodes[number], self.envs if left > MANY else 1
        )

    def acted(
        self, suite: Suite, policy: Actor | None, number: int, part: Part, waiting: Collection
    ) -> Iterator[Episode]:
        """Yield episodes of a policy without end."""
        from trajrl.rollout.collector import Streams, collect
        from trajrl.rollout.policies import MixedPolicy, NoisyPolicy

        actor: Any = policy
        actor = NoisyPolicy(actor, part.noise) if part.noise else actor
        actor = MixedPolicy(actor, part.epsilon) if part.epsilon else actor
        streams = Streams(self.seed, "collect", (number,) if number else ())
        return collect(suite, actor, streams, self.envs, part.source, waiting.episodes[number])

    def writer(
        self, environment: str, parts: list[dict[str, Any]], box: ActionBox, arguments: dict[str, Any]
    ) -> StoreWriter:
        """Open the store file, with what a reader must know about where it came from."""
        noise = self.noise[0] if len(self.noise) == 1 else list(self.noise)
        provenance = {
            "command": "collect", "environment": environment, "policy": Path(self.policy).name,
            "recipe": self.recipe, "parts": [{**p, "policy": Path(p["policy"]).name} for p in parts],
            "seed": self.seed, "steps": self.steps, "noise": noise, "epsilon": self.epsilon,
            "source": self.source or Path(self.policy).stem, "set": list(self.set), "trajrl": __version__,
        }  # fmt: skip
        provenance |= {"arguments": arguments} if arguments else {}  # of the environment
        named = box.attributes(f"collect in {environment}")
        return StoreWriter(self.out, {"environment": environment, "provenance": provenance, **named})

    def answer(self, name: str, found: dict[str, Any]) -> dict[str, Any]:
        """Say what came out, and return the answer."""
        from trajrl.store.file.describe import describe_store

        say(f"{amount(found)} to {self.out}")
        mean, std, steps = (found[key] for key in ("return_mean", "return_std", "length_mean"))
        say(f"return {mean:.1f} +- {std:.1f}, {steps:.0f} steps per episode")
        say(f"fingerprint {(fingerprint := describe_store(self.out)['fingerprint'])}")
        label = self.source or Path(self.policy).stem or self.recipe
        said = {"out": str(self.out), "environment": name, "policy": self.policy or self.recipe}
        return {**said, "source": label, "fingerprint": fingerprint, **found}


def name_and_box(env: str) -> tuple[str, ActionBox]:
    """Return what data of an environment's own script calls it, and the box that the script acts in."""
    shown = make_demonstration(env)
    return shown.name, shown.env.get_wrapper_attr("action_box")


def up_to(episodes: Iterator[Episode], steps: float) -> Iterator[Episode]:
    """Yield whole episodes until at least `steps` transitions are there."""
    total = 0
    while total < steps:
        episode = next(episodes)
        total += len(episode)
        yield episode
