from __future__ import annotations

import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from rndfast.envs.gymnasium_envs import GymVectorEnv, random_actions

MINIGRID = "minigrid:MiniGrid-DoorKey-5x5-v0"
needs_minigrid = pytest.mark.skipif(sys.version_info < (3, 11), reason="minigrid needs Python 3.11")
IDS = [
    "MountainCar-v0",
    "Acrobot-v1",
    "LunarLander-v3",
    "MountainCarContinuous-v0",
    pytest.param(MINIGRID, marks=needs_minigrid),
]
NUM_ENVS = 3
STEPS = 1100  # past every time limit but one, so that each kind of episode ends


def flat(observation: Any) -> NDArray[np.float32]:
    array = observation["image"] if isinstance(observation, dict) else observation
    flattened: NDArray[np.float32] = np.asarray(array, np.float32).reshape(-1)
    return flattened


def draw(space: Any, rng: np.random.Generator) -> NDArray[Any]:
    """Some of a Box's lie beyond its bounds."""
    if isinstance(space, Discrete):
        return rng.integers(space.n, size=NUM_ENVS)
    return (2 * rng.standard_normal((NUM_ENVS, *space.shape))).astype(np.float32)


@pytest.mark.parametrize("env_id", IDS)
def test_it_does_what_the_environments_do_one_by_one(env_id: str) -> None:
    ours = GymVectorEnv(env_id, NUM_ENVS)
    oracle = [gymnasium.make(env_id) for _ in range(NUM_ENVS)]
    space: Any = oracle[0].action_space
    rng = np.random.default_rng(0)

    observations, info = ours.reset(seed=7)
    expected = [flat(env.reset(seed=7 + n)[0]) for n, env in enumerate(oracle)]
    assert info == {}
    assert observations[0].shape == ours.single_observation_space.shape
    np.testing.assert_array_equal(observations, expected)

    rewards_so_far: list[list[float]] = [[] for _ in oracle]
    num_ends = 0
    for _ in range(STEPS):
        actions = draw(space, rng)
        observations, rewards, terminations, truncations, info = ours.step(actions)
        assert observations.dtype == rewards.dtype == np.float32
        for n, env in enumerate(oracle):
            action = actions[n]
            if isinstance(space, Box):
                action = np.minimum(np.maximum(action, space.low), space.high)
            observation, reward, terminated, truncated, _ = env.step(action)
            rewards_so_far[n].append(float(reward))
            assert rewards[n] == info["reward_raw"][n] == np.float32(reward)
            assert (terminations[n], truncations[n]) == (terminated, truncated)
            assert info["episode_return"][n] == pytest.approx(sum(rewards_so_far[n]), rel=1e-12)
            assert info["episode_length"][n] == len(rewards_so_far[n])
            if terminated or truncated:
                num_ends += 1
                np.testing.assert_array_equal(info["final_obs"][n], flat(observation))
                assert info["final_obs"][n].dtype == np.float32
                rewards_so_far[n].clear()
                observation, _ = env.reset()
            np.testing.assert_array_equal(observations[n], flat(observation))
        if "final_obs" in info:
            ended = terminations | truncations
            np.testing.assert_array_equal(info["_final_obs"], ended)
            assert [final is not None for final in info["final_obs"]] == ended.tolist()
    assert num_ends >= NUM_ENVS
    ours.close()


def test_it_does_what_gymnasiums_vector_environment_does() -> None:
    ours = GymVectorEnv("LunarLander-v3", NUM_ENVS)
    theirs = gymnasium.make_vec(
        "LunarLander-v3",
        NUM_ENVS,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
    )
    rng = np.random.default_rng(1)
    np.testing.assert_array_equal(ours.reset(seed=3)[0], theirs.reset(seed=3)[0])
    num_ends = 0
    for _ in range(300):
        actions = rng.integers(4, size=NUM_ENVS)
        got, expected = ours.step(actions), theirs.step(actions)
        for mine, other in zip(got[:4], expected[:4], strict=True):
            np.testing.assert_array_equal(mine, other.astype(mine.dtype))
        assert ("final_obs" in got[4]) == ("final_obs" in expected[4])
        for mine, other in zip(
            got[4].get("final_obs", []), expected[4].get("final_obs", []), strict=True
        ):
            num_ends += other is not None
            np.testing.assert_array_equal(mine, other)
    assert num_ends > 0


