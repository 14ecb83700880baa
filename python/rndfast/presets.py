"""Settings to start from: the paper's protocol, its sizes for smaller machines, other people's.

``docs/algorithm.md`` says what other people's programs do that no setting can.
"""

from __future__ import annotations

from typing import Literal

from rndfast.config import AtariConfig, Config, EnvConfig, PpoConfig, RndConfig, RunConfig

Preset = Literal["paper", "wide", "laptop", "classic", "cleanrl", "tf-agents"]

PRESETS: dict[Preset, Config] = {
    # the paper's full protocol: every default above
    "paper": Config(),
    # a GPU is busier with more environments; the predictor then learns as fast as with the paper's
    "wide": Config(env=EnvConfig(num_envs=512), rnd=RndConfig(predictor_proportion="auto")),
    # the same algorithm at the size of a laptop's CPU
    "laptop": Config(
        env=EnvConfig(num_envs=32),
        ppo=PpoConfig(rollout_steps=64),
        rnd=RndConfig(obs_norm_steps=128),
        run=RunConfig(total_transitions=1_000_000),
    ),
    # control tasks of a few numbers, on a CPU
    "classic": Config(
        env=EnvConfig(env_id="MountainCar-v0", num_envs=16, reward_clipping=False),
        ppo=PpoConfig(
            learning_rate=5e-4,
            ext_gamma=0.99,
            gae_lambda=0.98,
            ext_coef=1.0,
            norm_adv=True,
            clip_coef=0.2,
            ent_coef=0.02,
            vf_coef=0.5,
            max_grad_norm=0.5,
            # of the intrinsic head, small errors would drown advantages that are small by then
            two_value_heads=False,
            episodic_int_return=True,
            bootstrap_truncated=True,
        ),
        rnd=RndConfig(
            predictor_proportion="auto",
            predictor_hidden_layers=0,
            obs_norm_steps=128,
            num_features=64,
        ),
        run=RunConfig(total_transitions=1_000_000, micro_batch_size=1024),
    ),
    # the settings of the common single-file PyTorch script (cleanrl's ppo_rnd_envpool.py)
    "cleanrl": Config(
        atari=AtariConfig(
            pool_before_grey=False,
            max_num_frames_per_episode=108_000,
            noop_max=30,
            use_fire_reset=True,
            episodic_life=True,
        ),
        ppo=PpoConfig(
            adam_eps=1e-5,
            anneal_lr=True,
            shuffle_minibatches=True,
            norm_adv=True,
            vf_coef=0.5,
            clip_vloss=True,
            max_grad_norm=0.5,
        ),
        rnd=RndConfig(leaky_relu_slope=0.01),
        run=RunConfig(total_transitions=2_000_000_000),
    ),
    # the settings of the first TensorFlow port (the TF-Agents work of 2019), on its check
    "tf-agents": Config(
        env=EnvConfig(env_id="LunarLander-v3", num_envs=30, reward_clipping=False),
        ppo=PpoConfig(
            update_epochs=25,
            num_minibatches=1,
            ext_gamma=0.99,
            gae_lambda=1.0,  # returns minus values
            ext_coef=1.0,
            norm_adv=True,
            clip_coef=0.2,
            ent_coef=0.0,
            two_value_heads=False,
            episodic_int_return=True,
            bootstrap_truncated=True,
        ),
        rnd=RndConfig(
            predictor_proportion=1.0,
            predictor_hidden_layers=0,
            obs_norm_steps=0,
            num_features=64,
        ),
        run=RunConfig(total_transitions=10_000_000, micro_batch_size=1024),
    ),
}
