"""
The compiled core of rndfast. Use it through the rndfast package.
"""
from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing
__all__: list[str] = ['AtariBatch', 'Console', 'DiscountedReturnFilter', 'RunningMoments', 'StepResults', 'ThreadPool', 'add_snapshot_sum', 'area_resize', 'gae', 'games', 'gather_stacks', 'normalize_frames', 'palette', 'usable_cores']
class ThreadPool:
    """
    Fixed worker threads for the kernels of rndfast.
    
    Results never depend on the number of threads or on the instruction set.
    
    Args:
        num_threads: Threads that share the work, the calling one included; 0: one for each core that the process may use.
        simd: Instruction set: ``"auto"`` (the best that this processor has), ``"baseline"``, ``"avx2"``, ``"avx512"``.
    
    Raises:
        ValueError: ``num_threads`` is negative or above 1024; ``simd`` is unknown or not supported here.
        RuntimeError: Used in a process forked after construction (raised by the kernel that is given the pool).
    
    Example:
        >>> ThreadPool(2).num_threads
        2
    """
    def __init__(self, num_threads: typing.SupportsInt | typing.SupportsIndex = 0, *, simd: str = 'auto') -> None:
        ...
    def __reduce__(self) -> str:
        """
        Refuse to be pickled or copied.
        """
    def start_trace(self, max_spans: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        Begin to note what each thread works on and when: the next ``max_spans`` pieces of work.
        """
    def take_trace(self) -> numpy.ndarray:
        """
        End the trace and return it.
        
        Returns:
            ``(n,)`` records of int64 ``start_ns`` and ``end_ns``, by the system's steady clock, and uint32 ``thread`` and
            ``item``.
        """
    @property
    def num_threads(self) -> int:
        """
        Threads that share the work.
        """
    @property
    def simd_level(self) -> str:
        """
        Instruction set in use: ``"baseline"``, ``"avx2"`` or ``"avx512"``.
        """
class Console:
    """
    The engine of :class:`rndfast.Console`, which finds the ROM.
    
    Args:
        game: Rom id.
        rom: Content of the ROM file.
        random_seed: Seed of the sticky actions' random stream, 0 .. 2**32 - 1.
        repeat_action_probability: Chance, in each frame, that the previous action is repeated.
        max_num_frames_per_episode: Frames after which `game_over` is true; 0: never.
        mode: One of the game's modes; None: its first.
        difficulty: One of the game's difficulties; None: both switches at B.
        scheme: Bank switching, if not the game's own: ``"2K"``, ``"4K"``, ``"F8"``, ``"F6"``, ``"F8SC"``, ``"F6SC"``,
            ``"E0"``, ``"FE"`` or ``"DPC"``.
    """
    def __init__(self, game: str, rom: bytes, *, random_seed: typing.SupportsInt | typing.SupportsIndex, repeat_action_probability: typing.SupportsFloat | typing.SupportsIndex = 0.25, max_num_frames_per_episode: typing.SupportsInt | typing.SupportsIndex = 0, mode: typing.SupportsInt | typing.SupportsIndex | None = None, difficulty: typing.SupportsInt | typing.SupportsIndex | None = None, scheme: str | None = None) -> None:
        ...
    def __reduce__(self) -> str:
        """
        Refuse to be pickled or copied.
        """
    def act(self, action: typing.SupportsInt | typing.SupportsIndex, paddle_strength: typing.SupportsFloat | typing.SupportsIndex = 1.0) -> int:
        """
        Hold an action for one frame.
        
        Once the game is over nothing happens, and the reward is 0, until `reset`.
        
        Args:
            action: 0 .. 17, the numbers of the Arcade Learning Environment. Actions that the game does not allow do nothing.
            paddle_strength: How far a paddle turns, in [-1, 1].
        
        Returns:
            The reward.
        
        Raises:
            ValueError: An argument is out of range.
        """
    def reset(self) -> None:
        """
        Start an episode.
        """
    def restore(self, snapshot: bytes) -> None:
        """
        Return to a state.
        
        Args:
            snapshot: What `snapshot` of a console of this game returned, in this or another process.
        
        Raises:
            TypeError: It is not bytes.
            ValueError: It is damaged, of another game or build of rndfast, or holds a state that cannot be. The console is
                unchanged.
        """
    def snapshot(self) -> bytes:
        """
        Return the whole state, random streams and pictures included.
        
        Restoring it continues exactly: the same actions give the same bytes.
        """
    @property
    def episode_frame_number(self) -> int:
        """
        Frames since the last reset.
        """
    @property
    def frame_number(self) -> int:
        """
        Frames played since the console was made.
        """
    @property
    def game(self) -> str:
        """
        Rom id.
        """
    @property
    def game_over(self) -> bool:
        """
        Whether the episode has ended, truncation included.
        """
    @property
    def lives(self) -> int:
        """
        Lives left; 0 where the game does not tell.
        """
    @property
    def processor(self) -> str:
        """
        Registers and beam position at the end of the frame, for messages.
        """
    @property
    def ram(self) -> numpy.typing.NDArray[numpy.uint8]:
        """
        ``(128,)`` uint8: the RAM, a copy.
        """
    @property
    def room(self) -> int | None:
        """
        Number of the present room; None where the RAM does not tell.
        """
    @property
    def screen(self) -> numpy.typing.NDArray[numpy.uint8]:
        """
        ``(H, 160)`` uint8: colour bytes of the last frame; H is 210 for most games.
        """
    @property
    def screen_grey(self) -> numpy.typing.NDArray[numpy.uint8]:
        """
        ``(H, 160)`` uint8: its brightness.
        """
    @property
    def screen_rgb(self) -> numpy.typing.NDArray[numpy.uint8]:
        """
        ``(H, 160, 3)`` uint8: its colours.
        """
    @property
    def truncated(self) -> bool:
        """
        Whether it has reached its frame limit.
        """
    @property
    def tv_format(self) -> str:
        """
        ``"NTSC"`` or ``"PAL"``.
        """
class StepResults:
    """
    What one step or observation gave.
    """
    def __reduce__(self) -> str:
        """
        Refuse to be pickled or copied.
        """
    def column(self, name: str) -> numpy.ndarray:
        """
        ``(n,)``, of each environment; ``ram`` is ``(n, 128)``.
        """
    def entries(self, keys: tuple[str, ...]) -> dict[str, numpy.ndarray]:
        """
        A dict of these columns and, as ``_<key>``, their masks.
        """
    def final_column(self, name: str) -> numpy.ndarray:
        """
        The same at the end of the episode that ended in the step; 0 where none did. In same-step mode only.
        """
    def final_observation(self, row: typing.SupportsInt | typing.SupportsIndex) -> numpy.typing.NDArray[numpy.uint8]:
        """
        A copy of the last observation of the episode that ended in a row.
        """
    @property
    def observations(self) -> numpy.typing.NDArray[numpy.uint8]:
        """
        ``(n, stack_num, H, W)`` or with a last 3.
        """
class AtariBatch:
    """
    The engine of :class:`rndfast.AtariVectorEnv`, which documents the settings.
    
    Further keyword arguments are settings; `settings` names them. Those that are left out have their defaults.
    Every call names its environments, and only one call at a time may be under way for each.
    """
    def __init__(self, game: str, rom: bytes, *, num_envs: typing.Any, num_threads: typing.Any = 0, thread_affinity_offset: typing.Any = -1, simd: str = 'auto', copy: typing.Any = True, remembers_resets: bool = True, **kwargs: typing.Any) -> None:
        ...
    def __reduce__(self) -> str:
        """
        Refuse to be pickled or copied.
        """
    def copy_state(self, out: numpy.typing.NDArray[numpy.uint8]) -> None:
        """
        The same, but for the sum that `add_snapshot_sum` adds, into ``(snapshot_bytes,)`` uint8.
        """
    def copy_states(self, source_ids: typing.Any, target_ids: typing.Any) -> None:
        """
        Put the states of some environments into others.
        """
    def get_states(self, env_ids: typing.Any) -> list[bytes]:
        """
        A snapshot of each of some environments.
        """
    def observe(self) -> StepResults:
        """
        All environments as they are now.
        """
    def recv(self) -> tuple[numpy.typing.NDArray[numpy.uint8], numpy.ndarray, numpy.ndarray, numpy.ndarray, StepResults]:
        """
        Wait for the oldest `send`. Returns observations, rewards, terminations, truncations and all results.
        """
    def render(self, env: typing.SupportsInt | typing.SupportsIndex) -> numpy.typing.NDArray[numpy.uint8]:
        """
        ``(height, 160, 3)`` uint8: the console's present picture.
        """
    def require_owner(self) -> None:
        """
        Raise RuntimeError in a forked process.
        """
    def reset(self, env_ids: numpy.typing.NDArray[numpy.int64], seeds: numpy.typing.NDArray[numpy.int64]) -> None:
        """
        Reset environments; a seed of -1 goes on with the present random stream.
        """
    def restore(self, snapshot: bytes) -> None:
        """
        Return to a state.
        """
    def send(self, actions: numpy.typing.NDArray[typing.Any], env_ids: typing.Any = None, out: typing.Any = None, waits: bool = False) -> None:
        """
        Begin to step environments; `waits`: the next call is `recv`. See :meth:`rndfast.AtariVectorEnv.send`.
        """
    def set_states(self, env_ids: typing.Any, states: collections.abc.Sequence[bytes]) -> None:
        """
        Return each of some environments to a state.
        """
    def snapshot(self) -> bytes:
        """
        The state of all environments.
        """
    def start_trace(self, max_spans: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        Begin to note what each thread works on and when: the next ``max_spans`` pieces of work.
        """
    def take_trace(self) -> numpy.ndarray:
        """
        End the trace and return it.
        
        Returns:
            ``(n,)`` records of int64 ``start_ns`` and ``end_ns``, by the system's steady clock, and uint32 ``thread`` and
            ``item``.
        """
    @property
    def action_set(self) -> list[int]:
        """
        The Arcade Learning Environment's numbers of actions.
        """
    @property
    def is_idle(self) -> bool:
        """
        Whether no step is under way.
        """
    @property
    def num_envs(self) -> int:
        """
        Environments.
        """
    @property
    def num_threads(self) -> int:
        """
        Worker threads.
        """
    @property
    def settings(self) -> dict[str, typing.Any]:
        """
        The settings in force, by name.
        """
    @property
    def snapshot_bytes(self) -> int:
        """
        Size of a snapshot.
        """
class RunningMoments:
    """
    Running mean and variance of each element of a stream of arrays, in float64.
    
    Batches are merged by the parallel formula of Chan, Golub and LeVeque (1979). Sums over uint8 images are exact
    integers, rounded once.
    
    Args:
        shape: Shape of one sample, for example ``(84, 84)``; ``()`` for scalars.
        prior_count: Samples of mean 0 and variance 1 that count as seen. The paper's authors use 1e-4, which keeps the
            variance above zero where a pixel never changes.
        pool: Threads to share the work; None: the calling thread alone.
    
    Raises:
        TypeError: ``shape`` is no sequence of integers.
        ValueError: A length is below 1, or ``prior_count`` is negative or not finite.
    
    Example:
        >>> m = RunningMoments(shape=(2,))
        >>> m.update(np.array([[0, 1], [2, 1]], np.uint8))
        >>> m.mean.tolist(), m.var.tolist(), m.count
        ([1.0, 1.0], [1.0, 0.0], 2.0)
    """
    def __init__(self, shape: typing.Any, *, prior_count: typing.SupportsFloat | typing.SupportsIndex = 0.0, pool: ThreadPool | None = None) -> None:
        ...
    def __reduce__(self) -> str:
        """
        Refuse to be pickled or copied.
        """
    def set_state(self, *, count: typing.SupportsFloat | typing.SupportsIndex, mean: numpy.typing.NDArray[numpy.float64], m2: numpy.typing.NDArray[numpy.float64]) -> None:
        """
        Replace the state, to resume.
        
        Args:
            count: Samples seen, at least 0.
            mean: ``shape`` float64.
            m2: ``shape`` float64, at least 0: the sum of squared deviations, ``var * count``.
        
        Raises:
            TypeError: An array has another dtype.
            ValueError: A shape is wrong or a value not finite or negative.
        """
    def update(self, batch: numpy.typing.NDArray[typing.Any]) -> None:
        """
        Merge a batch of samples.
        
        Args:
            batch: ``(..., *shape)`` uint8 or float32; all leading axes count samples. An empty batch changes nothing.
        
        Raises:
            TypeError: ``batch`` is no uint8 or float32 array.
            ValueError: Its shape or layout is wrong, or a float batch holds NaN or infinity.
            KeyboardInterrupt: Ctrl-C. After any exception the moments are as before.
        """
    @property
    def count(self) -> float:
        """
        Samples seen, the prior's included.
        """
    @property
    def m2(self) -> numpy.typing.NDArray[numpy.float64]:
        """
        ``shape`` float64, a copy: the sum of squared deviations from the mean.
        """
    @property
    def mean(self) -> numpy.typing.NDArray[numpy.float64]:
        """
        ``shape`` float64, a copy; zeros before the first sample.
        """
    @property
    def shape(self) -> tuple[int, ...]:
        """
        Shape of one sample.
        """
    @property
    def var(self) -> numpy.typing.NDArray[numpy.float64]:
        """
        ``shape`` float64, a copy: the population variance; ones before the first sample.
        """
class DiscountedReturnFilter:
    """
    Discounted sums of intrinsic rewards, one filter per environment.
    
    Their running standard deviation scales the intrinsic reward (RND paper, section 2.4). A sum is never reset at an
    episode's end, because the intrinsic return is non-episodic.
    
    Args:
        num_envs: N, at least 1.
        gamma: Discount per step, in [0, 1].
        direction: ``"forward"``: ``sum[t] = rewards[t] + gamma * sum[t - 1]``, carried across calls (the authors'
            implementation). ``"backward"``: ``sum[t] = rewards[t] + gamma * sum[t + 1]``, each call on its own (the
            paper's words: the return, which looks ahead).
    
    Raises:
        ValueError: ``num_envs``, ``gamma`` or ``direction`` is out of range.
    
    Example:
        >>> f = DiscountedReturnFilter(1, gamma=0.5)
        >>> f.update(np.ones((2, 1), np.float32)).tolist()
        [[1.0], [1.5]]
    """
    def __init__(self, num_envs: typing.SupportsInt | typing.SupportsIndex, *, gamma: typing.SupportsFloat | typing.SupportsIndex = 0.99, direction: str = 'forward') -> None:
        ...
    def __reduce__(self) -> str:
        """
        Refuse to be pickled or copied.
        """
    def update(self, rewards: numpy.typing.NDArray[numpy.float32]) -> numpy.typing.NDArray[numpy.float32]:
        """
        Filter one rollout.
        
        Args:
            rewards: ``(T, N)`` float32, finite.
        
        Returns:
            ``(T, N)`` float32, a new array: the discounted sum at each step.
        
        Raises:
            TypeError: ``rewards`` is no float32 array.
            ValueError: Its shape or layout is wrong, or it holds NaN or infinity; the filter is as before.
        """
    @property
    def carry(self) -> numpy.typing.NDArray[numpy.float64]:
        """
        ``(N,)`` float64: the sums after the last step seen, a copy. Assign to resume.
        """
    @carry.setter
    def carry(self, arg1: numpy.typing.NDArray[numpy.float64]) -> None:
        ...
    @property
    def direction(self) -> str:
        """
        ``"forward"`` or ``"backward"``.
        """
    @property
    def gamma(self) -> float:
        """
        Discount per step.
        """
    @property
    def num_envs(self) -> int:
        """
        N.
        """
def add_snapshot_sum(snapshot: numpy.typing.NDArray[numpy.uint8]) -> None:
    """
    Complete, in place, what `AtariBatch.copy_state` wrote: it is a snapshot then.
    """
def area_resize(pictures: numpy.typing.NDArray[numpy.uint8], height: typing.SupportsInt | typing.SupportsIndex, width: typing.SupportsInt | typing.SupportsIndex, *, second: numpy.typing.NDArray[numpy.uint8] | None = None, simd: str = 'auto') -> numpy.typing.NDArray[numpy.uint8]:
    """
    Resize pictures to the byte as ale-py's vector environments do.
    
    That is OpenCV's ``INTER_AREA``: means of the area that each pixel covers, or blends of two pixels where a picture grows.
    
    Args:
        pictures: ``(N, H, W)`` grey or ``(N, H, W, 3)`` uint8.
        height: Rows of the results, 1 .. 32768.
        width: Their columns, 1 .. 32768.
        second: More pictures of the same shape: the larger of both at each byte is resized. None: ``pictures`` alone.
        simd: Instruction set, as in :class:`ThreadPool`. Results do not depend on it.
    
    Returns:
        ``(N, height, width)`` or ``(N, height, width, 3)`` uint8.
    
    Raises:
        TypeError: An argument is no array of its dtype.
        ValueError: A shape, layout or value is wrong.
    """
def gae(rewards: numpy.typing.NDArray[numpy.float32], values: numpy.typing.NDArray[numpy.float32], next_value: numpy.typing.NDArray[numpy.float32], terminated: numpy.typing.NDArray[numpy.bool] | None = None, gamma: typing.SupportsFloat | typing.SupportsIndex = 0.99, gae_lambda: typing.SupportsFloat | typing.SupportsIndex = 0.95, *, truncated: numpy.typing.NDArray[numpy.bool] | None = None, final_values: numpy.typing.NDArray[numpy.float32] | None = None) -> numpy.typing.NDArray[numpy.float32]:
    """
    Compute generalised advantage estimates over one rollout.
    
    ``delta[t] = rewards[t] + gamma * values[t + 1] * (1 - terminated[t]) - values[t]`` and
    ``advantages[t] = delta[t] + gamma * gae_lambda * (1 - terminated[t]) * advantages[t + 1]``, summed in float64
    (Schulman et al. 2016, equation 16; RND paper, section 2.3).
    
    Args:
        rewards: ``(T, N)`` float32. Reward received after step ``t`` of environment ``n``.
        values: ``(T, N)`` float32. Value of the observation that step ``t`` acted on.
        next_value: ``(N,)`` float32. Value of the observation after the last step.
        terminated: ``(T, N)`` bool. The episode ended after step ``t``: neither the next value nor later advantages
            reach back over it. None: a non-episodic stream, as RND's intrinsic rewards are.
        gamma: Discount per step, in [0, 1].
        gae_lambda: Weight of longer returns, in [0, 1].
        truncated: ``(T, N)`` bool, with ``final_values``. The episode was cut off after step ``t`` although it had not
            terminated: later advantages do not reach back over it, and ``final_values`` takes the place of the next value.
            None: nothing is bootstrapped across a cut (pass ``terminated | truncated`` as ``terminated``, as the paper's
            authors do).
        final_values: ``(T, N)`` float32. Value of the last observation of the episode, read where ``truncated``.
    
    Returns:
        ``(T, N)`` float32, a new array.
    
    Raises:
        TypeError: An argument is no array of its dtype.
        ValueError: A shape, memory layout or discount is wrong, or only one of ``truncated``, ``final_values`` is given.
    
    Example:
        >>> one = np.ones((2, 1), np.float32)
        >>> gae(one, 0 * one, np.zeros(1, np.float32), gamma=1.0, gae_lambda=1.0).tolist()
        [[2.0], [1.0]]
    """
def games() -> list[dict[str, typing.Any]]:
    """
    The facts known about each game, by name.
    """
def gather_stacks(frames: numpy.typing.NDArray[numpy.uint8], valid_frames: numpy.typing.NDArray[numpy.uint8], indices: numpy.typing.NDArray[numpy.int64], *, out: numpy.typing.NDArray[typing.Any], pool: ThreadPool | None = None) -> None:
    """
    Gather stacks of frames, the policy's input, out of a frame store.
    
    Observation ``t`` of environment ``n`` is the frames ``frames[t : t + S, n]``, oldest first. Of these only the newest
    ``valid_frames[t, n]`` belong to its episode; the others read as zeros, as the reference implementation has them.
    
    Pixels are written as blocks of 4 x 4, channels last: ``out[b, y, x, 16 * (s * C + c) + 4 * i + j]`` is pixel
    ``(4 * y + i, 4 * x + j)`` of plane ``c`` of frame ``s``. An 8 x 8 convolution with stride 4 is a 2 x 2 convolution over
    them (``rndfast.learner.networks``). Rows and columns after the last whole block are left out.
    
    Args:
        frames: ``(R, N, C, H, W)`` uint8, H and W at least 4: every frame once.
        valid_frames: ``(R - S + 1, N)`` uint8, each in 1 .. S: frames of the episode in each observation.
        indices: ``(B,)`` int64: observations, as ``t * N + n``.
        out: ``(B, H // 4, W // 4, S * C * 16)``, filled in place. float32: pixel / 255. uint16: the bits of
            bfloat16(pixel / 255), rounded to nearest even (a ``torch.bfloat16`` tensor's ``.view(torch.uint16).numpy()``).
        pool: Threads to share the work; None: the calling thread alone.
    
    Raises:
        TypeError: An argument is no array of its dtype.
        ValueError: A shape, layout or value is wrong, or ``out`` is read-only or overlaps an input.
        KeyboardInterrupt: Ctrl-C; ``out`` is then filled in part.
    """
def normalize_frames(frames: numpy.typing.NDArray[numpy.uint8], indices: numpy.typing.NDArray[numpy.int64], mean: numpy.typing.NDArray[numpy.float64], var: numpy.typing.NDArray[numpy.float64], *, out: numpy.typing.NDArray[typing.Any], clip: typing.SupportsFloat | typing.SupportsIndex = 5.0, pool: ThreadPool | None = None) -> None:
    """
    Gather single frames as RND's input: ``clip((frame - mean) / std)``.
    
    Paper section 2.4. Accurate to float32 rounding of the exact quotient.
    
    Args:
        frames: ``(R, N, C, H, W)`` uint8, H and W at least 4: every frame once.
        indices: ``(B,)`` int64: frames, as ``row * N + n``.
        mean: ``(C, H, W)`` float64: mean of each pixel (``RunningMoments.mean``).
        var: ``(C, H, W)`` float64, above zero: its variance (``RunningMoments.var``).
        out: ``(B, H // 4, W // 4, C * 16)``, filled in place with blocks of 4 x 4 pixels (see :func:`gather_stacks`).
            float32, or uint16 for the bits of bfloat16.
        clip: Largest magnitude, above zero; 5 in the paper.
        pool: Threads to share the work; None: the calling thread alone.
    
    Raises:
        TypeError: An argument is no array of its dtype.
        ValueError: A shape, layout or value is wrong, or ``out`` is read-only or overlaps an input.
        KeyboardInterrupt: Ctrl-C; ``out`` is then filled in part.
    """
def palette(tv_format: str) -> tuple[numpy.typing.NDArray[numpy.uint8], numpy.typing.NDArray[numpy.uint8]]:
    """
    The Arcade Learning Environment's colours, by the console's colour byte.
    
    Args:
        tv_format: ``"ntsc"`` or ``"pal"``.
    
    Returns:
        ``(256,)`` grey levels and ``(256, 3)`` RGB, both uint8. Odd bytes are PAL without colour; NTSC has none.
    
    Raises:
        ValueError: ``tv_format`` is unknown.
    """
def usable_cores() -> int:
    """
    Cores that this process may use, by its affinity and the CPU quota of its control group.
    """
