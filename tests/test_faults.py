"""Each known fault of public ports (``docs/algorithm.md``) and the test that it would fail.

Most are tested where the code is; ``COVERED`` says where. The rest is here: how settings reach the
environment and what is learnt, and number formats.
"""

from __future__ import annotations

import importlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from tests.reference.learner import (
    ToyEnv,
    ToyVectorEnv,
    arrays_of,
    frame_store,
    record_inputs,
    rnd_of,
    small_config,
    small_learner,
)

from rndfast.config import Config, PpoConfig, RndConfig
from rndfast.learner.ppo import compute_advantages, update
from rndfast.learner.rollout import collect
from rndfast.runs.checkpoint import load_newest_checkpoint

TESTS = Path(__file__).parent

COVERED = {
    "reward filter over environments instead of time": [
        "learner/test_rnd.py::test_the_scale_follows_time_and_not_the_environments",
        "core/test_discounted_return_filter.py"
        "::test_filter_runs_over_time_and_not_over_environments",
    ],
    "bonus statistics from float32 variance": [
        "learner/test_rnd.py::test_rewards_are_divided_by_the_running_std_of_their_discounted_returns",
    ],
    "predictor trained on the current observation": [
        "learner/test_rnd.py::test_the_predictor_is_trained_on_the_next_frames",
    ],
    "episodes cut at life loss, wrong frame cap, no-op and FIRE starts": [
        "test_presets.py::test_every_number_is_that_of_its_source",
        "test_faults.py::test_the_papers_protocol_reaches_the_environment",
    ],
    "first observation left over from before the statistics were started": [
        "learner/test_rnd.py::test_training_starts_from_a_reset_after_the_random_agent",
    ],
    "episode returns that leak across a truncation": [
        "learner/test_rollout.py::test_episodes_count_whole_across_rollouts_and_anew_after_a_truncation",
        "envs/test_atari.py::test_steps_are_those_of_ale_py",
    ],
    "sticky actions drawn once per agent step": [
        "envs/test_atari.py::test_sticky_actions_are_redrawn_in_every_frame",
    ],
    "gradient clipping that does nothing": [
        "learner/test_ppo.py::test_huge_gradients_are_not_clipped",
        "learner/test_ppo.py::test_gradients_are_as_long_as_they_may_be",
        "test_faults.py::test_every_setting_of_the_algorithm_changes_what_is_learnt",
    ],
    "frames in float64": ["test_faults.py::test_no_frame_is_ever_float64"],
    "statistics of shape (84,) for images": [
        "learner/test_rnd.py::test_statistics_have_one_float64_entry_for_each_pixel",
    ],
    "one value head": [
        "learner/test_networks.py::test_the_two_value_heads_are_two",
        "learner/test_ppo.py::test_advantages_are_two_gaes_with_their_own_ends_and_discounts",
    ],
    "bonus added after the advantages": [
        "learner/test_rnd.py::test_the_bonus_is_in_the_advantages_that_the_update_learns_from",
    ],
    "advantages normalised": ["learner/test_ppo.py::test_advantages_are_not_normalised"],
    "values clipped": ["learner/test_ppo.py::test_values_are_not_clipped_towards_the_old_ones"],
    "minibatches shuffled": [
        "learner/test_ppo.py"
        "::test_minibatches_are_slices_of_environments_in_the_same_order_in_every_epoch",
    ],
    "leaky slope 0.01": [
        "learner/test_networks.py::test_leaky_slope_is_0_2_in_all_three_convolutions"
    ],
    "third policy convolution 3x3": [
        "learner/test_networks.py::test_policy_has_the_sizes_of_the_authors_code",
    ],
    "sum or half of the squared errors as bonus": [
        "learner/test_rnd.py::test_reward_is_the_mean_squared_error_on_the_whitened_clipped_next_frame",
    ],
    "first frame repeated in the stack": [
        "learner/test_rollout.py"
        "::test_stacks_are_those_that_the_env_observed_also_across_ends_and_rollouts",
    ],
}


@pytest.mark.parametrize("fault", COVERED)
def test_every_fault_has_a_test(fault: str) -> None:
    for name in COVERED[fault]:
        file, test = name.split("::")
        assert f"def {test}(" in (TESTS / file).read_text()


# --- how settings reach what they set ---------------------------------------------------------


