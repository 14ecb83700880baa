"""benchmarks/door_key.py: the bonuses by hand, and that they take the place of the predictor's."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from benchmarks import door_key
from numpy.typing import NDArray

from rndfast.learner.cpu import CpuBackend
from rndfast.runs.metrics import read_metrics

pytestmark = pytest.mark.usefixtures("one_thread")

VIEWS = [[b"a", b"b"], [b"a", b"a"], [b"c", b"a"]]


def test_each_visit_counts_at_once_or_after_the_rollout() -> None:
    before = Counter({b"a": 1})
    visits = before.copy()
    bonus = door_key.count_bonus(VIEWS, visits, late=False)
    np.testing.assert_allclose(bonus**-2, [[2, 1], [3, 4], [1, 5]], rtol=1e-6)
    assert visits == {b"a": 5, b"b": 1, b"c": 1}

    late_visits = before.copy()
    bonus = door_key.count_bonus(VIEWS, late_visits, late=True)
    np.testing.assert_allclose(bonus**-2, [[2, 1], [2, 2], [1, 2]], rtol=1e-6)
    assert late_visits == visits


def test_what_is_new_is_new_to_the_episode() -> None:
    seen = [{b"a"}, {b"a"}]
    is_first = np.array([[False, False], [False, True], [False, False]])
    new = door_key.is_new(VIEWS, is_first, seen)
    assert new.tolist() == [[False, True], [False, True], [True, False]]
    assert seen == [{b"a", b"c"}, {b"a"}]


def test_a_run_is_paid_by_the_bonus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One rollout of 128 steps; an error of 1 everywhere stands for the predictor's."""

    def ones(backend: CpuBackend) -> NDArray[np.float32]:
        return np.ones(backend.rollout.rewards_raw.shape, np.float32)

    monkeypatch.setattr(CpuBackend, "intrinsic_rewards", ones)
    door_key.main(["--seeds=1", "--total-transitions=2048", f"--output={tmp_path}"])
    assert "late-counts, seed 11: nan\nlate-counts: -\n" in capsys.readouterr().out
    report = json.loads((tmp_path / "door_key.json").read_text())
    assert report["return"] == dict.fromkeys(door_key.BONUSES)
    mean, largest = {}, {}
    for name in door_key.BONUSES:
        (row,) = read_metrics(tmp_path / f"{name}-11" / "metrics.jsonl")
        deviation = row["rnd/intrinsic_return_std"] or np.nan
        mean[name] = (row["rnd/intrinsic_reward"] or np.nan) * deviation
        largest[name] = (row["rnd/intrinsic_reward_max"] or np.nan) * deviation
    assert largest == pytest.approx(dict.fromkeys(door_key.BONUSES, 1))
    assert mean["late-counts"] == pytest.approx(1)  # nothing was seen before this rollout
    assert 0.1 < mean["counts"] < 0.9
    num_new = 2048 * mean["rnd-once"]  # of all that was seen
    assert num_new == pytest.approx(round(num_new))
    assert 16 <= num_new < 1024