class Scripted(gymnasium.Env[Any, Any]):
    """Observes the action it was given; writes to one array; its rewards are given."""

    def __init__(self, space: gymnasium.Space[Any], observation_space: Any, reward: float) -> None:
        self.action_space = space
        self.observation_space = observation_space
        self._buffer = np.zeros(observation_space.shape or (), observation_space.dtype)
        self._reward = reward

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        self._buffer[:] = -1
        return self._buffer, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._buffer[:] = action
        return self._buffer, self._reward, False, True, {}


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Registers an environment of given spaces, and returns its id."""
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))

    def register(space: Any, observation_space: Any = None, reward: float = 0.0) -> str:
        observed = observation_space or Box(-np.inf, np.inf, space.shape)
        gymnasium.register(
            "tests/Scripted-v0",
            lambda **_: Scripted(space, observed, reward),
            disable_env_checker=True,
        )
        return "tests/Scripted-v0"

    return register


def test_actions_are_clipped_and_take_the_shape_of_the_environments_space(scripted: Any) -> None:
    low = np.array([[-1, -np.inf], [0, -2]], np.float64)
    high = np.array([[1, np.inf], [np.inf, 3]], np.float64)
    envs = GymVectorEnv(scripted(Box(low, high, dtype=np.float64)), 2)
    assert envs.single_action_space == Box(
        low.ravel().astype(np.float32), high.ravel().astype(np.float32)
    )
    envs.reset(seed=0)
    actions = np.array([[-9, -9, -9, -9], [9, 9, 9, 9]], np.float32)
    info = envs.step(actions)[4]
    # the environment reports the actions; its buffer is written anew by the reset that follows
    np.testing.assert_array_equal(info["final_obs"][0], [-1, -9, 0, -2])
    np.testing.assert_array_equal(info["final_obs"][1], [1, 9, 9, 3])


def test_rewards_that_are_not_finite_pass_through(scripted: Any) -> None:
    envs = GymVectorEnv(scripted(Box(-1, 1, (1,)), reward=np.nan), 1)
    envs.reset()
    _, rewards, _, _, info = envs.step(np.zeros((1, 1), np.float32))
    assert np.isnan([rewards[0], info["reward_raw"][0], info["episode_return"][0]]).all()


def test_seeds_may_be_given_one_by_one() -> None:
    whole, part = GymVectorEnv("MountainCar-v0", 4), GymVectorEnv("MountainCar-v0", 2)
    expected = whole.reset(seed=10)[0]
    np.testing.assert_array_equal(part.reset(seed=[11, 13])[0], expected[[1, 3]])
    with pytest.raises(ValueError, match=r"^seed must have 2 items, got 3$"):
        part.reset(seed=[1, 2, 3])


def test_without_a_seed_the_random_streams_go_on() -> None:
    envs = GymVectorEnv("MountainCar-v0", 1)
    env = gymnasium.make("MountainCar-v0")
    np.testing.assert_array_equal(envs.reset(seed=5)[0][0], env.reset(seed=5)[0])
    np.testing.assert_array_equal(envs.reset()[0][0], env.reset()[0])


def test_a_reset_starts_returns_and_lengths_anew_and_drops_a_step_not_received() -> None:
    envs = GymVectorEnv("MountainCar-v0", 1)
    envs.reset(seed=0)
    envs.step(np.array([0]))
    envs.send(np.array([0]), np.array([0]))
    envs.reset()
    info = envs.step(np.array([0]))[4]
    assert (info["episode_return"][0], info["episode_length"][0]) == (-1, 1)


def test_observations_go_where_they_are_asked_to_and_are_the_callers() -> None:
    envs, other = GymVectorEnv("MountainCar-v0", 2), GymVectorEnv("MountainCar-v0", 2)
    first, _ = envs.reset(seed=0)
    kept = first.copy()
    other.reset(seed=0)
    out = np.zeros((2, 2), np.float32)
    envs.send(np.array([0, 2]), np.arange(2), out=out)
    observations = envs.recv()[0]
    assert observations is out
    np.testing.assert_array_equal(out, other.step(np.array([0, 2]))[0])
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    "space",
    [
        Discrete(3),
        Box(np.array([-2, 0], np.float32), np.array([5, 1], np.float32)),
        Box(np.array([-np.inf, -np.inf, 1], np.float32), np.array([np.inf, 0, np.inf], np.float32)),
    ],
)
def test_random_actions_fill_the_space(space: Discrete | Box) -> None:
    actions = random_actions(space, 20_000, np.random.default_rng(0))
    assert all(space.contains(action) for action in actions)
    if isinstance(space, Discrete):
        np.testing.assert_allclose(np.bincount(actions) / 20_000, 1 / 3, atol=0.02)
    elif space.is_bounded():
        middle, width = (space.low + space.high) / 2, space.high - space.low
        np.testing.assert_allclose(actions.mean(axis=0), middle, atol=0.05)
        np.testing.assert_allclose(actions.std(axis=0), width / np.sqrt(12), rtol=0.02)
    else:
        assert actions[:, 0].mean() == pytest.approx(0, abs=0.03)
        assert actions[:, 0].std() == pytest.approx(1, rel=0.03)
        # of a normal variable, half is below 0 and 84 % is below 1
        assert (actions[:, 1] == 0).mean() == pytest.approx(0.5, abs=0.02)
        assert (actions[:, 2] == 1).mean() == pytest.approx(0.841, abs=0.02)


def test_a_restored_run_is_told_to_begin_new_episodes() -> None:
    envs = GymVectorEnv("MountainCar-v0", 1)
    assert not envs.has_snapshots
    with pytest.raises(NotImplementedError, match="do not tell their state"):
        envs.copy_state()
    with pytest.raises(NotImplementedError, match="do not tell their state"):
        envs.snapshot_of(np.zeros(1, np.uint8))
    with pytest.raises(ValueError, match=r"^Gymnasium environments cannot be restored$"):
        envs.restore(b"")


@pytest.mark.parametrize(
    ("space", "observation_space", "message"),
    [
        (Discrete(2, start=1), None, r"action space .* starts at 0 .*, got Discrete\(2, start=1\)"),
        (
            gymnasium.spaces.MultiDiscrete([2, 3]),
            None,
            r"action space must be a Discrete .* or a Box of floats, got MultiDiscrete\(\[2 3\]\)",
        ),
        (
            Box(0, 9, (2,), np.int64),
            None,
            r"action space must be .* Box of floats, got Box\(0, 9, \(2,\), int64\)",
        ),
        (
            Discrete(2),
            Discrete(5),
            r"observation space must be a Box, or a Dict with a Box 'image', got Discrete\(5\)",
        ),
        (
            Discrete(2),
            gymnasium.spaces.Dict({"position": Box(0, 1, (2,))}),
            r"observation space must be .*, got Dict\('position': Box",
        ),
        (
            Discrete(2),
            gymnasium.spaces.Dict({"image": Discrete(5)}),
            r"observation space must be .*, got Dict\('image': Discrete\(5\)\)",
        ),
    ],
)
def test_other_spaces_are_refused_by_name(
    scripted: Any, space: Any, observation_space: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        GymVectorEnv(scripted(space, observation_space), 1)


@pytest.mark.filterwarnings("ignore:.*LunarLander-v2 is out of date:DeprecationWarning")
@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        (
            "LunarLander-v2",
            "^cannot make 'LunarLander-v2': Environment version v2 for `LunarLander` is deprecated."
            " Please use `LunarLander-v3` instead.$",
        ),
        (
            "Nothing/Zzz-v0",
            "^cannot make 'Nothing/Zzz-v0': Namespace Nothing not found. .* Another package's is "
            "'module:Id', as 'minigrid:MiniGrid-DoorKey-8x8-v0'.$",
        ),
        (
            "no_such_module:Maze-v0",
            "^cannot make 'no_such_module:Maze-v0': No module named 'no_such_module'.* A module of "
            "your own must be where Python looks for it: .*'python -m rndfast train'.*PYTHONPATH.$",
        ),
        ("a:b:C-v0", "^env_id must be 'Id' or 'module:Id', got 'a:b:C-v0'$"),
        ("", "^cannot make '': Malformed environment ID"),
    ],
)
def test_what_cannot_be_made_is_told_in_one_line(env_id: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        GymVectorEnv(env_id, 1)
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("gymnasium.envs.box2d")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "Box2D", None)  # as if it were not installed
    with pytest.raises(ValueError, match=r"^cannot make 'LunarLander-v3': Box2D .*rndfast\["):
        GymVectorEnv("LunarLander-v3", 1)


def test_a_missing_minigrid_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "minigrid"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "minigrid", None)
    with pytest.raises(ValueError, match=r"^cannot make 'minigrid:Maze-v0': .*rndfast\[gym\]'\)$"):
        GymVectorEnv("minigrid:Maze-v0", 1)


class Faulty(gymnasium.Env[Any, Any]):
    """Fails in one way; knows nothing of ``render_mode``, as it draws nothing."""

    observation_space = Box(0, 1, (3,), np.float32)
    action_space = Discrete(2)
    fault = ""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        if self.fault == "reset":
            raise OSError("no such level")
        return np.zeros(3, np.float32), {}

    def step(self, action: Any) -> Any:
        if self.fault == "step":
            raise ValueError("wheel 3 is missing")
        if self.fault == "old":
            return np.zeros(3, np.float32), 0.0, False, {}
        return np.zeros(2 if self.fault == "shape" else 3, np.float32), 0.0, False, False, {}


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> str:
    """Its id."""
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
    entry_point: Any = Faulty
    gymnasium.register("tests/Faulty-v0", entry_point, disable_env_checker=True)
    return "tests/Faulty-v0"


@pytest.mark.parametrize(
    ("fault", "message", "cause"),
    [
        ("reset", r"failed in reset\(\): OSError: no such level", OSError),
        ("step", r"failed in step\(\): ValueError: wheel 3 is missing", ValueError),
        ("old", r"failed in step\(\): ValueError: not enough values .*expected 5", ValueError),
        (
            "shape",
            r"failed in step\(\): ValueError: an observation must have the shape of its space, "
            r"\(3,\), got \(2,\)",
            ValueError,
        ),
    ],
)
def test_an_environments_own_error_is_told_as_one(
    faulty: str, monkeypatch: pytest.MonkeyPatch, fault: str, message: str, cause: type[Exception]
) -> None:
    """As what is shown with a traceback: a ValueError would be told as one in the settings."""
    envs = GymVectorEnv(faulty, 1)
    monkeypatch.setattr(Faulty, "fault", fault)

    def play() -> None:
        envs.reset()
        envs.step(np.array([0]))

    with pytest.raises(RuntimeError, match=f"^'tests/Faulty-v0' {message}") as caught:
        play()
    assert type(caught.value.__cause__) is cause


def test_an_environment_without_pictures_is_played_and_not_drawn(faulty: str) -> None:
    envs = GymVectorEnv(faulty, 1)
    envs.reset()
    envs.step(np.array([1]))
    with pytest.raises(ValueError, match=r"^'tests/Faulty-v0' draws no pictures: .*--no-record\)$"):
        GymVectorEnv(faulty, 1, render_mode="rgb_array")


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^num_envs must be at least 1, got 0$"):
        GymVectorEnv("MountainCar-v0", 0)
    envs = GymVectorEnv("MountainCar-v0", 2)
    both = np.arange(2)
    with pytest.raises(RuntimeError, match=r"^call reset\(\) before step\(\)$"):
        envs.step(np.array([0, 1]))
    envs.reset(seed=0)
    with pytest.raises(RuntimeError, match=r"^nothing is under way: call send"):
        envs.recv()
    for env_ids in (np.array([0]), np.array([1, 0])):
        with pytest.raises(ValueError, match=r"^env_ids must be all 2 environments in order, got"):
            envs.send(np.zeros(len(env_ids), np.int64), env_ids)
    with pytest.raises(TypeError, match=r"^actions must have an integer dtype, got float64$"):
        envs.step(np.zeros(2))
    with pytest.raises(ValueError, match=r"^actions must have shape \(2,\), got \(3,\)$"):
        envs.step(np.zeros(3, np.int64))
    with pytest.raises(ValueError, match=r"^action of env 1 must be in \[0, 3\), got 3$"):
        envs.step(np.array([0, 3]))
    envs.send(np.array([0, 1]), both)
    with pytest.raises(RuntimeError, match=r"^a step is under way"):
        envs.send(np.array([0, 1]), both)
    envs.close()
    envs.close()
    for call in (envs.reset, envs.recv, lambda: envs.step(np.array([0, 1]))):
        with pytest.raises(RuntimeError, match=r"^the environment is closed: make a new one$"):
            call()

    continuous = GymVectorEnv("MountainCarContinuous-v0", 2)
    continuous.reset(seed=0)
    with pytest.raises(TypeError, match=r"^actions must have a float dtype, got int64$"):
        continuous.step(np.zeros((2, 1), np.int64))
    with pytest.raises(ValueError, match=r"^actions must have shape \(2, 1\), got \(2,\)$"):
        continuous.step(np.zeros(2, np.float32))
    with pytest.raises(ValueError, match=r"^action of env 1 must be numbers, got \[nan\]$"):
        continuous.step(np.array([[0], [np.nan]], np.float32))


@pytest.mark.parametrize(
    "env_id",
    [
        "MontezumaRevenge-v5",
        "ALE/MontezumaRevenge-v5",
        "MontezumaRevengeNoFrameskip-v4",
        "MontezumaRevengeDeterministic-v4",
    ],
)
def test_an_atari_game_of_another_package_is_told_by_our_name(
    env_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for known in [*gymnasium.registry]:  # ale-py's, if another test has imported it
        if not known.startswith("rndfast/") and "MontezumaRevenge" in known:
            monkeypatch.delitem(gymnasium.registry, known)
    with pytest.raises(ValueError, match=r"of ours is 'rndfast/MontezumaRevenge-v5'\.$"):
        GymVectorEnv(env_id, 1)


def test_pictures_are_those_of_the_environments() -> None:
    envs = GymVectorEnv("MountainCar-v0", 2, render_mode="rgb_array")
    with pytest.raises(RuntimeError, match="call reset"):
        envs.render()
    envs.reset(seed=3)
    envs.step(np.array([0, 2]))
    for n, picture in enumerate(envs.render()):
        env = gymnasium.make("MountainCar-v0", render_mode="rgb_array")
        env.reset(seed=3 + n)
        env.step(2 * n)
        np.testing.assert_array_equal(picture, env.render())
        env.close()
    envs.close()
    with pytest.raises(RuntimeError, match="closed"):
        envs.render()
    plain = GymVectorEnv("MountainCar-v0", 2)
    plain.reset()
    with pytest.raises(RuntimeError, match="needs render_mode='rgb_array'"):
        plain.render()
    plain.close()
