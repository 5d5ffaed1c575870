"""An environment in a process of its own: one that hangs or crashes is an error here, and no more."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from trajrl.envs.base.protocol import NoEnvironmentError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from trajrl.envs.base.wrappers import EnvOptions

    MakeSuite = Callable[[str, EnvOptions], Any]  # the class of a Suite

START_SECONDS = 120.0  # what importing and building may take


class SubprocessEnv(gymnasium.Env):
    """Speaks to an environment through a pipe; no answer within `env_timeout` seconds is a failure."""

    def __init__(
        self, name: str, suite: MakeSuite, own_name: str, options: EnvOptions, seed: int, render: bool
    ) -> None:
        """Start the process; there `suite(own_name, options)` builds the suite anew, without a limit."""
        self.name, self.env_timeout = name, options.env_timeout
        context = start_method()
        self._pipe, theirs = context.Pipe()
        asked = (suite, own_name, replace(options, env_timeout=0.0), seed, render)
        self._process = context.Process(target=serve, args=(theirs, *asked), daemon=True)
        self._process.start()
        theirs.close()
        try:
            facts = self._answer(START_SECONDS)
        except NoEnvironmentError:
            raise
        except (RuntimeError, TimeoutError) as error:
            raise ValueError(f"{name} could not be started: {error}") from error
        self.observation_space, self.action_space = facts["spaces"]
        self.metadata = {"render_fps": facts["render_fps"]}
        self.keep, self.whole, self.limit = facts["keep"], facts["whole"], facts["limit"]
        self.action_box = facts["action_box"]
        self.obs_dim, self.images = facts["obs_dim"], facts["images"]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode."""
        return self._ask("reset", seed, options)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one step."""
        return self._ask("step", np.asarray(action))

    def render(self) -> Any:
        """Return a frame."""
        return self._ask("render")

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _ask(self, *message: Any) -> Any:
        try:
            self._pipe.send(message)
        except OSError as error:
            raise RuntimeError(self._died()) from error
        return self._answer(self.env_timeout)

    def _answer(self, seconds: float) -> Any:
        """Wait for the answer to the last question."""
        if not self._pipe.poll(seconds):
            self.close()
            raise TimeoutError(f"{self.name} did not answer within {seconds:g} seconds; it was stopped")
        try:
            failed, answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise RuntimeError(self._died()) from error
        if failed:
            raise answer if isinstance(answer, NoEnvironmentError) else RuntimeError(answer)
        return answer

    def _died(self) -> str:
        self._process.join(1.0)
        code = self._process.exitcode
        how = f"exit code {code}" if code is None or code >= 0 else signal.Signals(-code).name
        return f"the process of {self.name} ended by itself ({how})"


def start_method() -> Any:
    """Fork from a small server that has imported the environments, not from this process and its threads."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gymnasium", "trajrl.envs.base.suite"])
    return context


def serve(
    pipe: Connection, suite: MakeSuite, own_name: str, options: EnvOptions, seed: int, render: bool
) -> None:
    """Build the environment and answer questions until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent answers it
    try:
        made = suite(own_name, options)
        env = made.make(seed, render)
        pipe.send((False, facts_of(made, env)))
    except NoEnvironmentError as error:
        pipe.send((True, error))
        return
    except Exception as error:
        pipe.send((True, f"{type(error).__name__}: {error}"))
        return
    answers: dict[str, Callable[..., Any]] = {
        "reset": lambda seed, options: env.reset(seed=seed, options=options),
        "step": lambda action: env.step(action),
        "render": lambda: frame(env),
    }
    while True:
        try:
            question, *arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((False, answers[question](*arguments)))
        except Exception as error:
            pipe.send((True, f"{type(error).__name__}: {error}"))


def facts_of(suite: Any, env: gymnasium.Env) -> dict[str, Any]:
    """Return what the parent has to know of an environment."""
    return {
        "spaces": (env.observation_space, env.action_space), "render_fps": env.metadata.get("render_fps"),
        "keep": suite.keep, "whole": suite.whole, "limit": suite.limit,
        "action_box": suite.action_box, "obs_dim": suite.obs_dim, "images": suite.images,
    }  # fmt: skip


def frame(env: gymnasium.Env) -> Any:
    """Return a frame; None from an environment that draws none, which is no failure of its process."""
    try:
        return env.render()
    except NotImplementedError:
        return None
