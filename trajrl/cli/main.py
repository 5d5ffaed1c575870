"""The command line: find the command's file, parse its dataclass with tyro, run it, answer with an exit code.

Exit codes: 0 done, 1 a failure with a one-line reason, 2 wrong usage, 130 interrupted, 141 nobody reads.
"""

from __future__ import annotations

import json
import os
import re
import select
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from textwrap import wrap
from typing import Any

from trajrl import __doc__ as about
from trajrl import __version__
from trajrl.cli.commands import COMMANDS, GROUPS
from trajrl.cli.common import Common, UsageError, speak_to_stderr
from trajrl.cli.own_code import own_place
from trajrl.cli.text_table import terminal_width
from trajrl.cli.usage import in_one_line
from trajrl.core import old_names
from trajrl.core.console import OutputError, SilentExitError, harmless, printing, say_interrupted
from trajrl.core.interrupt import INTERRUPTED, raise_when_interrupted
from trajrl.core.program import program
from trajrl.core.registry import find, unknown
from trajrl.core.source_place import short
from trajrl.core.trust import command_line

READER_GONE = 141  # exit code of a program that the signal for this would have ended
TOGETHER = ("offline",)  # commands that several processes may share


def main(argv: list[str] | None = None) -> None:
    """Run one command and leave the process with its exit code."""
    code = dispatch(sys.argv[1:] if argv is None else argv)
    if "trajrl.core.distributed" in sys.modules:
        from trajrl.core.distributed import leave

        leave(code)
    sys.exit(code)


def dispatch(argv: list[str]) -> int:
    """Run one command and return its exit code; when nobody reads the output any more it ends quietly."""
    open_streams()
    try:
        code = _dispatch(argv)
        with printing():
            sys.stdout.flush()
    except BrokenPipeError:
        return _leave_quietly()
    except OutputError as error:
        _leave_quietly()  # the interpreter's end would complain too
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    return code


def open_streams() -> None:
    """Let what was closed (`>&-`) lead nowhere; a file opened later would take its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for the life of the process


def _leave_quietly() -> int:
    """Drop what can no longer be written, so that the interpreter's end does not complain of it either."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return READER_GONE


def _dispatch(argv: list[str]) -> int:
    """Find the command and run it."""
    words, rest = _split([old_names.flag(word) for word in argv])
    table = COMMANDS if not words else GROUPS[words[0]]
    if not rest or rest[0] in ("-h", "--help"):
        with printing():
            print(_overview(words, table), flush=True)
        return 0 if rest else 2
    if rest[0] == "--version":
        print(f"trajrl {__version__}")
        return 0
    if rest[0] not in table:
        print(
            f"error: {unknown('command', rest[0], table)}   ({program()} --help lists them)",
            file=sys.stderr,
        )
        return 2
    return _run(" ".join([*words, rest[0]]), {rest[0]: table[rest[0]][0]}, rest[0], rest[1:])


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Split off the name of a group of commands, if there is one."""
    return (argv[:1], argv[1:]) if argv and argv[0] in GROUPS else ([], argv)


def _overview(words: list[str], table: Mapping[str, tuple[str, str]]) -> str:
    """Return the page that lists commands."""
    called, width = " ".join([program(), *words]), terminal_width()
    lines = [f"usage: {called} COMMAND [options]", ""]
    if not words:
        lines += [*wrap(str(about).splitlines()[0], width), ""]
    for name, (_, text) in table.items():
        lines += wrap(f"  {name:<14} {text}", width, subsequent_indent=" " * 17)
    return "\n".join([*lines, "", *wrap(f"{called} COMMAND --help shows the options of each.", width)])


def _run(words: str, table: dict[str, str], name: str, argv: list[str]) -> int:
    """Parse the options of one command, run it, and print what it returns."""
    quiet, debug = "--json" in argv, "--debug" in argv
    speak_to_stderr(quiet)
    try:
        refuse_several(words)
        command = with_absolute_paths(parse(find(table, name, "command"), words, argv))
        with command_line(command):
            answer = _answer(command)
        if command.json and answer:  # of several processes the first one answers
            with printing():
                print(json.dumps(answer, default=_plain), flush=True)
    except SystemExit as stop:
        return int(stop.code or 0) if not isinstance(stop.code, str) else 2
    except OutputError:
        raise
    except KeyboardInterrupt:
        say_interrupted()
        return INTERRUPTED
    except BaseException as error:  # code of the user's may raise any kind, such as GeneratorExit
        if isinstance(error, BrokenPipeError) and reader_gone():
            return _leave_quietly()
        if debug:
            traceback.print_exc()
        print(
            f"error: {harmless(one_line(error))}", *shown_below(error), sep="\n", file=sys.stderr, flush=True
        )
        return 2 if isinstance(error, UsageError) else 1
    finally:
        speak_to_stderr(False)
    return int(any(map(answer.get, ("failed", "unfinished")))) if isinstance(answer, dict) else 0


def _answer(command: Common) -> dict[str, Any]:
    """Run a command; code of the user's that would end the program with any exit code is a failure."""
    try:
        raise_when_interrupted()
        command.check()
        return command.run()
    except SilentExitError:
        raise
    except SystemExit as stop:
        raise ValueError(
            f"code that was called ended the program (SystemExit: {stop.code}); an environment, agent or "
            "sampler may not do that"
        ) from stop


