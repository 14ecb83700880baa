"""Every number of every preset, against where it comes from.

A row is a setting, its value and its source: the paper (Burda et al. 2018; mostly its appendix),
a file of the authors' code (``run_atari.py``, ``ppo_agent.py``, ...), of the single-file PyTorch
script (``ppo_rnd_envpool.py``, whose games EnvPool makes) or of the first TensorFlow port (its
published table, and the arguments of its ``train_eval``); or "ours" where the source has no such
thing, and ``docs/algorithm.md`` says why it is what it is.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from rndfast.config import Config
from rndfast.presets import PRESETS, Preset

Rows = dict[str, tuple[Any, str]]

# Of a bonus that no preset has.
OF_DRND: Rows = {
    "num_targets": (5, "DRND's authors: their online experiments"),
    "drnd_alpha": (0.9, "DRND's paper"),
}

PAPER: Rows = OF_DRND | {
    "env_id": ("rndfast/MontezumaRevenge-v5", "paper, section 3: the game of all its ablations"),
    "num_envs": (128, "paper: number of parallel environments"),
    "reward_clipping": (True, "paper; atari_wrappers.py: ClipReward, the sign"),
    "frameskip": (4, "paper: frames skip"),
    "maxpool": (True, "paper: max over the last two frames"),
    "pool_before_grey": (True, "atari_wrappers.py: MaxAndSkipEnv, then WarpFrame"),
    "grayscale": (True, "paper"),
    "img_height": (84, "paper: (84, 84)"),
    "img_width": (84, "paper: (84, 84)"),
    "stack_num": (4, "paper: frames stacked"),
    "max_num_frames_per_episode": (18_000, "paper; atari_wrappers.py: 4500 * 4"),
    "repeat_action_probability": (0.25, "paper: sticky action probability"),
    "noop_max": (0, "paper: random starts none"),
    "use_fire_reset": (False, "atari_wrappers.py: no such wrapper"),
    "episodic_life": (False, "paper: terminal on loss of life"),
    "full_action_space": (False, "gym's NoFrameskip-v4 games; of this game all 18 are its own"),
    "policy": ("feedforward", "paper: policy architecture CNN"),
    "rollout_steps": (128, "paper: rollout length"),
    "learning_rate": (1e-4, "paper; ppo_agent.py: constant"),
    "anneal_lr": (False, "ppo_agent.py: none"),
    "adam_eps": (1e-8, "mpi_util.py: the default of TensorFlow's Adam"),
    "update_epochs": (4, "paper: number of optimization epochs"),
    "num_minibatches": (4, "paper: number of minibatches"),
    "shuffle_minibatches": (False, "ppo_agent.py: slices of environments, in order"),
    "ext_gamma": (0.999, "paper"),
    "int_gamma": (0.99, "paper"),
    "gae_lambda": (0.95, "paper"),
    "ext_coef": (2.0, "paper: coefficient of extrinsic reward"),
    "int_coef": (1.0, "paper: coefficient of intrinsic reward"),
    "norm_adv": (False, "ppo_agent.py: never normalised"),
    "clip_coef": (0.1, "paper: clip range [0.9, 1.1]"),
    "ent_coef": (0.001, "paper: entropy coefficient"),
    "vf_coef": (1.0, "ppo_agent.py: half the mean squared error of either head, weight 1"),
    "clip_vloss": (False, "ppo_agent.py: none"),
    "max_grad_norm": (None, "run_atari.py: 0.0, and what it clips is thrown away"),
    "two_value_heads": (True, "paper, section 2.3"),
    "episodic_int_return": (False, "paper, section 2.3: non-episodic"),
    "bootstrap_truncated": (False, "ppo_agent.py: the time limit is an end"),
    "bonus": ("rnd", "paper, section 2.2"),
    "predictor_proportion": (0.25, "paper: proportion of experience, 32 / 128"),
    "predictor_hidden_layers": (2, "cnn_policy_param_matched.py: two more dense layers of 512"),
    "obs_norm_steps": (128 * 50, "ppo_agent.py: num_timesteps=128*50"),
    "obs_clip": (5.0, "paper: observation normalisation, clip [-5, 5]"),
    "int_return_direction": ("forward", "ppo_agent.py: sums of past rewards"),
    "int_reward_clip": (None, "paper: intrinsic reward clipping false"),
    "leaky_relu_slope": (0.2, "cnn_policy_param_matched.py: the default of tf.nn.leaky_relu"),
    "num_features": (512, "cnn_policy_param_matched.py: rep_size"),
    "total_transitions": (30_000 * 128 * 128, "paper: 30K rollouts"),
}

LAPTOP: Rows = PAPER | {
    "num_envs": (32, "ours: a quarter"),
    "rollout_steps": (64, "ours: half"),
    "obs_norm_steps": (128, "ours: a fiftieth"),
    "total_transitions": (1_000_000, "ours: minutes on a CPU"),
}

WIDE: Rows = PAPER | {
    "num_envs": (512, "paper, section 3.4: 1,024 and fewer; ours: what one GPU and 16 cores feed"),
    "bonus": ("rnd", "paper, section 2.2"),
    "predictor_proportion": ("auto", "paper, section 3.4: 32 / environments"),
}

# where a row is the paper's, the script has the same number
CLEANRL: Rows = PAPER | {
    "pool_before_grey": (False, "EnvPool: the console's greys, then their maximum"),
    "max_num_frames_per_episode": (108_000, "EnvPool's default: 27,000 steps"),
    "noop_max": (30, "EnvPool's default"),
    "use_fire_reset": (True, "EnvPool's default"),
    "episodic_life": (True, "ppo_rnd_envpool.py: episodic_life=True"),
    "adam_eps": (1e-5, "ppo_rnd_envpool.py: eps=1e-5"),
    "anneal_lr": (True, "ppo_rnd_envpool.py: --anneal-lr"),
    "shuffle_minibatches": (True, "ppo_rnd_envpool.py: np.random.shuffle of all transitions"),
    "norm_adv": (True, "ppo_rnd_envpool.py: --norm-adv, in each minibatch"),
    "vf_coef": (0.5, "ppo_rnd_envpool.py: --vf-coef, on half the mean squared error"),
    "clip_vloss": (True, "ppo_rnd_envpool.py: --clip-vloss, of the extrinsic head"),
    "max_grad_norm": (0.5, "ppo_rnd_envpool.py: --max-grad-norm"),
    "leaky_relu_slope": (0.01, "ppo_rnd_envpool.py: nn.LeakyReLU()"),
    "total_transitions": (2_000_000_000, "ppo_rnd_envpool.py: --total-timesteps"),
}

TF_AGENTS: Rows = OF_DRND | {
    "env_id": ("LunarLander-v3", "its table: LunarLander-v2, which Gymnasium has no more"),
    "num_envs": (30, "its table: parallel environments"),
    "reward_clipping": (False, "its table: normalised instead, a difference"),
    "policy": ("feedforward", "it has no recurrence"),
    "rollout_steps": (128, "ours: its rollouts are whole episodes"),
    "learning_rate": (1e-4, "its table"),
    "anneal_lr": (False, "its table: constant"),
    "adam_eps": (1e-8, "the default of TensorFlow's Adam"),
    "update_epochs": (25, "its table: 25 epochs"),
    "num_minibatches": (1, "its table: one minibatch, the whole rollout"),
    "shuffle_minibatches": (False, "there is one"),
    "ext_gamma": (0.99, "its table: discount"),
    "int_gamma": (0.99, "its table: the same"),
    "gae_lambda": (1.0, "its table: returns minus values, no GAE"),
    "ext_coef": (1.0, "its table: 1 : 1"),
    "int_coef": (1.0, "its table: 1 : 1"),
    "norm_adv": (True, "its table"),
    "clip_coef": (0.2, "ours: it has an adaptive penalty on the divergence instead"),
    "ent_coef": (0.0, "its table"),
    "vf_coef": (1.0, "ours: not told"),
    "clip_vloss": (False, "ours: not told"),
    "max_grad_norm": (None, "ours: not told"),
    "two_value_heads": (False, "its table: one value head"),
    "episodic_int_return": (True, "its table: rollouts of whole episodes, rewards added"),
    "bootstrap_truncated": (True, "ours: not told"),
    "bonus": ("rnd", "the port's name"),
    "predictor_proportion": (1.0, "its table: all experience"),
    "predictor_hidden_layers": (0, "its table: the target's architecture"),
    "obs_norm_steps": (0, "it has no initialisation"),
    "obs_clip": (5.0, "its code; its text says that there is none"),
    "int_return_direction": ("forward", "ours: it scales by the rewards' own deviation"),
    "int_reward_clip": (None, "its table: of extrinsic rewards alone, a difference"),
    "leaky_relu_slope": (0.2, "ours: not told"),
    "num_features": (64, "ours: not told"),
    "total_transitions": (10_000_000, "its check: 10 M steps"),
}

CLASSIC: Rows = OF_DRND | {
    "env_id": ("MountainCar-v0", "ours, as all that follows: docs/log.md"),
    "num_envs": (16, "ours"),
    "reward_clipping": (False, "ours: these rewards are not counts of points"),
    "policy": ("feedforward", "the paper's"),
    "rollout_steps": (128, "the paper's"),
    "learning_rate": (5e-4, "ours"),
    "anneal_lr": (False, "the paper's"),
    "adam_eps": (1e-8, "the paper's"),
    "update_epochs": (4, "the paper's"),
    "num_minibatches": (4, "the paper's"),
    "shuffle_minibatches": (False, "the paper's"),
    "ext_gamma": (0.99, "ours: equal discounts for one head"),
    "int_gamma": (0.99, "the paper's"),
    "gae_lambda": (0.98, "ours"),
    "ext_coef": (1.0, "ours"),
    "int_coef": (1.0, "the paper's"),
    "norm_adv": (True, "ours"),
    "clip_coef": (0.2, "ours"),
    "ent_coef": (0.02, "ours"),
    "vf_coef": (0.5, "ours"),
    "clip_vloss": (False, "the paper's"),
    "max_grad_norm": (0.5, "ours"),
    "two_value_heads": (False, "ours: docs/log.md"),
    "episodic_int_return": (True, "ours: docs/log.md"),
    "bootstrap_truncated": (True, "ours"),
    "bonus": ("rnd", "paper, section 2.2"),
    "predictor_proportion": ("auto", "paper, section 3.4: 32 / environments"),
    "predictor_hidden_layers": (0, "ours"),
    "obs_norm_steps": (128, "ours"),
    "obs_clip": (5.0, "the paper's"),
    "int_return_direction": ("forward", "the paper's"),
    "int_reward_clip": (None, "the paper's"),
    "leaky_relu_slope": (0.2, "the paper's"),
    "num_features": (64, "ours"),
    "total_transitions": (1_000_000, "ours"),
}

SOURCES: dict[Preset, Rows] = {
    "paper": PAPER,
    "wide": WIDE,
    "laptop": LAPTOP,
    "classic": CLASSIC,
    "cleanrl": CLEANRL,
    "tf-agents": TF_AGENTS,
}


def settings_of(config: Config) -> dict[str, Any]:
    """Every setting of the algorithm; Atari's where there is Atari; of [run], the budget."""
    sections = dataclasses.asdict(config)
    total_transitions = sections.pop("run")["total_transitions"]
    if not config.env.is_atari:
        del sections["atari"]
    settings = {name: value for values in sections.values() for name, value in values.items()}
    return settings | {"total_transitions": total_transitions}


def test_every_preset_has_a_table() -> None:
    assert SOURCES.keys() == PRESETS.keys()


@pytest.mark.parametrize("preset", SOURCES)
def test_every_number_is_that_of_its_source(preset: Preset) -> None:
    expected = {name: value for name, (value, _) in SOURCES[preset].items()}
    assert settings_of(PRESETS[preset]) == expected


def test_the_paper_preset_is_the_default_and_as_long_as_the_papers_runs() -> None:
    config = PRESETS["paper"]
    assert config == Config()
    assert config.atari.max_num_frames_per_episode // config.atari.frameskip == 4_500
    assert config.predictor_proportion == 32 / config.env.num_envs


@pytest.mark.parametrize("num_envs", [128, 512, 1024])
def test_however_wide_the_predictor_learns_from_as_many_transitions(num_envs: int) -> None:
    wide = PRESETS["wide"]
    config = dataclasses.replace(wide, env=dataclasses.replace(wide.env, num_envs=num_envs))
    of_rollout = config.predictor_proportion * config.rollout_transitions
    assert of_rollout == PAPER["predictor_proportion"][0] * 128 * 128
