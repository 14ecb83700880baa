"""RNDBonus against the arithmetic of the paper in NumPy, for images and for vectors."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from tests.reference import learner, rl
from tests.reference.learner import Float64Array, layers_of, shake

import rndfast
from rndfast.bench.plain import PlainFeatures
from rndfast.learner.bonus import RNDBonus

pytestmark = pytest.mark.usefixtures("one_thread")

Array = NDArray[Any]
NUM_ENVS = 3
NUM_FEATURES = 8
PRIOR_COUNT = 1e-4
OBS_CLIP = 2.0  # so that some inputs are clipped
INT_GAMMA = 0.9
IMAGE = (1, 36, 44)
VECTOR = (5,)

both = pytest.mark.parametrize("shape", [IMAGE, (3, 36, 36), VECTOR], ids=["grey", "rgb", "vector"])


def make_bonus(shape: tuple[int, ...] = VECTOR, *, seed: int = 0, **settings: Any) -> RNDBonus:
    """A small bonus, its weights shaken so that biases are no longer zero."""
    torch.manual_seed(seed)
    small = {"num_features": NUM_FEATURES, "obs_clip": OBS_CLIP, "int_gamma": INT_GAMMA}
    bonus = RNDBonus(shape, num_envs=NUM_ENVS, **(small | settings))
    shake(bonus.rnd)
    return bonus


def observations(shape: tuple[int, ...], *leading: int, seed: int = 0) -> torch.Tensor:
    """``(*leading, *shape)``; each pixel or feature has a mean and a deviation of its own."""
    rng = np.random.default_rng(seed)
    of_all = np.random.default_rng(99)
    if len(shape) == 3:
        mean, std = of_all.uniform(50, 200, shape), of_all.uniform(0.3, 30, shape)
        pixels = rng.normal(mean, std, (*leading, *shape)).round().clip(0, 255)
        return torch.from_numpy(pixels.astype(np.uint8))
    mean, std = of_all.normal(0, 10, shape), of_all.uniform(0.1, 3, shape)
    return torch.from_numpy(rng.normal(mean, std, (*leading, *shape)).astype(np.float32))


class Statistics(NamedTuple):
    mean: Float64Array
    var: Float64Array


def statistics_of(*batches: torch.Tensor, axes: int) -> Statistics:
    """Of all samples of ``axes`` axes at once, with the authors' prior."""
    samples = [batch.numpy().reshape(-1, *batch.shape[batch.ndim - axes :]) for batch in batches]
    num_samples, mean, m2 = rl.moments(np.concatenate(samples), PRIOR_COUNT)
    return Statistics(mean, m2 / num_samples)


def features_of(layers: list[learner.Layer], inputs: Float64Array) -> Float64Array:
    if inputs.ndim == 4:
        return learner.feature_outputs(layers, inputs)
    hidden = inputs
    for layer in layers[:2]:
        hidden = learner.leaky_relu(learner.dense(hidden, layer))
    for layer in layers[2:-1]:
        hidden = learner.relu(learner.dense(hidden, layer))
    return learner.dense(hidden, layers[-1])


def errors_of(bonus: RNDBonus, rows: torch.Tensor, statistics: Statistics) -> Float64Array:
    """``(B,)``: the paper's bonus, before it is scaled."""
    whitened = (rows.numpy().astype(np.float64) - statistics.mean) / np.sqrt(statistics.var)
    inputs = whitened.clip(-OBS_CLIP, OBS_CLIP)
    networks = (layers_of(bonus.rnd.predictor), layers_of(bonus.rnd.target))
    predicted, target = (features_of(layers, inputs) for layers in networks)
    errors: Float64Array = ((predicted - target) ** 2).mean(axis=1)
    return errors


def assert_same_state(one: RNDBonus, other: RNDBonus) -> None:
    want = other.state_dict()
    assert one.state_dict().keys() == want.keys()
    for key, value in one.state_dict().items():
        assert torch.equal(value, want[key]), key


# --- rewards ----------------------------------------------------------------------------------


