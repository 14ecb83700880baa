"""PPO with the bonus and two value heads in torchrl, by its collector and losses.

Lines that belong to the bonus are marked. It needs the extra: pip install 'rndfast[integrations]'.
To run it on MountainCar, which it learns in a minute or two, or on a game with the paper's numbers:

    python examples/torchrl_ppo_rnd.py
    python examples/torchrl_ppo_rnd.py --env-id rndfast/MontezumaRevenge-v5 --num-envs 32 \
        --learning-rate 1e-4 --ext-gamma 0.999 --ext-coef 2 --int-coef 1 --total-steps 10_000_000
"""

from __future__ import annotations

from typing import Any

import gymnasium
import torch
import tyro
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import GymWrapper, ObservationNorm, RewardSum, TransformedEnv
from torchrl.modules import MLP, ConvNet, OneHotCategorical, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss

import rndfast
from rndfast.integrations.torchrl import IntrinsicReward, PredictorLoss, TwoStreamGAE

Metrics = dict[str, float]


def make_env(env_id: str, num_envs: int) -> TransformedEnv:
    """Environments that reset in the step that ends an episode: torchrl takes no others."""
    settings: dict[str, Any] = {"autoreset_mode": "SameStep"}
    if env_id.startswith("rndfast/"):
        envs = gymnasium.make_vec(env_id, num_envs, **settings)
    else:
        envs = gymnasium.make_vec(env_id, num_envs, "sync", vector_kwargs=settings)
    return GymWrapper(envs).append_transform(RewardSum())


class Network(nn.Sequential):
    """Of stacks of images, uint8, or of vectors."""

    def __init__(self, num_outputs: int, *, is_image: bool) -> None:
        self.scale = 1 / 255 if is_image else 1.0
        convolutions = ConvNet(num_cells=[32, 64, 64], kernel_sizes=[8, 4, 3], strides=[4, 2, 1])
        head = MLP(out_features=num_outputs, num_cells=[512] if is_image else [64, 64])
        super().__init__(*([convolutions] if is_image else []), head)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Outputs."""
        outputs: torch.Tensor = super().forward(observations * self.scale)  # type: ignore[no-untyped-call]
        return outputs


def main(
    total_steps: int = 200_000,
    *,
    env_id: str = "MountainCar-v0",
    num_envs: int = 16,
    rollout_steps: int = 128,
    obs_norm_steps: int = 128,
    learning_rate: float = 1e-3,
    ext_coef: float = 1.0,
    int_coef: float = 300.0,
    ext_gamma: float = 0.99,
    int_gamma: float = 0.99,
    seed: int = 1,
) -> tuple[ClipPPOLoss, rndfast.RNDBonus, list[Metrics]]:
    """Train, and print what came of each rollout; the loss has the policy and both value heads.

    Args:
        total_steps: Steps of all environments together.
        env_id: rndfast/<Game>-v5, or another id of Gymnasium's, of vectors and discrete actions.
        num_envs: Environments.
        rollout_steps: Steps of each environment between updates.
        obs_norm_steps: Steps of a random agent that start the statistics of the observations.
        learning_rate: Of policy and values.
        ext_coef: Weight of the extrinsic advantage.
        int_coef: Weight of the intrinsic advantage.
        ext_gamma: Discount of extrinsic returns.
        int_gamma: Discount of intrinsic returns.
        seed: Of everything.
    """
    torch.manual_seed(seed)
    env = make_env(env_id, num_envs)
    env.set_seed(seed)
    shape = tuple(env.observation_spec["observation"].shape[1:])  # (S, 84, 84), or (D,)
    is_image = len(shape) == 3
    if not is_image:  # by the statistics of a random agent
        env.append_transform(ObservationNorm(in_keys=["observation"], standard_normal=True))
        env.transform[-1].init_stats(obs_norm_steps, reduce_dim=(0, 1), cat_dim=1)

    logits = Network(env.action_spec.shape[-1], is_image=is_image)
    actor = ProbabilisticActor(
        TensorDictModule(logits, in_keys=["observation"], out_keys=["logits"]),
        in_keys=["logits"],
        distribution_class=OneHotCategorical,
        return_log_prob=True,
    )
    critic = ValueOperator(Network(2, is_image=is_image), in_keys=["observation"])  # rnd: two heads
    critic(actor(env.reset()))  # the sizes of lazy layers
    newest = (1, *shape[1:]) if is_image else shape  # rnd
    bonus = rndfast.RNDBonus(newest, num_envs=num_envs, int_gamma=int_gamma)  # rnd
    int_reward = IntrinsicReward(bonus)  # rnd
    gae = TwoStreamGAE(  # rnd
        critic, gamma=ext_gamma, int_gamma=int_gamma, ext_coef=ext_coef, int_coef=int_coef
    )
    ppo_loss = ClipPPOLoss(actor, critic, loss_critic_type="l2", normalize_advantage=True)
    losses = [ppo_loss, PredictorLoss(bonus)]  # rnd
    optimizer = torch.optim.Adam(ppo_loss.parameters(), lr=learning_rate)
    optimizer.add_param_group({"params": list(bonus.parameters()), "lr": 1e-4})  # rnd

    int_reward.initialize(env.rollout(obs_norm_steps, break_when_any_done=False))  # rnd

    collector = Collector(
        env,
        actor,
        frames_per_batch=num_envs * rollout_steps,
        total_frames=total_steps,
        auto_register_policy_transforms=False,  # they are for recurrent policies
    )
    log: list[Metrics] = []
    for batch in collector:
        gae(int_reward(batch))  # rnd
        rows = batch.reshape(-1)
        for _ in range(4):
            for chosen in torch.randperm(len(rows)).chunk(4):
                parts = {name: x for loss in losses for name, x in loss(rows[chosen]).items()}
                optimizer.zero_grad()
                sum(x for name, x in parts.items() if name.startswith("loss_")).backward()
                nn.utils.clip_grad_norm_(ppo_loss.parameters(), 0.5)
                optimizer.step()
        metrics = {name: x.mean().item() for name, x in parts.items() if name.startswith("loss_")}
        metrics["steps"] = (len(log) + 1) * len(rows)
        metrics["int_reward"] = batch["next", "intrinsic_reward"].mean().item()
        returns = batch["next", "episode_reward"][batch["next", "done"]]
        if len(returns) > 0:  # of the rewards that the agent gets: in rndfast's games, clipped ones
            metrics["episode_return"] = returns.mean().item()
        print({name: round(value, 4) for name, value in metrics.items()})
        log.append(metrics)
    collector.shutdown()
    return ppo_loss, bonus, log


if __name__ == "__main__":
    tyro.cli(main)
