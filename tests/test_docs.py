"""The documentation against the code: what it lists is what there is."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.tiny import NUM_ENVS, STEPS, tiny_config

from rndfast.runs.alarms import RULES
from rndfast.runs.meanings import MEANINGS
from rndfast.runs.metrics import read_metrics
from rndfast.runs.train import train

ROOT = Path(__file__).resolve().parent.parent


def names_in_first_cells(page: Path) -> list[str]:
    """What stands between backquotes in the first cell of each row of a page's tables."""
    cells = [line.split("|")[1] for line in page.read_text().splitlines() if line.startswith("| `")]
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize(
    ("heads", "ppo"),
    [
        ({"ext", "int"}, {}),
        ({"combined"}, {"two_value_heads": False, "ext_gamma": 0.99, "int_gamma": 0.99}),
    ],
)
def test_every_metric_that_a_run_writes_is_explained_and_no_other(
    tmp_path: Path, heads: set[str], ppo: dict[str, Any]
) -> None:
    config = tiny_config(tmp_path / "run", total_transitions=NUM_ENVS * STEPS)
    config = dataclasses.replace(config, ppo=dataclasses.replace(config.ppo, **ppo))
    train(config, view=lambda update: None)
    (row,) = read_metrics(config.run.run_dir / "metrics.jsonl")

    explained = names_in_first_cells(ROOT / "docs" / "metrics.md")
    assert len(explained) == len(set(explained))
    of_other_heads = {
        pattern.format(head)
        for head in {"ext", "int", "combined"} - heads
        for pattern in ("losses/{}_value", "rollout/{}_explained_variance")
    }
    written = {re.sub(r"^rooms/\d+/", "rooms/<n>/", name) for name in row}
    alarms = {rule.name for rule in RULES}
    assert set(explained) - of_other_heads == written | alarms


def test_tensorboards_texts_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    texts = {}
    for line in page.splitlines():
        if found := re.match(r"\| `(\w+/[^`]+)`[^|]* \| (.+?) \| ", line):
            texts[found[1]] = re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", found[2])  # links lead nowhere
    assert texts == MEANINGS


def test_every_module_is_on_the_map_and_no_other() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    on_the_map = set(re.findall(r"\[`[^`]+`\]\(\.\./([^)]+)\)", page))
    python = (ROOT / "python" / "rndfast").rglob("*.py")
    modules = {path for path in python if not path.name.startswith("__")}
    folders = {path for path in (ROOT / "csrc" / "rndfast").iterdir() if path.is_dir()}
    folders.add(ROOT / "csrc" / "bindings")
    assert on_the_map == {str(path.relative_to(ROOT)) for path in modules | folders}


PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    targets = [page.parent / link for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)]
    if page.name != "log.md":  # which says what was, under the names of the time
        paths = re.findall(r"`((?:\.ci|csrc|docs|examples|python|tests)/[\w./]+)", text)
        targets += [ROOT / path for path in paths]
    assert [str(target) for target in targets if not target.exists()] == []


def test_the_readmes_proof_runs(tmp_path: Path) -> None:
    """The script as it stands there, with one seed and fewer transitions."""
    (script,) = re.findall(
        r"```sh\n(for seed in .*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    small = script.replace("11 12 13", "11").replace("150000", "4096")
    assert small.count("4096") == 1
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-ec", small], cwd=tmp_path, env=environment, check=True, timeout=240)
    assert {path.name for path in (tmp_path / "runs" / "proof").iterdir()} == {"3000-11", "0-11"}
    assert (tmp_path / "proof.png").stat().st_size > 0


def test_the_demo_says_what_will_happen_and_plays_the_pretrained_agent() -> None:
    """By what make would run."""
    command = ["make", "--dry-run", "demo", "RUN_DIR=runs/here"]
    planned = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    first, *_ = lines = [
        line for line in planned.splitlines() if "echo" in line or "rndfast " in line
    ]
    assert "What will happen" in first
    trains, plays, tells = (
        next(i for i, line in enumerate(lines) if part in line)
        for part in ("rndfast train ", "rndfast eval pretrained/", "There are now")
    )
    assert trains < plays < tells
    (agent,) = re.findall(r"eval (\S+)", lines[plays])
    assert (ROOT / agent).exists()
