"""A run from a stranger is data: no command runs its code, obeys its text or follows its links."""

from __future__ import annotations

import ast
import dataclasses
import io
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest
from tests.commands.error_lines import error_of
from tests.commands.test_display import METRICS

import rndfast
from rndfast.commands.display import open_view
from rndfast.commands.main import COMMANDS, main
from rndfast.config import Config, EnvConfig, from_toml, load_run_config, to_toml
from rndfast.runs.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint
from rndfast.runtime import terminal
from rndfast.runtime.terminal import open_console, print_line, printable

SOURCES = Path(terminal.__file__).parents[1]
SMALL = """
--preset classic --num-envs 4 --rollout-steps 4 --obs-norm-steps 2 --num-threads 1
--total-transitions 16
""".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on CartPole."""
    path = tmp_path_factory.mktemp("foreign") / "run"
    assert main(["train", *SMALL, "--env-id", "CartPole-v1", "--run-dir", str(path)]) == 0
    return path


def make_foreign(trained: Path, run_dir: Path, env_id: str) -> Path:
    """A copy of the run that names another environment, its sums right."""
    shutil.copytree(trained, run_dir)
    config = load_run_config(trained)
    config = dataclasses.replace(config, env=dataclasses.replace(config.env, env_id=env_id))
    (run_dir / "config.toml").write_text(to_toml(config))
    (path,) = [p for p in list_checkpoints(run_dir / "checkpoints") if p.name.endswith("16")]
    state = load_checkpoint(path).state
    shutil.rmtree(run_dir / "checkpoints")
    save_checkpoint(run_dir / "checkpoints", 16, state, to_toml(config), keep=1)
    return run_dir


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module that registers CartPole, and leaves a file when it is imported."""
    monkeypatch.syspath_prepend(tmp_path / "modules")
    (tmp_path / "modules").mkdir()
    mark = tmp_path / "imported"
    (tmp_path / "modules" / "evil_module.py").write_text(
        f"open({str(mark)!r}, 'w').close()\n"
        "import gymnasium\n"
        "gymnasium.register('Evil-v0', 'gymnasium.envs.classic_control:CartPoleEnv', "
        "max_episode_steps=9)\n"
    )
    yield mark
    sys.modules.pop("evil_module", None)
    gymnasium.registry.pop("Evil-v0", None)


# What each command does with a run from a stranger: its exit code, and whether it may import.
READS_A_RUN = {
    "train": ["--resume", "RUN", "--total-transitions", "32"],
    "eval": ["RUN", "--episodes", "1", "--no-record"],
    "info": ["RUN"],
    "plot": ["RUN", "--output", "OUT/plot.png"],
    "report": ["RUN", "--output", "OUT/report.html"],
    "export": ["RUN", "--output", "OUT/agent.safetensors"],
}
READS_NO_RUN = {"bench", "presets", "profile"}


def argv_of(command: str, run: Path, output: Path) -> list[str]:
    """The command with a run; what it draws goes into a directory."""
    words = (word.replace("OUT", str(output)) for word in READS_A_RUN[command])
    return [command, *(str(run) if word == "RUN" else word for word in words)]


def test_every_command_is_tried() -> None:
    assert {command.name for command in COMMANDS} == READS_A_RUN.keys() | READS_NO_RUN


