"""What is suggested works: every flag, command and extra that a message or a page names exists."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import gymnasium
import pytest

from rndfast.commands.main import COMMANDS, main
from rndfast.config import Config, EnvConfig, require_import_allowed

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
BY_NAME = {command.name: command for command in COMMANDS}

# Of other programs, which messages and pages name too.
OTHERS_FLAGS = {
    *(
        "--extra-index-url",
        "--force-reinstall",
        "--index-url",
        "--no-deps",
        "--only-binary",
        "--require-hashes",
    ),  # pip
    *("--duration", "--native", "--pid", "--rate", "--threads", "--no-children"),  # profilers
    *("--frames", "--micro-roms", "--seeds", "--times"),  # our tests
    *("--logdir", "--nproc-per-node"),  # TensorBoard, torchrun
    *("--difficulty", "--mode"),  # that a diff of docs/how-to/change.md adds
    "--total-steps",  # of the examples
    "--line",  # a colour of the report's style sheet
}

FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9]")
# Between backquotes, or after a colon.
COMMAND = re.compile(r"(?:`|: )rndfast ([a-z]+)([^`#\n]*)(?=`|#|$)", re.MULTILINE)
EXTRAS = re.compile(r"rndfast\[([\w,]+)\]")


@cache
def flags_of(command: str) -> set[str]:
    """What `rndfast COMMAND --help` lists."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        BY_NAME[command].parse(["--help"], command)
    return set(FLAG.findall(shown.getvalue()))


def messages() -> Iterator[tuple[str, str]]:
    """The texts of all modules, docstrings among them: tyro shows those of arguments."""
    for path in sorted((ROOT / "python" / "rndfast").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (getattr(part, "value", "X") for part in node.values)
                yield str(path), "".join(part if isinstance(part, str) else "X" for part in parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield str(path), node.value


def pages() -> Iterator[tuple[str, str]]:
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        if path.name != "log.md":  # what was tried when flags had other names
            yield str(path), path.read_text()


TEXTS = [*messages(), *pages()]


def test_every_flag_that_is_named_is_one() -> None:
    known = {"--help", "--version"}.union(*(flags_of(command) for command in BY_NAME))
    named = [(flag, place) for place, text in TEXTS for flag in FLAG.findall(text)]
    assert len(named) > 60
    assert [(flag, place) for flag, place in named if flag not in known | OTHERS_FLAGS] == []
    assert {flag for flag, _ in named} >= OTHERS_FLAGS


def test_every_command_that_is_named_is_one_and_takes_its_flags() -> None:
    named = [(*found.groups(), place) for place, text in TEXTS for found in COMMAND.finditer(text)]
    commands = [(name, flags) for name, flags, _ in named if name in BY_NAME]
    assert {name for name, _ in commands} == BY_NAME.keys()
    assert [name for name, _, place in named if name not in BY_NAME and ".md" in place] == []
    for name, rest in commands:
        assert set(FLAG.findall(rest)) <= flags_of(name), (name, rest)


def test_every_extra_that_is_named_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {
        extra for _, text in TEXTS for found in EXTRAS.findall(text) for extra in found.split(",")
    }
    assert named
    assert named <= project["optional-dependencies"].keys()


def test_the_commands_of_the_readme_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.toml").touch()
    lines = re.findall(r"^rndfast (.+?)(?: +#.*)?$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(lines) > 6
    for line in lines:
        name, *argv = shlex.split(line)
        if "--help" not in argv:
            BY_NAME[name].parse(argv, name)


# --- what a run suggests ------------------------------------------------------------------------

NAMES = ["it's [a] run", 'two "words" $HOME `ls`', "-v", "[/x]", "a;b"]


def suggested(text: str) -> list[str]:
    """The words of a suggestion, as a shell makes them of it."""
    return shlex.split(text.strip())


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_that_follow_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [
        "--preset=classic", "--num-envs=4", "--rollout-steps=4", "--obs-norm-steps=2",
        "--num-threads=1", "--total-transitions=16",
    ]  # fmt: skip
    assert main(["train", *arguments, f"--run-dir={name}"]) == 0
    *_, head, evaluates, draws = capsys.readouterr().out.splitlines()
    assert head.endswith("next:")
    *program, command, source = suggested(evaluates)
    assert program[-2:] == ["-m", "rndfast"] or program[-1].endswith("rndfast")
    assert BY_NAME[command].parse([source], command).source.resolve() == (tmp_path / name).resolve()
    assert Path(suggested(draws)[-1]).resolve() == (tmp_path / name).resolve()

    assert main(["train", *arguments, f"--run-dir={name}"]) == 1  # it exists
    flags = suggested(capsys.readouterr().err.split("or go on with ")[1])
    resumed = BY_NAME["train"].parse(flags, "train").settings
    assert resumed.run.run_dir.resolve() == (tmp_path / name).resolve()

    assert main(["export", source, f"--output={name}.safetensors"]) == 0
    *_, command, file = suggested(capsys.readouterr().out.splitlines()[-1])
    assert BY_NAME[command].parse([file], command).source.is_file()


def test_what_follows_names_the_module_that_must_be_imported(
    empty_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = dict(gymnasium.registry)
    monkeypatch.setattr(gymnasium.envs.registration, "registry", registry)
    monkeypatch.syspath_prepend(empty_dir)
    (empty_dir / "a_maze.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Maze-v0', 'gymnasium.envs.classic_control:MountainCarEnv',"
        " max_episode_steps=9)\n"
    )
    arguments = [
        "--preset=classic", "--env-id=a_maze:Maze-v0", "--num-envs=4", "--rollout-steps=4",
        "--obs-norm-steps=2", "--num-threads=1", "--total-transitions=16", "--run-dir=run",
    ]  # fmt: skip
    assert main(["train", *arguments]) == 0
    *_, head, evaluates, _ = capsys.readouterr().out.splitlines()
    assert head.endswith("next:")
    assert main(["export", "run", "--output=agent.safetensors"]) == 0
    of_file = capsys.readouterr().out.splitlines()[-1]
    for suggestion in (evaluates, of_file):
        words = suggested(suggestion)
        flags = words[words.index("eval") + 1 :]
        assert main(["eval", *flags, "--episodes=1", "--no-record"]) == 0


@pytest.mark.parametrize("module", ["minigrid", "a;b", "$(touch x)", "a b"])
def test_a_module_that_a_file_names_is_one_word_of_the_suggestion(
    tmp_path: Path, module: str
) -> None:
    config = Config(env=EnvConfig(env_id=f"{module}:Name-v0"))
    with pytest.raises(ValueError, match="would be imported") as caught:
        require_import_allowed(config, None, tmp_path)
    flags = suggested(str(caught.value).split("if you trust it, add ")[1])
    arguments = BY_NAME["eval"].parse(["run", *flags], "eval")
    assert arguments.allow_import == module
