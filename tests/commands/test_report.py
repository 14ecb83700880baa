"""The report: what it says of rows that the test writes, and how a browser shows it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from tests.tiny import tiny_config

import rndfast
from rndfast.commands.main import main
from rndfast.commands.report.episode import peaks, png
from rndfast.commands.report.page import machine
from rndfast.commands.report.room_map import pitfall_distances, places_of, rooms_of
from rndfast.config import Config, RunConfig, load_run_config, to_toml
from rndfast.runs.curves import Run
from rndfast.runs.metrics import Metrics
from rndfast.runs.train import train


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rollouts on Montezuma's Revenge, in a directory whose name is markup."""
    path = tmp_path_factory.mktemp("report") / "<b>run & [bold]"
    config = tiny_config(path)
    train(
        dataclasses.replace(
            config, atari=dataclasses.replace(config.atari, max_num_frames_per_episode=400)
        ),
        view=lambda update: None,
    )
    return path


@pytest.fixture(scope="module")
def page(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    assert main(["report", str(run_dir), "--output", str(path)]) == 0
    return path


class Elements(HTMLParser):
    """All elements of a page, and its text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


# --- what the page says -----------------------------------------------------------------------


def test_the_page_asks_nothing_of_a_network(page: Path) -> None:
    parsed = Elements(page)
    addresses = [
        value
        for _, attributes in parsed.elements
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href") and value is not None
    ]
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"url\((?!#)", page.read_text())
    assert parsed.of("script") == []


def test_names_are_text_and_never_markup(page: Path, run_dir: Path) -> None:
    parsed = Elements(page)
    assert parsed.of("b") == []
    assert str(run_dir) in parsed.text


def test_the_page_says_what_was_run(page: Path, run_dir: Path) -> None:
    text = " ".join(Elements(page).text.split())
    assert "PPO with Random Network Distillation trained on 96 transitions of " in text
    assert "rndfast/MontezumaRevenge-v5 (384 frames) in 4 parallel environments" in text
    for name in ("img_height", "int_gamma", "predictor_proportion"):
        assert name in text
    for path in (run_dir / "checkpoints").iterdir():
        assert f"{path.name} verified, " in text
    machine = json.loads((run_dir / "machine.json").read_text())
    assert f"{machine['cpu']}, {machine['cores']} cores" in text
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    seconds = {name: sum(row[f"perf/{name}_s"] for row in rows) for name in ("env", "learn", "log")}
    whole = sum(
        row[f"perf/{name}_s"]
        for row in rows
        for name in ("env", "inference", "bonus", "advantages", "learn", "log")
    )
    for name, of_phase in seconds.items():
        assert f"{name} {of_phase / whole:.1%}" in text


def test_settings_that_differ_from_the_papers_stand_beside_them(page: Path) -> None:
    text = page.read_text()
    assert "<td>img_height</td><td>52</td><td>84</td>" in text
    assert "<td>int_gamma</td><td>0.99</td><td></td>" in text


def test_each_picture_and_figure_says_what_it_is(page: Path) -> None:
    parsed = Elements(page)
    assert len(parsed.of("img")) >= 4  # a room, and peaks of the bonus
    assert all(image["alt"] for image in parsed.of("img"))
    drawings = parsed.of("svg")
    assert len(drawings) >= 8
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in drawings)
    ids = [attributes["id"] for _, attributes in parsed.elements if attributes.get("id")]
    of_page = [name for name in ids if name in {"curves", "rooms", "episode", "losses", "time"}]
    assert len(of_page) == 5
    references = set(re.findall(r'(?:url\(#|xlink:href="#)([\w-]+)', page.read_text()))
    defined = [name for name in ids if name in references]
    assert len(defined) == len(set(defined)) == len(references)


# --- rooms ------------------------------------------------------------------------------------


def run_of(rows: list[Metrics], **env: Any) -> Run:
    config = Config(run=RunConfig(), env=dataclasses.replace(Config().env, **env))
    return Run(Path("run"), config, rows)


def test_rooms_are_counted_over_all_rows() -> None:
    rows: list[Metrics] = [{"transitions": 100 * n, "rooms/1/steps": 90} for n in range(1, 20)]
    rows[3] |= {"rooms/2/steps": 90, "rooms/2/first_visit": 333}
    rows[0] |= {"rooms/1/first_visit": 4}
    rows.append({"transitions": 2000, "rooms/2/steps": 10, "rooms/1/steps": 80})
    rooms = {room.number: room for room in rooms_of(run_of(rows))}
    assert len(rooms) == 24
    assert rooms[1].share == pytest.approx((19 * 90 + 80) / (20 * 90 + 90))
    assert rooms[2].share == pytest.approx(100 / (20 * 90 + 90))
    assert rooms[2].late_share == pytest.approx(10 / 180)  # of the last two of twenty rows
    assert (rooms[1].first_visit, rooms[2].first_visit) == (4, 333)
    assert rooms[3].share is None
    assert rooms_of(run_of([{"transitions": 100}])) == []


def test_montezumas_rooms_stand_in_a_pyramid() -> None:
    places = places_of("montezuma_revenge", {1})
    assert places[1] == (0, 4)
    assert len(places) == len(set(places.values())) == 24
    floors = [[column for row, column in places.values() if row == floor] for floor in range(4)]
    assert [len(floor) for floor in floors] == [3, 5, 7, 9]
    for floor in floors:  # each is whole, and in the middle
        assert floor == list(range(floor[0], floor[-1] + 1))
        assert floor[0] + floor[-1] == 8


def test_pitfalls_screens_stand_as_one_walks() -> None:
    """The game itself says which screen lies to the left of the first."""
    console = rndfast.Console("pitfall")
    first = int(console.ram[1])
    while int(console.ram[1]) == first:
        console.act(4)
        assert console.frame_number < 3000
    left = int(console.ram[1])
    assert pitfall_distances()[first] == 0
    assert pitfall_distances()[left] == -1
    assert len(pitfall_distances()) == 256
    assert places_of("pitfall", {first, left}) == {left: (0, 0), first: (0, 1)}


# --- the episode ------------------------------------------------------------------------------


def test_peaks_are_the_highest_values_that_are_not_near_a_higher_one() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(400).astype(np.float32)
    found = peaks(values)
    assert len(found) == 8
    assert found[0] == values.argmax()
    left = set(range(400))
    for step in found:  # the plain way: the highest of what is left, and its neighbours are gone
        assert values[step] == max(values[other] for other in left)
        left -= set(range(step - 9, step + 10))


def test_a_picture_is_a_png_of_its_pixels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (21, 16, 3), np.uint8)
    (tmp_path / "picture.png").write_bytes(png(pixels))
    read = imread(tmp_path / "picture.png")
    np.testing.assert_array_equal((read[..., :3] * 255).round(), pixels)


# --- other runs -------------------------------------------------------------------------------


def test_runs_without_rooms_episodes_or_checkpoints_have_a_page(tmp_path: Path) -> None:
    arguments = [
        "--preset=classic", "--num-envs=4", "--rollout-steps=16", "--obs-norm-steps=4",
        "--total-transitions=128",
    ]  # fmt: skip
    run_dir = tmp_path / "run"
    assert main(["train", *arguments, "--run-dir", str(run_dir)]) == 0
    output = tmp_path / "pages" / "report.html"
    assert main(["report", str(run_dir), "--output", str(output)]) == 0
    text = " ".join(Elements(output).text.split())
    assert "This run has no rooms" in text
    assert "No episode was played: only Atari's games are played for a report." in text


def test_alarms_are_told(run_dir: Path, page: Path, tmp_path: Path) -> None:
    assert "There are none: the metrics show no sign" in Elements(page).text
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    metrics = copy / "metrics.jsonl"
    row = json.loads(metrics.read_text().splitlines()[0]) | {"health/dead_features": 0.75}
    metrics.write_text(f"{json.dumps(row)}\n" * 10)
    output = tmp_path / "report.html"
    assert main(["report", str(copy), "--output", str(output)]) == 0
    text = " ".join(Elements(output).text.split())
    assert "alarm dead_features at 24 transitions: health/dead_features is 0.75" in text


def test_damaged_checkpoints_are_told(run_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    for path in (copy / "checkpoints").glob("step-*"):
        (path / "agent.safetensors").write_bytes(b"nothing")
    output = tmp_path / "report.html"
    assert main(["report", str(copy), "--output", str(output)]) == 0
    text = " ".join(Elements(output).text.split())
    assert "No episode was played: no usable checkpoint in" in text
    assert "agent.safetensors is damaged" in text


def test_seeds_are_drawn_together(run_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    config = load_run_config(copy)
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, seed=2))
    (copy / "config.toml").write_text(to_toml(config))
    output = tmp_path / "report.html"
    assert main(["report", str(run_dir), str(copy), "--output", str(output)]) == 0
    text = " ".join(Elements(output).text.split())
    assert "RND (2 seeds)" in text
    assert "and 1 more beside it" in text


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nowhere", "is no run directory: it has no config.toml"),
        ("no rows", "has no metrics yet: no rollout has ended"),
        ("torn row", "has no metrics: no row of its metrics.jsonl is whole"),
        ("agent", "is no run directory but a file; agents in files are for eval, info and train"),
    ],
)
def test_what_cannot_be_told_is_one_line(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, message: str
) -> None:
    copy = tmp_path / "run"
    if kind == "agent":
        assert main(["export", str(run_dir), "--output", str(copy)]) == 0
    elif kind != "nowhere":
        shutil.copytree(run_dir, copy)
        row = (copy / "metrics.jsonl").read_bytes()[:50]
        (copy / "metrics.jsonl").unlink()
        if kind == "torn row":
            (copy / "metrics.jsonl").write_bytes(row)
    assert main(["report", str(copy), "--output", str(tmp_path / "report.html")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"rndfast: error: {copy} {message}")
    assert not (tmp_path / "report.html").exists()


def test_a_run_that_is_none_keeps_no_other_from_the_page(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(run_dir, bad)
    (bad / "config.toml").write_text("[[")
    huge = tmp_path / "huge"
    shutil.copytree(run_dir, huge)
    os.truncate(huge / "metrics.jsonl", 40 << 30)
    runs = [str(path) for path in (tmp_path / "nowhere", bad, run_dir, huge)]
    output = tmp_path / "report.html"
    assert main(["report", *runs, "--output", str(output)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("left out: ") for line in lines] == [True] * 3
    for line, name in zip(lines, ("nowhere", "bad", "huge"), strict=True):
        assert name in line
    assert "A run of PPO with Random Network Distillation trained on" in " ".join(
        Elements(output).text.split()
    )


@pytest.mark.parametrize(
    "row",
    [{}, {"charts/SPS": "fast", "rnd/rooms": [1], "perf/env_s": {}, "rnd/intrinsic_reward": 0.5}],
)
def test_rows_of_a_stranger_are_shown(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], row: dict[str, Any]
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    shutil.rmtree(copy / "checkpoints")
    (copy / "metrics.jsonl").write_text(json.dumps({"transitions": 12345, **row}) + "\n")
    (copy / "machine.json").write_text("[" * 5000 + "]" * 5000)
    output = tmp_path / "report.html"
    assert main(["report", str(copy), "--output", str(output)]) == 0
    assert "12,345 transitions" in Elements(output).text
    assert main(["info", str(copy)]) == 0
    assert "12,345 of" in capsys.readouterr().out
    code = main(["plot", str(copy), "--output", str(tmp_path / "plot.png")])
    assert code == (0 if row else 1)  # there is nothing to draw
    assert ("nothing to plot yet" in capsys.readouterr().err) == (not row)


@pytest.mark.parametrize("content", [b" " * 20_000 + b"{}", b"[1]", b'{"gpu": 1}', b"\xff", None])
def test_a_machine_that_is_none_is_left_out(tmp_path: Path, content: bytes | None) -> None:
    if content is None:
        os.mkfifo(tmp_path / "machine.json")  # to read it would never end
    else:
        (tmp_path / "machine.json").write_bytes(content)
    assert machine(tmp_path) is None


def test_a_page_that_cannot_be_written_is_told_before_an_episode_is_played(
    run_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rndfast.commands.report.page.play_episode", None)
    assert main(["report", str(run_dir), "--output", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"rndfast: error: Is a directory: {tmp_path}\n"


# --- in a browser -----------------------------------------------------------------------------

LOOK = """<script>
addEventListener("load", () => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const looked = document.createElement("pre");
  looked.id = "looked";
  looked.textContent = JSON.stringify({
    missing_images: all("img").filter((image) => !image.naturalWidth).length,
    flat_figures: all("svg").filter((svg) => svg.getBoundingClientRect().height < 50).length,
    dead_links: all("a").filter((a) => !document.getElementById(a.hash.slice(1))).length,
    too_wide: document.documentElement.scrollWidth - innerWidth,
    background: getComputedStyle(document.body).backgroundColor,
    focusable: all("a, summary, [tabindex='0']").length,
  });
  document.body.append(looked);
});
</script></body>"""


def look(page: Path, tmp_path: Path, *, width: int, dark: bool) -> dict[str, Any]:
    """What a browser makes of a page; it must have nothing to complain of."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        assert "CI" not in os.environ, "CI must have Chromium"
        pytest.skip("there is no Chromium here")
    copy = tmp_path / "page.html"
    copy.write_text(page.read_text().replace("</body>", LOOK))
    command = [
        browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom",
        "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},900", "--virtual-time-budget=5000",
        *(["--blink-settings=preferredColorScheme=0"] if dark else []), copy.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    found = re.search(r'<pre id="looked">(.*?)</pre>', done.stdout)
    assert found is not None
    looked: dict[str, Any] = json.loads(found[1])
    return looked


@pytest.mark.parametrize("width", [500, 1200])
def test_a_browser_shows_everything(page: Path, tmp_path: Path, width: int) -> None:
    looked = look(page, tmp_path, width=width, dark=False)
    assert looked["missing_images"] == looked["flat_figures"] == looked["dead_links"] == 0
    assert looked["too_wide"] <= 0
    assert looked["focusable"] >= 8
    assert looked["background"] == "rgb(253, 253, 252)"


def test_a_browser_shows_it_dark(page: Path, tmp_path: Path) -> None:
    assert look(page, tmp_path, width=1200, dark=True)["background"] == "rgb(20, 21, 23)"
