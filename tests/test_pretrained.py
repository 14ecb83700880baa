"""The agent in ``pretrained/``: it is what its card says, and does what its card says."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import rndfast

FOLDER = Path(__file__).resolve().parent.parent / "pretrained"
AGENT = FOLDER / "montezuma-revenge.safetensors"

pytestmark = pytest.mark.skipif(not AGENT.exists(), reason="a source distribution lacks the agent")


def test_the_file_is_that_of_the_card() -> None:
    card = (FOLDER / "README.md").read_text()
    assert hashlib.sha256(AGENT.read_bytes()).hexdigest() in card
    assert f"{AGENT.stat().st_size:,} bytes" in card
    tensors = safetensors.numpy.load_file(AGENT)
    for name, tensor in tensors.items():
        expected = np.float16 if name.startswith(("policy.", "rnd.")) else np.float64
        assert tensor.dtype == expected, name


def test_it_takes_the_key() -> None:
    """A hundred points that a random agent does not get in millions of steps."""
    agent = rndfast.load_agent(AGENT, seed=1)
    assert f"{agent.transitions:,} transitions" in (FOLDER / "README.md").read_text()
    with contextlib.closing(agent.make_env(num_envs=2)) as env:
        observations = env.reset(seed=1)[0]
        returns = np.zeros(2)
        for _ in range(1500):
            observations, _, _, _, info = env.step(agent.act(observations)[0])
            returns += info["reward_raw"]
            if (returns >= 100).all():
                break
    assert (returns >= 100).all()