def reader_gone() -> bool:
    """Say whether standard output is a pipe that nobody reads any more."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return False


def refuse_several(words: str) -> None:
    """Refuse to do the same work in every process of torchrun."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and words not in TOGETHER:
        if os.environ.get("RANK", "0") != "0":
            raise SilentExitError(1)
        raise ValueError(f"'{words}' works in one process; torchrun is for: {', '.join(TOGETHER)}")


def parse(command: type[Common], words: str, argv: list[str]) -> Common:
    """Fill the command's dataclass from the command line."""
    import tyro

    from trajrl.cli.option import presented

    called = f"{program()} {words}"
    with printing(), in_one_line(called):  # of --help
        return tyro.cli(
            presented(command),
            prog=called,
            args=join_sets(argv),
            config=(tyro.conf.FlagCreatePairsOff,),
        )


def with_absolute_paths(command: Common) -> Common:
    """Let options name the same places while the command runs: an environment may change the folder."""
    changed: dict[str, Any] = {}
    for name in ("out", "policy", "policies"):
        value = getattr(command, name, None)
        if not value or value == Path():  # left out
            continue
        place = Path(value).expanduser()
        if name == "out" or place.exists():  # a policy may be a word, such as random
            changed[name] = str(place.absolute()) if isinstance(value, str) else place.absolute()
    return replace(command, **changed) if changed else command


def join_sets(argv: list[str]) -> list[str]:
    """Let --set be given more than once: `--set a=1 --set b=2` reads as `--set a=1 b=2`."""
    argv = [part for word in argv for part in (("--set", word[6:]) if word.startswith("--set=") else (word,))]
    if argv.count("--set") < 2:
        return argv
    kept: list[str] = []
    settings: list[str] = []
    place = kept
    for word in argv:
        place = settings if word == "--set" else kept if word.startswith("--") else place
        if word != "--set":
            place.append(word)
    return [*kept, "--set", *settings]


def one_line(error: BaseException) -> str:
    """Put an exception into one line; what is not an expected kind names its type and how to see more.

    An error from a user's own agent or sampler names its type, file and line, whatever its kind.
    """
    text = " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
    if isinstance(error, OSError) and error.strerror:
        place = ": ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        text = f"{place}: {error.strerror.lower()}" if place else error.strerror
    text = re.sub(r"\[Errno -?\d+\] ", "", text)  # the words behind it say the same
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__} in {short(error.filename)}, line {error.lineno}: {error.msg}"
    if (own := own_place(error)) is not None:
        return f"{type(error).__name__} in {own[0]}, line {own[1]}: {text}".rstrip(": ")
    ours = type(error).__module__.startswith("trajrl.")
    if (ours or isinstance(error, ValueError | KeyError | OSError | ImportError)) and text:
        return text
    return f"{type(error).__name__}: {text} (--debug shows where)"


def shown_below(error: BaseException) -> list[str]:
    """Return what trajrl's own errors show below their line: the place in a text, by a caret."""
    ours = type(error).__module__.startswith("trajrl.")
    return [harmless(note) for note in getattr(error, "__notes__", ())] if ours else []


def _plain(value: Any) -> Any:
    """Turn numpy and torch values and paths into what JSON knows."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)
