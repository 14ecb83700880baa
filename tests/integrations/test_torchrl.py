"""The bonus and two value heads in torchrl: beside the bonus alone, NumPy and autograd."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule, TensorDictSequential
from tests.reference import rl
from torch import Tensor, nn
from torchrl.envs import GymWrapper
from torchrl.modules import OneHotCategorical, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss

from rndfast import DRNDBonus, RNDBonus
from rndfast.integrations.torchrl import IntrinsicReward, PredictorLoss, TwoStreamGAE

pytestmark = pytest.mark.usefixtures("one_thread")

NUM_ENVS, STEPS = 3, 24
PRIOR_COUNT = 1e-4
INT_REWARD, NEXT_OBS = ("next", "intrinsic_reward"), ("next", "observation")


def cart_poles() -> GymWrapper:
    """Poles that fall within a rollout, and are cut off after 15 steps."""
    env = GymWrapper(
        gymnasium.make_vec(
            "CartPole-v1",
            NUM_ENVS,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": "SameStep"},
            max_episode_steps=15,
        )
    )
    env.set_seed(0)
    return env


def rollouts(number: int, policy: Any = None) -> list[Any]:
    """Batches ``(NUM_ENVS, STEPS)``, which follow one another."""
    with torch.no_grad():
        steps = cart_poles().rollout(number * STEPS, policy, break_when_any_done=False)
    return list(steps.split(STEPS, dim=1))


def make_bonus(num_envs: int = NUM_ENVS, **settings: Any) -> RNDBonus:
    torch.manual_seed(0)
    return RNDBonus((4,), num_envs=num_envs, num_features=8, int_gamma=0.9, **settings)


def make_agent() -> tuple[ProbabilisticActor, ValueOperator]:
    torch.manual_seed(1)
    logits = TensorDictModule(nn.Linear(4, 2), in_keys=["observation"], out_keys=["logits"])
    actor = ProbabilisticActor(
        logits, in_keys=["logits"], distribution_class=OneHotCategorical, return_log_prob=True
    )
    return actor, ValueOperator(nn.Linear(4, 2), in_keys=["observation"])


def assert_same_state(one: nn.Module, other: nn.Module) -> None:
    expected = other.state_dict()
    assert one.state_dict().keys() == expected.keys()
    for name, value in one.state_dict().items():
        assert torch.equal(value, expected[name]), name


# --- rewards ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [RNDBonus, DRNDBonus])
def test_rewards_and_statistics_are_those_of_the_bonus_alone(kind: Any) -> None:
    torch.manual_seed(0)
    alone = kind((4,), num_envs=NUM_ENVS, num_features=8)
    int_reward = IntrinsicReward(copy.deepcopy(alone))
    before, *batches = rollouts(4)
    int_reward.initialize(before)
    alone.initialize(before[NEXT_OBS])
    for batch in batches:
        next_obs = batch[NEXT_OBS]  # (N, T, 4)
        expected = alone.update(next_obs.transpose(0, 1))  # (T, N)
        assert int_reward(batch) is batch
        assert batch[INT_REWARD].shape == (NUM_ENVS, STEPS, 1)
        assert torch.equal(batch[INT_REWARD][..., 0].T, expected)
        assert (expected > 0).all()
        assert_same_state(int_reward.bonus, alone)


def test_rewards_and_statistics_are_those_of_the_paper_in_numpy() -> None:
    bonus = make_bonus()
    int_reward = IntrinsicReward(bonus)
    before, *batches = rollouts(4)
    int_reward.initialize(before)
    seen = [before[NEXT_OBS].flatten(0, 1).numpy()]
    sums, carry = np.empty((0, NUM_ENVS)), np.zeros(NUM_ENVS)
    for batch in batches:
        raw = bonus(batch[NEXT_OBS]).numpy().T  # (T, N), by the statistics before
        int_reward(batch)
        own_sums = rl.discounted_sums(raw, 0.9, carry, "forward")
        carry, sums = own_sums[-1], np.concatenate((sums, own_sums))
        moments = rl.moments(sums.reshape(-1), PRIOR_COUNT)
        std = np.sqrt(moments.m2 / moments.num_samples)
        np.testing.assert_allclose(batch[INT_REWARD][..., 0].T, raw / std, rtol=1e-5)
        seen.append(batch[NEXT_OBS].flatten(0, 1).numpy())
        moments = rl.moments(np.concatenate(seen), PRIOR_COUNT)
        np.testing.assert_allclose(bonus.obs_moments.mean, moments.mean, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(bonus.obs_moments.m2, moments.m2, rtol=1e-9)


def test_where_an_episode_ends_its_own_last_observation_is_paid_for() -> None:
    bonus = make_bonus()
    (batch,) = rollouts(1)
    errors = bonus(batch[NEXT_OBS])
    IntrinsicReward(bonus)(batch)
    env, step = batch["next", "done"][:, :-1, 0].nonzero()[0].tolist()
    rewards = batch[INT_REWARD][..., 0]
    assert not torch.equal(batch[NEXT_OBS][env, step], batch["observation"][env, step + 1])
    torch.testing.assert_close(rewards / rewards[0, 0], errors / errors[0, 0])


@pytest.mark.parametrize("batch_size", [(STEPS,), (2, 3, STEPS)])
def test_environments_may_have_no_axis_or_several(batch_size: tuple[int, ...]) -> None:
    num_envs = int(np.prod(batch_size[:-1]))
    bonus = make_bonus(num_envs)
    alone = copy.deepcopy(bonus)
    observations = torch.randn(*batch_size, 4)
    batch = TensorDict({"next": {"observation": observations}}, batch_size)
    rewards = IntrinsicReward(bonus)(batch)[INT_REWARD]
    assert rewards.shape == (*batch_size, 1)
    expected = alone.update(observations.reshape(num_envs, STEPS, 4).transpose(0, 1))
    assert torch.equal(rewards.reshape(num_envs, STEPS).T, expected)


def test_of_stacks_of_images_the_newest_is_paid_for() -> None:
    envs = gymnasium.make_vec(
        "rndfast/Breakout-v5", 2, autoreset_mode="SameStep", stack_num=2, num_threads=1
    )
    env = GymWrapper(envs)
    env.set_seed(0)
    batch = env.rollout(6, break_when_any_done=False)
    assert batch[NEXT_OBS].shape == (2, 6, 2, 84, 84)
    torch.manual_seed(0)
    alone = RNDBonus((1, 84, 84), num_envs=2, num_features=8, predictor_proportion=1.0)
    bonus = copy.deepcopy(alone)
    newest = batch[NEXT_OBS][:, :, -1:]
    int_reward = IntrinsicReward(bonus)
    int_reward.initialize(batch)
    alone.initialize(newest)
    int_reward(batch)
    assert torch.equal(batch[INT_REWARD][..., 0].T, alone.update(newest.transpose(0, 1)))
    loss = PredictorLoss(bonus)(batch.reshape(-1))["loss_predictor"]
    assert torch.equal(loss, alone.loss(newest.flatten(0, 1)))
    env.close()


def test_of_colour_pictures_the_newest_has_three_channels() -> None:
    torch.manual_seed(0)
    bonus = RNDBonus((3, 36, 36), num_envs=2, num_features=8)
    stacks = torch.randint(256, (2, 5, 4 * 3, 36, 36), dtype=torch.uint8)
    expected = copy.deepcopy(bonus).update(stacks[:, :, -3:].transpose(0, 1))
    batch = TensorDict({"next": {"pixels": stacks}}, [2, 5])
    IntrinsicReward(bonus, observation_key=("next", "pixels"))(batch)
    assert torch.equal(batch[INT_REWARD][..., 0].T, expected)
    loss = PredictorLoss(bonus)
    loss.set_keys(observation=("next", "pixels"))
    assert loss.in_keys == [("next", "pixels")]
    assert loss(batch)["loss_predictor"].requires_grad


# --- advantages -------------------------------------------------------------------------------


def episodes() -> Any:
    """A batch of short episodes, some of which terminate and some of which are cut off."""
    generator = torch.Generator().manual_seed(0)
    shape = (NUM_ENVS, STEPS, 1)
    done = torch.rand(shape, generator=generator) < 0.3
    terminated = done & (torch.rand(shape, generator=generator) < 0.5)
    done[0, -1], terminated[0, -1] = True, False
    done[1, -1], terminated[1, -1] = True, True
    done[2, -1], terminated[2, -1] = False, False
    observations = torch.randn(NUM_ENVS, STEPS + 1, 4, generator=generator)
    last = torch.randn(NUM_ENVS, STEPS, 4, generator=generator)
    following = {
        "observation": torch.where(done, last, observations[:, 1:]),
        "reward": torch.randn(shape, generator=generator),
        "intrinsic_reward": torch.rand(shape, generator=generator),
        "done": done,
        "terminated": terminated,
    }
    data = {"observation": observations[:, :-1], "next": following}
    return TensorDict(data, [NUM_ENVS, STEPS])


def test_advantages_of_both_streams_are_those_of_numpy() -> None:
    _, critic = make_agent()
    batch = episodes()
    gae = TwoStreamGAE(critic, gamma=0.95, int_gamma=0.9, lmbda=0.8, ext_coef=2.0, int_coef=0.5)
    written = set(gae(batch).keys()) - set(episodes().keys())
    assert written == {"advantage", "state_value", "value_target"} == set(gae.out_keys)

    with torch.no_grad():
        values = critic.module(batch["observation"]).transpose(0, 1).numpy()  # (T, N, 2)
        next_values = critic.module(batch[NEXT_OBS]).transpose(0, 1).numpy()
    rewards, int_rewards, done, terminated = (
        batch["next", name][..., 0].T.numpy()
        for name in ("reward", "intrinsic_reward", "done", "terminated")
    )
    truncated = done & ~terminated
    assert truncated.any()
    assert terminated.any()
    ext = rl.gae(
        rewards,
        values[..., 0],
        next_values[-1, :, 0],
        terminated,
        gamma=0.95,
        gae_lambda=0.8,
        truncated=truncated,
        final_values=next_values[..., 0],
    )
    int_ = rl.gae(
        int_rewards, values[..., 1], next_values[-1, :, 1], None, gamma=0.9, gae_lambda=0.8
    )
    advantages = batch["advantage"][..., 0].T
    np.testing.assert_allclose(advantages, 2 * ext + 0.5 * int_, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(batch["state_value"].transpose(0, 1), values)
    targets = np.stack((ext, int_), axis=-1) + values
    np.testing.assert_allclose(batch["value_target"].transpose(0, 1), targets, rtol=1e-4, atol=1e-5)
    assert not any(batch[name].requires_grad for name in written)


def test_rewards_and_advantages_are_a_sequence_of_modules() -> None:
    actor, critic = make_agent()
    torch.manual_seed(0)
    (batch,) = rollouts(1, actor)
    bonus = make_bonus()
    one_by_one = TwoStreamGAE(critic)(IntrinsicReward(copy.deepcopy(bonus))(batch.clone()))
    at_once = TensorDictSequential(IntrinsicReward(bonus), TwoStreamGAE(critic))(batch)
    assert torch.equal(at_once["advantage"], one_by_one["advantage"])


# --- losses -----------------------------------------------------------------------------------


def test_losses_and_gradients_are_those_of_the_formula() -> None:
    actor, critic = make_agent()
    torch.manual_seed(0)
    (batch,) = rollouts(1, actor)
    bonus = make_bonus(predictor_proportion=1.0)
    TwoStreamGAE(critic)(IntrinsicReward(bonus)(batch))
    ppo = ClipPPOLoss(
        actor, critic, clip_epsilon=0.1, entropy_coeff=0.01, critic_coeff=0.5, loss_critic_type="l2"
    )
    predictor = PredictorLoss(bonus)
    with torch.no_grad():  # so that some ratios are clipped
        for parameter in actor.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    minibatch = batch.reshape(-1)[torch.randperm(NUM_ENVS * STEPS)[:40]]
    losses = {**ppo(minibatch), **predictor(minibatch)}
    total = sum(loss for name, loss in losses.items() if name.startswith("loss_"))
    learning = [p for m in (actor, critic, bonus) for p in m.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(total, learning)

    observations, advantage = minibatch["observation"], minibatch["advantage"][:, 0]
    logits = actor.module[0].module(observations)
    log_probs = logits.log_softmax(dim=1)
    ratio = ((log_probs * minibatch["action"]).sum(1) - minibatch["action_log_prob"]).exp()
    clipped = ratio.clamp(0.9, 1.1)
    assert (ratio != clipped).any()
    error = critic.module(observations) - minibatch["value_target"]  # (40, 2)
    moments = bonus.obs_moments
    inputs = (minibatch[NEXT_OBS] - moments.mean) / (moments.m2 / moments.count).sqrt()
    inputs = inputs.clamp(-5, 5).float()
    expected = {
        "loss_objective": -torch.min(ratio * advantage, clipped * advantage).mean(),
        "loss_entropy": 0.01 * (log_probs.exp() * log_probs).sum(1).mean(),
        "loss_critic": 0.5 * (error**2).mean(),
        "loss_predictor": feature_error(bonus, inputs),
    }
    for name, loss in expected.items():
        torch.testing.assert_close(losses[name], loss)
    expected_gradients = torch.autograd.grad(sum(expected.values()), learning)
    torch.testing.assert_close(gradients, expected_gradients)
    assert all(gradient.any() for gradient in gradients)


def feature_error(bonus: RNDBonus, inputs: Tensor) -> Tensor:
    """The mean squared difference of the outputs of predictor and target."""
    differences: Tensor = bonus.rnd.predictor(inputs) - bonus.rnd.target(inputs)
    return differences.square().mean()


def test_the_predictor_learns_from_the_rows_that_the_bonus_draws() -> None:
    bonus = make_bonus(predictor_proportion=0.5)
    (batch,) = rollouts(1)
    loss = PredictorLoss(bonus)
    assert {id(p) for p in loss.parameters()} == {id(p) for p in bonus.parameters()}
    torch.manual_seed(2)
    expected = bonus.loss(batch[NEXT_OBS])
    torch.manual_seed(2)
    assert torch.equal(loss(batch)["loss_predictor"], expected)


class Training:
    """A loop of PPO over given batches, all of whose state is in a few state dicts."""

    def __init__(self) -> None:
        actor, critic = make_agent()
        bonus = make_bonus()
        self.rewards_and_advantages = TensorDictSequential(
            IntrinsicReward(bonus), TwoStreamGAE(critic)
        )
        self.losses = nn.ModuleList([ClipPPOLoss(actor, critic), PredictorLoss(bonus)])
        self.optimizer = torch.optim.Adam(
            [parameter for loss in self.losses for parameter in loss.parameters()], lr=1e-2
        )

    def learn(self, batch: Any) -> None:
        flat = self.rewards_and_advantages(batch.clone()).reshape(-1)
        for rows in torch.split(torch.randperm(len(flat)), 24):
            losses = {name: x for module in self.losses for name, x in module(flat[rows]).items()}
            self.optimizer.zero_grad()
            sum(x for name, x in losses.items() if name.startswith("loss_")).backward()
            self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        return {
            "losses": self.losses.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.losses.load_state_dict(state["losses"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])


def test_loaded_it_goes_on_bit_for_bit(tmp_path: Any) -> None:
    actor, _ = make_agent()
    batches = rollouts(4, actor)
    training = Training()
    for batch in batches[:2]:
        training.learn(batch)
    torch.save(training.state_dict(), tmp_path / "state.pt")
    start = copy.deepcopy(training.losses)
    for batch in batches[2:]:
        training.learn(batch)

    loaded = Training()
    loaded.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert_same_state(loaded.losses, start)
    for batch in batches[2:]:
        loaded.learn(batch)
    assert_same_state(loaded.losses, training.losses)
    before, now = (
        [parameter for parameter in losses.parameters() if parameter.requires_grad]
        for losses in (start, loaded.losses)
    )
    assert not any(torch.equal(a, b) for a, b in zip(before, now, strict=True))


# --- errors -----------------------------------------------------------------------------------


def test_what_it_cannot_take_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"bonus must be an rndfast\.RNDBonus or DRNDBonus, got Lin"
    ):
        IntrinsicReward(nn.Linear(4, 1))  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match=r"bonus must be an rndfast\.RNDBonus or DRNDBonus, got Lin"
    ):
        PredictorLoss(nn.Linear(4, 1))  # type: ignore[arg-type]
    bonus = make_bonus()
    int_reward, (batch,) = IntrinsicReward(bonus), rollouts(1)
    before = copy.deepcopy(bonus)
    for wrong in (batch.transpose(0, 1), batch.reshape(-1), batch[0, 0]):
        with pytest.raises(ValueError, match=r"must have the batch size \(3, T\), got \("):
            int_reward(wrong)
    doubles = batch.clone()
    doubles[NEXT_OBS] = doubles[NEXT_OBS].double()
    with pytest.raises(TypeError, match=r"next_obs must be a tensor of torch\.float32, got"):
        int_reward(doubles)
    longer = batch.clone()
    longer[NEXT_OBS] = torch.zeros(NUM_ENVS, STEPS, 5)
    with pytest.raises(ValueError, match=r"must have shape \(..., 4\), got \(24, 3, 5\)"):
        int_reward(longer)
    assert_same_state(bonus, before)
    one_head = ValueOperator(nn.Linear(4, 1), in_keys=["observation"])
    with pytest.raises(
        ValueError, match=r"state_value must have shape \(3, 24, 2\), got \(3, 24, 1"
    ):
        TwoStreamGAE(one_head)(int_reward(batch))
    _, critic = make_agent()
    with pytest.raises(KeyError, match="intrinsic_reward"):
        TwoStreamGAE(critic)(rollouts(1)[0])