@both
def test_forward_is_the_error_on_whitened_clipped_observations(shape: tuple[int, ...]) -> None:
    bonus = make_bonus(shape)
    random_agents = [observations(shape, 50, seed=seed) for seed in (1, 2)]
    for some in random_agents:
        bonus.initialize(some)
    statistics = statistics_of(*random_agents, axes=len(shape))
    before = copy.deepcopy(bonus)
    next_obs = observations(shape, 7, NUM_ENVS, seed=3)
    errors = bonus(next_obs)
    assert errors.dtype == torch.float32
    assert not errors.requires_grad
    rows = next_obs.flatten(0, 1)
    assert (np.abs(rows.numpy() - statistics.mean) > OBS_CLIP * np.sqrt(statistics.var)).any()
    expected = errors_of(bonus, rows, statistics).reshape(7, NUM_ENVS)
    np.testing.assert_allclose(errors, expected, rtol=1e-4)
    np.testing.assert_allclose(bonus(next_obs[2]), expected[2], rtol=1e-4)
    np.testing.assert_allclose(bonus(next_obs[2, 1]), expected[2, 1], rtol=1e-4)
    assert_same_state(bonus, before)


def test_forward_of_more_rows_than_pass_at_once() -> None:
    bonus = make_bonus()
    next_obs = observations(VECTOR, 1025, NUM_ENVS)
    each = torch.stack([bonus(next_obs[t]) for t in (0, 341, 342, 1024)])
    torch.testing.assert_close(bonus(next_obs)[[0, 341, 342, 1024]], each)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@both
def test_update_rewards_by_the_old_statistics_and_the_new_scale(
    shape: tuple[int, ...], direction: str
) -> None:
    bonus = make_bonus(shape, int_return_direction=direction)
    seen = [observations(shape, 20, seed=10)]
    bonus.initialize(seen[0])
    errors, rewards = [], []
    for number, steps in enumerate((4, 1, 6)):  # rollouts may differ in length
        next_obs = observations(shape, steps, NUM_ENVS, seed=number) // (1 + number)
        rows = next_obs.flatten(0, 1)
        statistics = statistics_of(*seen, axes=len(shape))
        errors.append(errors_of(bonus, rows, statistics).reshape(steps, NUM_ENVS))
        if steps == 1:
            rewards.append(bonus.update(next_obs[0])[None])
        else:
            rewards.append(bonus.update(next_obs))
        assert rewards[-1].dtype == torch.float32
        seen.append(next_obs)

        # the statistics have moved: the same observations are scored by the new ones
        statistics = statistics_of(*seen, axes=len(shape))
        np.testing.assert_allclose(bonus(rows), errors_of(bonus, rows, statistics), rtol=1e-4)
        assert not np.allclose(bonus(rows), errors[-1].ravel(), rtol=1e-2)
    expected = learner.scaled_intrinsic_rewards(errors, INT_GAMMA, direction)
    for got, want in zip(rewards, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4)


def test_rewards_are_clipped_after_they_are_scaled() -> None:
    next_obs = observations(VECTOR, 20, NUM_ENVS)
    free = make_bonus().update(next_obs)
    limit = float(free.median())
    clipped = make_bonus(int_reward_clip=limit).update(next_obs)
    assert torch.equal(clipped, free.clamp(max=limit))
    assert 0 < (clipped < limit).sum() < clipped.numel()


def test_weights_come_from_the_global_random_stream() -> None:
    assert_same_state(make_bonus(seed=1), make_bonus(seed=1))
    one, other = (next(make_bonus(seed=seed).rnd.target.parameters()) for seed in (1, 2))
    assert not torch.equal(one, other)


# --- loss -------------------------------------------------------------------------------------


@both
def test_loss_is_the_mean_error_of_the_drawn_rows_by_the_new_statistics(
    shape: tuple[int, ...],
) -> None:
    bonus = make_bonus(shape, predictor_proportion=0.25)
    next_obs = observations(shape, 10, NUM_ENVS)
    bonus.update(next_obs)
    rows = next_obs.flatten(0, 1)
    torch.manual_seed(5)
    mask = (torch.rand(len(rows)) < 0.25).numpy()
    assert 0 < mask.sum() < len(mask)
    torch.manual_seed(5)
    loss = bonus.loss(rows)
    errors = errors_of(bonus, rows, statistics_of(rows, axes=len(shape)))
    np.testing.assert_allclose(loss.item(), errors[mask].mean(), rtol=1e-4)

    loss.backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in bonus.rnd.predictor.parameters())
    assert all(parameter.grad is None for parameter in bonus.rnd.target.parameters())