@pytest.mark.parametrize("command", READS_A_RUN)
def test_no_command_imports_what_a_run_names(
    trained: Path, tmp_path: Path, evil: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_foreign(trained, tmp_path / "run", "evil_module:Evil-v0")
    argv = argv_of(command, run, tmp_path)
    if command not in ("train", "eval"):
        assert main(argv) == 0
        assert not evil.exists()
        shown = capsys.readouterr().out
        assert ("its state is not checked: that would import evil" in shown) == (command == "info")
        return
    message = error_of(capsys, *argv)
    assert not evil.exists()
    assert "'evil_module' would be imported and run" in message
    assert message.endswith("if you trust it, add --allow-import evil_module")

    assert main([*argv, "--allow-import", "other_module"]) == 1
    assert not evil.exists()
    assert main([*argv, "--allow-import", "evil_module"]) == 0
    assert evil.exists()


def test_no_agent_imports_what_it_names(
    trained: Path, tmp_path: Path, evil: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_foreign(trained, tmp_path / "run", "evil_module:Evil-v0")
    path = tmp_path / "agent.safetensors"
    assert main(argv_of("export", run, tmp_path)) == 0
    assert main(["info", str(path)]) == 0
    capsys.readouterr()
    expected = "'evil_module' would be imported and run"
    assert expected in error_of(capsys, "eval", str(path), "--no-record", "--episodes=1")
    with pytest.raises(ValueError, match=expected):
        rndfast.load_agent(path)
    assert not evil.exists()
    rndfast.load_agent(path, allow_import="evil_module")
    assert evil.exists()


def test_what_the_user_names_is_imported(tmp_path: Path, evil: Path) -> None:
    flags = ["--env-id", "evil_module:Evil-v0", "--run-dir", str(tmp_path / "run")]
    assert main(["train", *SMALL, *flags]) == 0
    assert evil.exists()


@pytest.mark.parametrize("name", ["os", "evil_module", "", "none.x"])
def test_a_tracker_is_one_of_three(name: str) -> None:
    with pytest.raises(ValueError, match=r"^tracker must be one of"):
        from_toml(f'[run]\ntracker = "{name}"')


# --- text -------------------------------------------------------------------------------------

NASTY = [
    "[/x]",  # markup that closes what was not opened
    "[red]a[/red]",
    "[link=x]a",
    ":smile:",
    "{task.description} {0} {task.__class__.__init__.__globals__} %s %(x)d",  # format strings
    r"$\frac{1}$ $x$",  # a formula of Matplotlib's
]
# Title of the window, colour, cursor, bell, a C1 control, overwriting, direction of writing.
CONTROLS = "\x1b]0;pwned\x07\x1b[31m\x1b[2J\x9b1A\r\b\u202e\u2066\x00"


def test_control_characters_are_left_out() -> None:
    assert printable(f"a{CONTROLS}b\n\tc ü 中 🙂 [x]") == "a]0;pwned[31m[2J1Ab\n\tc ü 中 🙂 [x]"
    assert printable("a\udcffb") == "ab"  # a byte that is no text, in a file's name
    shown = io.StringIO()
    print_line(f"a{CONTROLS}b", shown)
    console = open_console(file=shown, width=200)
    console.print(f"c{CONTROLS}d", style="red")
    assert shown.getvalue() == "a]0;pwned[31m[2J1Ab\nc]0;pwned[31m[2J1Ad\n"


@pytest.mark.parametrize("name", NASTY)
def test_names_are_shown_as_they_are(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "500")
    run = make_foreign(trained, tmp_path / name, name + "-v0")
    assert main(["info", name]) == 0
    assert capsys.readouterr().out.startswith(f"{name}: {name}-v0, 16 of 16")
    assert main(["plot", name, "--output", "plot.svg"]) == 0
    assert f"{name}-v0, RND" in capsys.readouterr().out
    shutil.rmtree(run)
    shutil.copytree(trained, run)
    assert main(["eval", name, "--episodes", "1", "--no-record"]) == 0
    assert f" of {name}, seed 0" in " ".join(capsys.readouterr().out.split())


def test_no_command_shows_a_control_character_of_a_run(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    name = f"run{CONTROLS}".replace("\0", "")  # which no path has
    run = make_foreign(trained, tmp_path / name, f"a{CONTROLS}-v0")
    rows = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(rows.replace("charts/SPS", r"charts/\u001b[2J"))
    for command in READS_A_RUN:
        main(argv_of(command, run, tmp_path))
    main(["info", str(run / "missing")])
    main(["eval", str(run), "--checkpoint", f"x{CONTROLS}".replace("\0", "")])
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert "pwned" in text
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2066]", text)


@pytest.mark.parametrize("name", [*NASTY, CONTROLS])
def test_the_live_view_shows_names_as_they_are(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(
        "rndfast.commands.display.open_console",
        lambda: open_console(file=shown, width=200, force_terminal=True, color_system=None),
    )
    with open_view(Config(env=EnvConfig(env_id=name))) as view:
        view(f"about {name}")
        view(METRICS)
    assert f"about {printable(name)}" in shown.getvalue()
    assert shown.getvalue().count(printable(name)) >= 2
    assert "pwned\x07" not in shown.getvalue()
    assert "\x1b[31m" not in shown.getvalue()


def test_texts_are_shown_in_one_place_only() -> None:
    """Everything else would have to know of markup and of control characters."""
    for path in SOURCES.rglob("*.py"):
        if path.name == "terminal.py":
            continue
        source = path.read_text()
        makes_consoles = "from rich.console import Console" in source
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                place = f"{path}:{node.lineno}"
                assert node.func.id != "print", place
                assert not (makes_consoles and node.func.id == "Console"), place
                if node.func.id == "TextColumn":  # its argument is a format string
                    assert isinstance(node.args[0], ast.Constant), place


# --- links ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["checkpoints", "tensorboard", "lock"])
def test_a_resumed_run_writes_and_deletes_nothing_where_a_link_points(
    trained: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    shutil.copytree(trained, run)
    shutil.move(run / name, elsewhere)
    (run / name).symlink_to(elsewhere)
    before = sorted(tmp_path.rglob("*"))
    assert name in error_of(capsys, "train", "--resume", str(run), "--total-transitions", "32")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("is_directory", [True, False])
def test_a_video_is_not_written_where_a_link_points(
    tmp_path: Path, is_directory: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    run, precious = tmp_path / "run", tmp_path / "precious"
    flags = ["--max-num-frames-per-episode=40", "--num-envs=4", "--rollout-steps=4"]
    flags += ["--obs-norm-steps=1", "--total-transitions=16", "--run-dir", str(run)]
    assert main(["train", "--preset=laptop", *flags]) == 0
    video = run / "eval" / "step-000000000016-seed0.mp4"
    if is_directory:
        precious.mkdir()
        (run / "eval").symlink_to(precious)
    else:
        precious.write_text("mine")
        video.parent.mkdir()
        video.symlink_to(precious)
    capsys.readouterr()
    message = error_of(capsys, "eval", str(run), "--episodes=1")
    assert "is a link, and a run writes only inside its own directory" in message
    assert [*precious.iterdir()] == [] if is_directory else precious.read_text() == "mine"