def test_the_papers_protocol_reaches_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("rndfast.envs.make")
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(
        module, "AtariVectorEnv", lambda game, **settings: made.append({"game": game} | settings)
    )
    module.make_env(Config(), 3)
    assert made == [
        {
            "game": "montezuma_revenge",
            "num_envs": 128,
            "frameskip": 4,
            "maxpool": True,
            "pool_before_grey": True,
            "grayscale": True,
            "img_height": 84,
            "img_width": 84,
            "stack_num": 1,  # the rollout stacks
            "max_num_frames_per_episode": 18_000,
            "repeat_action_probability": 0.25,
            "noop_max": 0,
            "use_fire_reset": False,
            "episodic_life": False,
            "full_action_space": False,
            "reward_clipping": False,  # signs are taken in training, so that logs can be unclipped
            "autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP,
            "num_threads": 3,
            "copy": False,  # the rollout copies what it keeps
            "render_mode": None,
        }
    ]


# One other value of each setting, under which training goes on differently.
ALTERNATIVES: dict[str, Any] = {
    "policy": "recurrent",
    "rollout_steps": 5,
    "learning_rate": 0.02,
    "anneal_lr": True,
    "adam_eps": 1e-3,
    "update_epochs": 2,
    "num_minibatches": 2,
    "shuffle_minibatches": True,
    "ext_gamma": 0.9,
    "int_gamma": 0.9,
    "gae_lambda": 0.5,
    "ext_coef": 1.0,
    "int_coef": 0.5,
    "norm_adv": True,
    "clip_coef": 0.01,
    "ent_coef": 0.1,
    "vf_coef": 0.1,
    "clip_vloss": True,
    "max_grad_norm": 1e-3,
    "two_value_heads": False,
    "episodic_int_return": True,
    "bootstrap_truncated": True,
    "bonus": "drnd",
    "num_targets": 3,
    "drnd_alpha": 0.5,
    "predictor_proportion": "auto",
    "predictor_hidden_layers": 1,
    "obs_norm_steps": 0,
    "obs_clip": 0.5,
    "int_return_direction": "backward",
    "int_reward_clip": 0.01,
    "leaky_relu_slope": 0.5,
    "num_features": 9,
}


def test_every_setting_of_the_algorithm_changes_what_is_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [setting.name for part in (PpoConfig, RndConfig) for setting in fields(part)]
    assert ALTERNATIVES.keys() == set(names)
    module = importlib.import_module("rndfast.runs.train")
    terminated, truncated = ((1, 0), (4, 2), (8, 1)), ((2, 3), (7, 0))
    monkeypatch.setattr(module, "make_env", lambda *_: ToyVectorEnv(4, terminated, truncated))
    small = {"num_minibatches": 1, "learning_rate": 0.01, "int_gamma": 0.999, "num_features": 8}

    def policy_after(**settings: Any) -> dict[str, torch.Tensor]:
        run_dir = tmp_path / "-".join(["run", *settings])
        # three rollouts, whatever their length
        total = 2 * 4 * settings.get("rollout_steps", 6) + 1
        config = small_config(**small | settings, run_dir=run_dir, total_transitions=total)
        module.train(config, view=lambda _: None)
        state = load_newest_checkpoint(run_dir / "checkpoints")[0].state
        return {name: weights for name, weights in state.items() if name.startswith("policy.")}

    before_rnd, before_drnd = policy_after(), policy_after(bonus="drnd")
    for name, value in ALTERNATIVES.items():
        is_of_drnd = name in ("num_targets", "drnd_alpha")
        before = before_drnd if is_of_drnd else before_rnd
        if name == "bonus":
            after = before_drnd
        else:
            after = policy_after(**({"bonus": "drnd"} if is_of_drnd else {}), **{name: value})
        if after.keys() == before.keys():
            actor = "policy.actor.weight"
            assert not torch.equal(after[actor], before[actor]), name
        else:
            assert name == "policy"  # which has another network


# --- number formats ---------------------------------------------------------------------------


def test_no_frame_is_ever_float64() -> None:
    with small_learner(ToyEnv(4, ((1, 0),), ((3, 1),))) as parts:
        config, env, agent, rollout, backend = parts
        inputs = [
            record_inputs(network)
            for network in (agent.policy, rnd_of(agent).target, rnd_of(agent).predictor)
        ]
        collect(env, rollout, backend)
        rewards = backend.intrinsic_rewards()
        advantages = compute_advantages(rollout, rollout.rewards_raw, rewards, config.ppo)
        update(rollout, backend, advantages, config)
        assert frame_store(backend).frames.dtype == np.uint8
        assert {frames.dtype for of_network in inputs for frames in of_network} == {
            np.dtype(np.float32)
        }
        assert all(inputs)  # each network has read something
        is_float64 = {k for k, a in arrays_of(parts).items() if a.dtype == np.float64}
        assert is_float64 == {"clipped_returns", "earlier_returns"}  # a sum for each environment
        assert {p.dtype for p in agent.parameters} == {torch.float32}