def test_gradients_are_those_of_the_plain_networks() -> None:
    bonus = make_bonus(IMAGE, predictor_proportion=1.0)
    next_obs = observations(IMAGE, 4, NUM_ENVS)
    bonus.update(next_obs)
    bonus.loss(next_obs).backward()  # type: ignore[no-untyped-call]

    mean, var = statistics_of(next_obs, axes=3)
    whitened = (next_obs.flatten(0, 1).numpy() - mean) / np.sqrt(var)
    inputs = torch.from_numpy(whitened.clip(-OBS_CLIP, OBS_CLIP)).float()
    target, predictor = (PlainFeatures(n, NUM_FEATURES, *IMAGE[1:]) for n in (0, 2))
    target.load_state_dict(bonus.rnd.target.state_dict())
    predictor.load_state_dict(bonus.rnd.predictor.state_dict())
    loss = (predictor(inputs) - target(inputs).detach()).pow(2).mean()
    loss.backward()
    for ours, plain in zip(bonus.rnd.predictor.parameters(), predictor.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, plain.grad, rtol=1e-3, atol=1e-5)


def test_the_papers_proportion_follows_from_the_number_of_environments() -> None:
    def share_of_zero_losses(num_envs: int) -> float:
        torch.manual_seed(0)
        bonus = RNDBonus(VECTOR, num_envs=num_envs, num_features=2)
        row = observations(VECTOR, 1)
        return float(np.mean([bonus.loss(row).item() == 0 for _ in range(400)]))

    assert share_of_zero_losses(8) == share_of_zero_losses(32) == 0
    assert abs(share_of_zero_losses(128) - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 400)


def test_a_loss_without_rows_is_zero_and_trains_nothing() -> None:
    bonus = make_bonus(IMAGE)
    loss = bonus.loss(observations(IMAGE, 0))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert all(not p.grad.any() for p in bonus.rnd.predictor.parameters() if p.grad is not None)


@pytest.mark.parametrize("shape", [IMAGE, VECTOR], ids=["image", "vector"])
def test_what_was_trained_on_is_no_longer_new(shape: tuple[int, ...]) -> None:
    bonus = make_bonus(shape, num_features=64)
    known = observations(shape, 8, NUM_ENVS)
    unknown = 255 - known if shape == IMAGE else -known
    bonus.initialize(torch.cat([known, unknown]))
    before = bonus(known).mean() / bonus(unknown).mean()
    target = copy.deepcopy(bonus.rnd.target)
    optimizer = torch.optim.Adam(bonus.parameters(), lr=1e-3)
    for _ in range(60):
        optimizer.zero_grad()
        bonus.loss(known).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert bonus(known).mean() / bonus(unknown).mean() < 0.5 * before
    for now, old in zip(bonus.rnd.target.parameters(), target.parameters(), strict=True):
        assert torch.equal(now, old)


# --- state ------------------------------------------------------------------------------------


def train(bonus: RNDBonus, optimizer: torch.optim.Adam, rollouts: range) -> list[torch.Tensor]:
    shape = bonus.observation_shape
    results = []
    for number in rollouts:
        next_obs = observations(shape, 4, NUM_ENVS, seed=number)
        results.append(bonus.update(next_obs))
        torch.manual_seed(number)
        for minibatch in next_obs.flatten(0, 1).chunk(2):
            loss = bonus.loss(minibatch)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            results.append(loss.detach())
    return results


@both
def test_training_goes_on_bit_for_bit_from_a_state_dict(shape: tuple[int, ...]) -> None:
    bonus = make_bonus(shape, predictor_proportion=0.5)
    optimizer = torch.optim.Adam(bonus.parameters())
    train(bonus, optimizer, range(2))

    saved = safetensors.torch.save(bonus.state_dict())  # plain tensors: no pickle is needed
    resumed = make_bonus(shape, seed=1, predictor_proportion=0.5)
    resumed.load_state_dict(safetensors.torch.load(saved))
    assert_same_state(resumed, bonus)
    resumed_optimizer = torch.optim.Adam(resumed.parameters())
    resumed_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))

    for got, want in zip(
        train(resumed, resumed_optimizer, range(2, 4)),
        train(bonus, optimizer, range(2, 4)),
        strict=True,
    ):
        assert torch.equal(got, want)
    assert_same_state(resumed, bonus)


def test_statistics_move_with_the_module_and_stay_in_float64() -> None:
    bonus = make_bonus().to("meta")
    state = bonus.state_dict()
    assert {value.device.type for value in state.values()} == {"meta"}
    in_float64 = {key for key, value in state.items() if value.dtype == torch.float64}
    assert in_float64 == {key for key in state if "moments" in key or "carry" in key}


def test_a_state_of_another_shape_is_refused() -> None:
    state = make_bonus((4,)).state_dict()
    with pytest.raises(RuntimeError, match=r"size mismatch for obs_moments\.mean"):
        make_bonus().load_state_dict(state)


