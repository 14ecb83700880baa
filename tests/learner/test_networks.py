"""The networks against the paper's sizes and against NumPy, layer by layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.reference import learner
from tests.reference.learner import act, layers_of, rnd_of, small_learner
from torch import nn

from rndfast.learner.distributions import ActionDistribution, Categorical, DiagonalGaussian
from rndfast.learner.networks import Memory, PolicyNetwork, RndNetworks

pytestmark = pytest.mark.usefixtures("one_thread")

Array = NDArray[Any]
NUM_ACTIONS = 18

CONVOLUTION_GAINS = [math.sqrt(2)] * 3
POLICY_SHAPES = [
    (32, 4, 8, 8),
    (64, 32, 4, 4),
    (64, 64, 4, 4),  # 4x4, and so 6 * 6 * 64 = 2304 outputs
    (256, 2304),
    (448, 256),
    (448, 448),  # residual of the actor
    (448, 448),  # residual of the critics
    (NUM_ACTIONS, 448),
    (2, 448),  # a value head in each row
]
POLICY_GAINS = [*CONVOLUTION_GAINS, math.sqrt(2), math.sqrt(2), 0.1, 0.1, 0.01]  # but the heads'
TARGET_SHAPES = [(32, 1, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3), (512, 3136)]
PREDICTOR_SHAPES = [*TARGET_SHAPES, (512, 512), (512, 512)]


def make_policy(seed: int = 0, height: int = 84, width: int = 84) -> PolicyNetwork:
    generator = torch.Generator().manual_seed(seed)
    return PolicyNetwork((4, height, width), Categorical(NUM_ACTIONS), 2, generator)


def make_rnd(seed: int = 0, height: int = 84, width: int = 84, features: int = 512) -> RndNetworks:
    generator = torch.Generator().manual_seed(seed)
    return RndNetworks(
        (1, height, width), num_features=features, leaky_relu_slope=0.2, generator=generator
    )


@pytest.fixture(scope="module")
def policy() -> PolicyNetwork:
    """Share the policy of the paper; tests do not change it."""
    return make_policy()


@pytest.fixture(scope="module")
def rnd() -> RndNetworks:
    """Share the RND networks of the paper; tests do not change them."""
    return make_rnd()


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# --- sizes and initial weights ----------------------------------------------------------------


def test_policy_has_the_sizes_of_the_authors_code(policy: PolicyNetwork) -> None:
    assert [weight.shape for weight, _ in layers_of(policy)] == POLICY_SHAPES
    assert num_parameters(policy) == 1_223_156  # layers_of has left nothing out
    assert num_parameters(policy) == sum(w.size + b.size for w, b in layers_of(policy))


def test_target_and_predictor_have_the_sizes_of_the_authors_code(rnd: RndNetworks) -> None:
    assert [weight.shape for weight, _ in layers_of(rnd.target)] == TARGET_SHAPES
    assert [weight.shape for weight, _ in layers_of(rnd.predictor)] == PREDICTOR_SHAPES
    assert num_parameters(rnd.target) == 1_677_984
    assert num_parameters(rnd.predictor) == 2_203_296


def assert_orthogonal(weight: Array, gain: float) -> None:
    """Rows, or columns where these are fewer, are orthogonal and of length ``gain``."""
    matrix = weight.reshape(len(weight), -1)
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    products = matrix @ matrix.T / gain**2
    np.testing.assert_allclose(products, np.eye(len(matrix)), atol=1e-5)


def test_weights_are_orthogonal_with_the_gains_of_the_authors_code(
    policy: PolicyNetwork, rnd: RndNetworks
) -> None:
    *layers, (heads, _) = layers_of(policy)
    for (weight, _), gain in zip(layers, POLICY_GAINS, strict=True):
        assert_orthogonal(weight, gain)
    for head in heads:  # each on its own, as the authors make two layers
        assert_orthogonal(head[None], 0.01)
    for weight, _ in [*layers_of(rnd.target), *layers_of(rnd.predictor)]:
        assert_orthogonal(weight, math.sqrt(2))


def test_biases_are_zero(policy: PolicyNetwork, rnd: RndNetworks) -> None:
    for _, bias in [*layers_of(policy), *layers_of(rnd)]:
        assert not bias.any()


def test_weights_depend_on_the_generator_and_on_nothing_else() -> None:
    def weights(seed: int) -> list[Array]:
        policy, rnd = make_policy(seed, 44, 44), make_rnd(seed, 44, 44, 16)
        return [
            parameter.detach().numpy() for parameter in [*policy.parameters(), *rnd.parameters()]
        ]

    first = weights(1)
    torch.rand(3)  # the global stream plays no part
    for before, again, other in zip(first, weights(1), weights(2), strict=True):
        np.testing.assert_array_equal(before, again)
        assert before.ndim == 1 or not np.array_equal(before, other)


def test_target_and_predictor_do_not_share_weights(rnd: RndNetworks) -> None:
    for (target, _), (predictor, _) in zip(
        layers_of(rnd.target), layers_of(rnd.predictor), strict=False
    ):
        assert not np.allclose(target, predictor, atol=1e-3)


# --- forward passes ---------------------------------------------------------------------------


def test_policy_equals_numpy_with_x_plus_relu_of_fc_x_before_the_heads() -> None:
    policy = make_policy(3, 44, 52)
    learner.shake(policy)
    observations = np.random.default_rng(0).random((3, 4, 44, 52)).astype(np.float32)
    expected = learner.policy_outputs(layers_of(policy), observations)
    actual = act(policy, torch.from_numpy(observations))
    for values, want in zip(actual[:2], expected, strict=True):
        assert values.dtype == torch.float32
        np.testing.assert_allclose(values.detach().numpy(), want, rtol=1e-4, atol=1e-4)
        assert np.ptp(want) > 1e-2  # the samples differ


def test_residuals_are_added_to_the_trunk_and_rectified_before() -> None:
    policy = make_policy(3, 44, 44)
    observations = torch.rand(5, 4, 44, 44, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        trunk = policy.trunk(observations)
        policy.actor_residual.weight.copy_(-torch.eye(448))  # relu(-x) is 0: x is left
        policy.critic_residual.weight.copy_(torch.eye(448))  # x + relu(x) is 2 x
        output = act(policy, observations)
        torch.testing.assert_close(output.action_params, trunk @ policy.actor.weight.T)
        torch.testing.assert_close(output.values, 2 * trunk @ policy.critic.weight.T)


def test_the_two_value_heads_are_two() -> None:
    policy = make_policy(0, 44, 44)
    observations = torch.rand(2, 4, 44, 44, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = act(policy, observations).values
        assert policy.critic.bias is not None
        policy.critic.bias[1].add_(1)
        after = act(policy, observations).values
    assert before.shape == (2, 2)
    assert not torch.equal(before[:, 0], before[:, 1])
    assert torch.equal(before[:, 0], after[:, 0])
    torch.testing.assert_close(after[:, 1], before[:, 1] + 1)


@pytest.mark.parametrize("name", ["target", "predictor"])
def test_feature_networks_equal_numpy_with_slope_0_2(name: str) -> None:
    with small_learner() as (_, _, agent, _, _):  # through the settings, whose slope is 0.2
        network = getattr(rnd_of(agent), name)
        frames = np.random.default_rng(0).normal(size=(3, 1, 44, 52)).astype(np.float32)
        expected = learner.feature_outputs(layers_of(network), frames)
        actual = network(torch.from_numpy(frames)).detach().numpy()
    assert actual.shape == (3, 16)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_leaky_slope_is_0_2_in_all_three_convolutions(rnd: RndNetworks) -> None:
    for network in (rnd.target, rnd.predictor):
        slopes = [m.negative_slope for m in network.modules() if isinstance(m, nn.LeakyReLU)]
        assert set(slopes) == {0.2}
        leaky = next(m for m in network.modules() if isinstance(m, nn.LeakyReLU))
        assert float(leaky(torch.tensor(-1.0))) == pytest.approx(-0.2)


def test_target_ends_in_a_linear_layer_and_so_does_the_predictor(rnd: RndNetworks) -> None:
    frames = torch.randn(4, 1, 84, 84, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for network in (rnd.target, rnd.predictor):
            assert float(network(frames).min()) < -0.01


def test_outputs_are_float32_in_bfloat16_too() -> None:
    policy, rnd = make_policy(0, 44, 44), make_rnd(0, 44, 44, 16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        outputs = [*act(policy, torch.zeros(2, 4, 44, 44)), rnd.target(torch.zeros(2, 1, 44, 44))]
    assert {output.dtype for output in outputs} == {torch.float32}


# --- memory -----------------------------------------------------------------------------------

SIZE = 16


def make_memory() -> Memory:
    memory = Memory(SIZE, torch.Generator().manual_seed(0))
    learner.shake(memory)
    return memory


@pytest.mark.parametrize("is_anew", [False, True])
@pytest.mark.parametrize("num_steps", [1, 9])
def test_the_memory_is_the_documented_unit_and_empty_where_an_episode_begins(
    num_steps: int, is_anew: bool
) -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(num_steps, 5, SIZE)).astype(np.float32)
    before = rng.normal(size=(5, SIZE)).astype(np.float32)
    is_first = np.zeros((num_steps, 5), bool)
    if is_anew:  # at the first and the last step, in two steps running, in several and in none
        is_first[0, 0] = is_first[-1, 1] = is_first[num_steps // 2, [2, 3]] = True
        is_first[min(4, num_steps - 1) :, 3] = True
    memory = make_memory()
    with torch.no_grad():
        outputs, after = memory.remember(
            *map(torch.from_numpy, (inputs.reshape(-1, SIZE), before, is_first))
        )
    expected = learner.remember(memory, inputs, before, is_first)
    np.testing.assert_allclose(outputs.numpy(), expected.reshape(-1, SIZE), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(after.numpy(), expected[-1], rtol=1e-5, atol=1e-6)


def test_nothing_before_an_episode_s_first_observation_is_remembered() -> None:
    memory = make_memory()
    rng = torch.Generator().manual_seed(0)
    inputs = torch.randn(4 * 2, SIZE, generator=rng)
    is_first = torch.tensor([[False, False], [False, False], [True, False], [False, False]])

    def outputs(inputs: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        return memory.remember(inputs, before, is_first)[0].view(4, 2, SIZE)

    with torch.no_grad():
        one = outputs(inputs, torch.zeros(2, SIZE))
        changed = inputs.clone()
        changed[:2] += 1
        other = outputs(changed, torch.ones(2, SIZE))
    assert torch.equal(one[2:, 0], other[2:, 0])
    assert not torch.isclose(one[:2], other[:2]).all(dim=2).any()
    assert not torch.isclose(one[2:, 1], other[2:, 1]).all(dim=1).any()


def test_a_new_memory_has_a_joint_orthogonal_matrix_for_each_gate_and_one_bias() -> None:
    """As the authors initialise theirs (policies/cnn_gru_policy_dynamics.py, lines 35 to 39)."""
    memory = Memory(SIZE, torch.Generator().manual_seed(0))
    of_input, of_memory, bias, second_bias = memory.parameters()
    gates = [
        np.concatenate(gate, axis=1)
        for gate in zip(
            np.split(of_input.detach().double().numpy(), 3),
            np.split(of_memory.detach().double().numpy(), 3),
            strict=True,
        )
    ]
    for gate in gates:
        assert gate.shape == (SIZE, 2 * SIZE)
        assert_orthogonal(gate, 1.0)
    assert not np.allclose(gates[0], gates[1])
    assert not bias.any()
    assert not second_bias.any()
    assert [p.requires_grad for p in memory.parameters()] == [True, True, True, False]


def test_step_by_step_and_segment_by_segment_are_the_same_memory() -> None:
    memory, rng = make_memory(), torch.Generator().manual_seed(0)
    steps = torch.randn(9, 5, SIZE, generator=rng)
    before = torch.randn(5, SIZE, generator=rng)
    is_first = torch.rand(9, 5, generator=rng) < 0.2
    walked = [
        walk(steps, before, is_first) for walk in (memory._step_by_step, memory._segment_by_segment)
    ]
    torch.testing.assert_close(*walked, rtol=1e-5, atol=1e-6)
    weights = [p for p in memory.parameters() if p.requires_grad]
    torch.testing.assert_close(
        *(torch.autograd.grad(outputs.square().sum(), weights) for outputs in walked),
        rtol=1e-4,
        atol=1e-4,
    )


def make_recurrent_policy(seed: int = 0) -> PolicyNetwork:
    generator = torch.Generator().manual_seed(seed)
    return PolicyNetwork((4, 44, 52), Categorical(5), 2, generator, is_recurrent=True)


def test_the_recurrent_policy_has_its_documented_sizes() -> None:
    policy = make_recurrent_policy()
    shapes = [weight.shape for weight, _ in layers_of(policy)]
    assert shapes == [
        (32, 4, 8, 8),
        (64, 32, 4, 4),
        (64, 64, 4, 4),
        (256, 64 * 1 * 2),
        (256, 256),
        (256, 256),
        (5, 256),
        (2, 256),
    ]
    assert policy.memory_size == 256
    assert make_policy(0, 44, 52).memory_size == 0


def test_the_recurrent_policy_equals_numpy() -> None:
    policy = make_recurrent_policy()
    learner.shake(policy)
    rng = np.random.default_rng(0)
    observations = rng.random((3, 2, 4, 44, 52)).astype(np.float32)
    before = rng.normal(size=(2, 256)).astype(np.float32)
    is_first = np.array([[False, True], [False, False], [True, False]])
    expected = learner.recurrent_outputs(policy, observations, before, is_first)
    with torch.no_grad():
        actual = policy(
            *map(torch.from_numpy, (observations.reshape(-1, 4, 44, 52), before, is_first))
        )
    wanted = (expected.logits.reshape(-1, 5), expected.values.reshape(-1, 2), expected.memory[-1])
    for values, want in zip(actual, wanted, strict=True):
        assert values.dtype == torch.float32
        np.testing.assert_allclose(values.numpy(), want, rtol=1e-4, atol=1e-4)
        assert np.ptp(want) > 1e-2


def test_memory_is_float32_in_bfloat16_too() -> None:
    policy = make_recurrent_policy()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        outputs = policy(
            torch.zeros(2, 4, 44, 52), torch.zeros(2, 256), torch.zeros(1, 2, dtype=torch.bool)
        )
    assert {output.dtype for output in outputs} == {torch.float32}


# --- vectors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("distribution", [Categorical(5), DiagonalGaussian(3)])
@pytest.mark.parametrize("num_values", [1, 2])
def test_the_policy_of_vectors_equals_numpy(
    distribution: ActionDistribution, num_values: int
) -> None:
    policy = PolicyNetwork((7,), distribution, num_values, torch.Generator().manual_seed(0))
    learner.shake(policy)
    vectors = np.random.default_rng(0).normal(size=(6, 7)).astype(np.float32)
    layers = layers_of(policy)
    assert [weight.shape for weight, _ in layers[:4]] == [(64, 7), (64, 64), (64, 64), (64, 64)]
    outputs, values = learner.policy_outputs(layers, vectors)
    with torch.no_grad():
        actual = act(policy, torch.from_numpy(vectors))
    if isinstance(distribution, DiagonalGaussian):
        log_std = policy.get_parameter("actor.log_std").detach().numpy()
        outputs = np.concatenate((outputs, np.tile(log_std, (6, 1))), axis=1)
    assert values.shape == (6, num_values)
    np.testing.assert_allclose(actual.action_params.numpy(), outputs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(actual.values.numpy(), values, rtol=1e-4, atol=1e-5)
    assert np.ptp(outputs, axis=0)[0] > 1e-2


def test_deviations_start_at_one_and_learn() -> None:
    policy = PolicyNetwork((7,), DiagonalGaussian(3), 2, torch.Generator().manual_seed(0))
    log_std = policy.get_parameter("actor.log_std")
    assert log_std.tolist() == [0, 0, 0]
    assert log_std.requires_grad


@pytest.mark.parametrize("num_hidden_layers", [0, 1, 2])
@pytest.mark.parametrize("shape", [(7,), (1, 44, 52)])
def test_features_equal_numpy_and_the_predictor_has_the_hidden_layers_asked_for(
    shape: tuple[int, ...], num_hidden_layers: int
) -> None:
    networks = RndNetworks(
        shape,
        num_features=16,
        leaky_relu_slope=0.2,
        predictor_hidden_layers=num_hidden_layers,
        generator=torch.Generator().manual_seed(0),
    )
    target, predictor = ([w.shape for w, _ in layers_of(n)] for n in networks.children())
    assert predictor[: len(target)] == target
    assert predictor[len(target) :] == [(16, 16)] * num_hidden_layers
    if shape == (7,):
        assert target == [(64, 7), (64, 64), (16, 64)]
    learner.shake(networks)
    observations = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
    for network in (networks.target, networks.predictor):
        expected = learner.feature_outputs(layers_of(network), observations)
        with torch.no_grad():
            actual = network(torch.from_numpy(observations)).numpy()
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
        assert np.ptp(expected) > 1e-2


@pytest.mark.parametrize("size", [7, 64, 147])
def test_first_units_of_vectors_have_sums_of_one_size_and_normal_biases(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    policy = PolicyNetwork((size,), Categorical(5), 2, generator)
    networks = RndNetworks((size,), num_features=16, leaky_relu_slope=0.2, generator=generator)
    for network, gains in (
        (policy, [math.sqrt(2), 0.1, 0.1, 0.01]),
        (networks.target, [math.sqrt(2)] * 2),
        (networks.predictor, [math.sqrt(2)] * 4),
    ):
        (first, first_biases), *layers = layers_of(network)
        # orthogonal, and of inputs with variance 1 the sums of the 64 units have variance 8
        assert_orthogonal(first, math.sqrt(8 * 64 / min(64, size)))
        assert (first**2).sum() / 64 == pytest.approx(8)
        assert abs(first_biases.mean()) < 4 / np.sqrt(64)
        assert abs((first_biases**2).mean() - 1) < 4 * np.sqrt(2 / 64)
        for (weight, bias), gain in zip(layers, gains, strict=False):
            assert_orthogonal(weight, gain)
            assert not bias.any()


# --- what learns ------------------------------------------------------------------------------


def test_the_target_is_frozen_and_all_else_learns() -> None:
    with small_learner() as (_, _, agent, _, _):
        assert not any(parameter.requires_grad for parameter in rnd_of(agent).target.parameters())
        expected = [*agent.policy.parameters(), *rnd_of(agent).predictor.parameters()]
        assert [id(p) for p in agent.parameters] == [id(p) for p in expected]
        assert all(parameter.requires_grad for parameter in expected)


# --- wrong sizes ------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(43, 84), (84, 43), (3, 84)])
def test_too_small_frames_are_refused_by_the_policy(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"large enough .*, got {height} x {width}"):
        make_policy(0, height, width)


@pytest.mark.parametrize(("height", "width"), [(35, 84), (84, 35)])
def test_too_small_frames_are_refused_by_the_rnd_networks(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"large enough .*, got {height} x {width}"):
        make_rnd(0, height, width, 4)


def test_the_smallest_frames_give_one_output_of_the_last_convolution() -> None:
    assert layers_of(make_policy(0, 44, 44))[3][0].shape == (256, 64)
    assert layers_of(make_rnd(0, 36, 36, 4).target)[3][0].shape == (4, 64)
