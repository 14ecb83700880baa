"""benchmarks/mountain_car.py: its figures, and that all contestants train."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from benchmarks import mountain_car

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_final_return_is_of_the_episodes_in_the_last_tenth() -> None:
    episodes = [(100, -200.0), (900, -190.0), (901, -120.0), (1000, -130.0)]
    assert mountain_car.final_return(episodes, 1000) == -125
    assert math.isnan(mountain_car.final_return(episodes[:2], 1000))


@pytest.mark.parametrize("contestant", mountain_car.CONTESTANTS)
def test_an_untrained_agent_never_reaches_the_hill(
    contestant: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Five rollouts: the third of the episodes of 200 steps ends at 600 steps of 640."""
    monkeypatch.setattr(mountain_car, "NUM_ENVS", 4)
    path = tmp_path / "report.json"
    flags = ["--seeds=1", f"--total-transitions={640 * 4}", f"--json={path}"]
    mountain_car.main(["--contestants", contestant, *flags])
    assert f"{contestant}: -200.0 (-200.0 to -200.0)" in capsys.readouterr().out
    report = json.loads(path.read_text())
    figures = {"iqm": -200, "low": -200, "high": -200, "of_each_seed": [-200]}
    assert report["return"] == {contestant: figures}
    assert report["versions"]["stable-baselines3"]


@pytest.mark.parametrize("flag", ["--seeds=0", "--total-transitions=0", "--contestants=DQN"])
def test_bad_flags_exit_with_code_2(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        mountain_car.main([flag])
    assert exit_.value.code == 2
    assert flag.partition("=")[0] in capsys.readouterr().err