# --- misuse -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["initialize", "forward", "update", "loss"])
@pytest.mark.parametrize(
    ("shape", "wrong", "error", "message"),
    [
        (
            VECTOR,
            np.zeros((4, 3, 5), np.float32),
            TypeError,
            "tensor of torch.float32, got float32",
        ),
        (VECTOR, torch.zeros(4, 3, 5).double(), TypeError, "of torch.float32, got torch.float64"),
        (IMAGE, torch.zeros(3, *IMAGE), TypeError, "of torch.uint8, got torch.float32"),
        (VECTOR, torch.zeros(3, 6), ValueError, r"shape \(..., 5\), got \(3, 6\)"),
        (
            IMAGE,  # stacks
            torch.zeros(3, 4, 36, 44, dtype=torch.uint8),
            ValueError,
            r"shape \(..., 1, 36, 44\), got \(3, 4, 36, 44\)",
        ),
        (VECTOR, torch.zeros(3, 5, device="meta"), ValueError, "device cpu, got meta"),
    ],
)
def test_wrong_observations_are_refused(
    method: str, shape: tuple[int, ...], wrong: Any, error: type[Exception], message: str
) -> None:
    bonus = make_bonus(shape)
    before = copy.deepcopy(bonus)
    name = "observations" if method == "initialize" else "next_obs"
    with pytest.raises(error, match=rf"^{name} must (be|have) .*{message}"):
        getattr(bonus, method)(wrong)
    assert_same_state(bonus, before)


@pytest.mark.parametrize("leading", [(4,), (2, 4), (1, 2, 3), ()])
def test_update_takes_whole_steps_of_all_environments(leading: tuple[int, ...]) -> None:
    message = r"must have shape \(T, 3, 5\) or \(3, 5\), got "
    with pytest.raises(ValueError, match=message):
        make_bonus().update(observations(VECTOR, *leading))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_observations_that_are_not_finite_change_nothing(value: float) -> None:
    bonus = make_bonus()
    bonus.update(observations(VECTOR, 4, NUM_ENVS))
    before = copy.deepcopy(bonus)
    next_obs = observations(VECTOR, 4, NUM_ENVS)
    next_obs[3, 2, 4] = value
    for method in (bonus.update, bonus.initialize):
        with pytest.raises(ValueError, match="must be finite, got NaN or infinity"):
            method(next_obs)
    assert_same_state(bonus, before)


def test_weights_that_are_not_finite_change_no_statistics() -> None:
    bonus = make_bonus()
    with torch.no_grad():
        next(bonus.rnd.predictor.parameters()).fill_(np.nan)
    before = bonus.state_dict()["obs_moments.mean"].clone()
    with pytest.raises(FloatingPointError, match="prediction errors must be finite"):
        bonus.update(observations(VECTOR, 4, NUM_ENVS))
    assert torch.equal(bonus.obs_moments.mean, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"observation_shape": (84, 84)}, r"\(C, H, W\) of images or \(D,\) of vectors, got"),
        ({"observation_shape": (0,)}, r"\(D,\) of vectors, got \(0,\)"),
        ({"observation_shape": (1, 20, 20)}, "large enough for the convolutions"),
        ({"num_envs": 0}, "num_envs"),
        ({"int_gamma": 1.5}, "gamma"),
        ({"int_return_direction": "sideways"}, "direction"),
        ({"predictor_proportion": 0.0}, "predictor_proportion must be"),
        ({"obs_clip": 0.0}, "obs_clip must be above 0"),
        ({"int_reward_clip": -1.0}, "int_reward_clip must be"),
        ({"num_features": 0}, "num_features must be"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    defaults: dict[str, Any] = {"observation_shape": VECTOR, "num_envs": NUM_ENVS}
    with pytest.raises(ValueError, match=message):
        RNDBonus(**(defaults | arguments))


@pytest.mark.parametrize("num_envs", [2.0, "2", True, None])
def test_the_number_of_environments_is_an_int(num_envs: Any) -> None:
    with pytest.raises(TypeError, match="num_envs must be an int, got"):
        RNDBonus(VECTOR, num_envs=num_envs)


def test_the_package_exports_it_and_imports_torch_only_then() -> None:
    assert rndfast.RNDBonus is RNDBonus
    with pytest.raises(AttributeError, match="'rndfast' has no attribute 'RNDBounty'"):
        rndfast.RNDBounty  # noqa: B018
    script = "import sys, rndfast; assert 'torch' not in sys.modules; rndfast.RNDBonus"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
