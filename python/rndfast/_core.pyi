"""
The compiled core of rndfast. Use it through the rndfast package.
"""
from __future__ import annotations
import numpy
import numpy.typing
import typing
__all__: list[str] = ['DiscountedReturnFilter', 'RunningMoments', 'ThreadPool', 'gae', 'gather_stacks', 'normalize_frames']
class ThreadPool:
    """
    Fixed worker threads for the kernels of rndfast.
    
    Results never depend on the number of threads or on the instruction set.
    
    Args:
        num_threads: Threads that share the work, the calling one included; 0 means one per processor core.
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
def gather_stacks(frames: numpy.typing.NDArray[numpy.uint8], valid_frames: numpy.typing.NDArray[numpy.uint8], indices: numpy.typing.NDArray[numpy.int64], *, out: numpy.typing.NDArray[typing.Any], pool: ThreadPool | None = None) -> None:
    """
    Gather stacks of frames, the policy's input, out of a frame store.
    
    Observation ``t`` of environment ``n`` is the frames ``frames[t : t + S, n]``, oldest first. Of these only the newest
    ``valid_frames[t, n]`` belong to its episode; the others read as zeros, as the reference implementation has them.
    
    Args:
        frames: ``(R, N, ...)`` uint8: every frame once.
        valid_frames: ``(R - S + 1, N)`` uint8, each in 1 .. S: frames of the episode in each observation.
        indices: ``(B,)`` int64: observations, as ``t * N + n``.
        out: ``(B, S, ...)``, filled in place. uint8: the pixels. float32: pixel / 255. uint16: the bits of
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
        frames: ``(R, N, ...)`` uint8: every frame once.
        indices: ``(B,)`` int64: frames, as ``row * N + n``.
        mean: ``(...)`` float64: mean of each pixel (``RunningMoments.mean``).
        var: ``(...)`` float64, above zero: its variance (``RunningMoments.var``).
        out: ``(B, ...)``, filled in place. float32, or uint16 for the bits of bfloat16 (see :func:`gather_stacks`).
        clip: Largest magnitude, above zero; 5 in the paper.
        pool: Threads to share the work; None: the calling thread alone.
    
    Raises:
        TypeError: An argument is no array of its dtype.
        ValueError: A shape, layout or value is wrong, or ``out`` is read-only or overlaps an input.
        KeyboardInterrupt: Ctrl-C; ``out`` is then filled in part.
    """
