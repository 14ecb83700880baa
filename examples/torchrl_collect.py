"""Batches of experience for torchrl, from rndfast's environments, by a policy of its own.

It needs the extra: pip install 'rndfast[integrations]'. To run it:

    python examples/torchrl_collect.py --game Breakout
"""

from __future__ import annotations

import gymnasium
import torch
import tyro
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import GymWrapper
from torchrl.modules import ConvNet, OneHotCategorical, ProbabilisticActor

import rndfast  # noqa: F401 (registers the games)


class Scale(nn.Module):
    """Pixels to [0, 1]."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Scale."""
        return pixels / 255


def main(
    total_steps: int = 4096,
    *,
    game: str = "Breakout",
    num_envs: int = 8,
    rollout_steps: int = 128,
    seed: int = 1,
) -> list[TensorDictBase]:
    """Collect, and print each batch's rewards; returns the batches, (N, T) each.

    Args:
        total_steps: Steps of all environments together.
        game: As in the id rndfast/<Game>-v5.
        num_envs: N.
        rollout_steps: T.
        seed: Of everything.
    """
    torch.manual_seed(seed)
    # torchrl takes a vector environment as it is, if it resets in the step that ends an episode
    env = GymWrapper(
        gymnasium.make_vec(f"rndfast/{game}-v5", num_envs=num_envs, autoreset_mode="SameStep")
    )
    env.set_seed(seed)
    logits = TensorDictModule(
        nn.Sequential(Scale(), ConvNet(), nn.LazyLinear(env.action_spec.shape[-1])),
        in_keys=["observation"],
        out_keys=["logits"],
    )
    policy = ProbabilisticActor(logits, in_keys=["logits"], distribution_class=OneHotCategorical)
    policy(env.reset())  # the sizes of lazy layers
    collector = Collector(
        env,
        policy,
        frames_per_batch=num_envs * rollout_steps,
        total_frames=total_steps,
        auto_register_policy_transforms=False,  # they are for recurrent policies
    )
    batches = []
    for batch in collector:
        rewards, ended = batch["next", "reward_raw"], batch["next", "done"]
        print(f"{batch.numel()} steps, mean reward {rewards.mean():.4f}, {ended.sum()} episodes")
        batches.append(batch)
    collector.shutdown()
    return batches


if __name__ == "__main__":
    tyro.cli(main)
