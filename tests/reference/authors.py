"""One iteration of the authors' training, written out plainly in float64, by their conventions.

Nothing of the package is used, and little is arranged as the package has it:

- Buffers are ``(nenvs, nsteps, ...)``; images are ``(84, 84, 4)`` with all four frames of every
  step, 0 to 255, the newest frame in the last channel.
- ``news[:, t]`` is 1 where observation ``t`` is the first of an episode. There are no "ends".
- Convolutions have weights ``(height, width, in, out)``, linear layers ``(in, out)``; an image is
  flattened row by row, channels last. Each gate of the GRU has one matrix for input and memory
  together, and one bias.
- Statistics are means and variances that are merged batch by batch, after Chan et al. (1983).
- Loops go over steps; PyTorch is used for its arithmetic and to differentiate.

In two places this does as the package does and not as TensorFlow 1, as nothing could be compared
otherwise: Adam adds epsilon after the correction of its bias (`Adam`), and the GRU resets the
memory after the matrix product (`gru_cell`). ``docs/algorithm.md`` lists both as deviations.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tests.reference.area_resize import resized
from torch import Tensor
from torch.nn.functional import conv2d

Array = NDArray[Any]
Float64Array = NDArray[np.float64]
Weights = dict[str, Tensor]  # "fc1/w", "fc1/b", ... float64

NMINIBATCHES, NEPOCHS = 4, 4
GAMMA_EXT, GAMMA_INT, LAM = 0.999, 0.99, 0.95
EXT_COEFF, INT_COEFF = 2.0, 1.0
CLIPRANGE = 0.1
# The sum of the losses times these is minimised.
LOSS_WEIGHTS = {
    "policy": 1.0,
    "int_value": 1.0,
    "ext_value": 1.0,
    "entropy": -0.001,
    "predictor": 1.0,
}
LEARNING_RATE, BETA1, BETA2, EPSILON = 1e-4, 0.9, 0.999, 1e-8
LEAKY_RELU_ALPHA = 0.2  # TensorFlow's default


# --- statistics -------------------------------------------------------------------------------


class RunningMeanStd:
    """Mean and variance of all samples so far; it starts with 1e-4 of them, of variance 1."""

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        self.mean = np.zeros(shape)
        self.var = np.ones(shape)
        self.count = 1e-4

    def update(self, x: Array) -> None:
        """Take in ``(B, *shape)`` samples."""
        samples = x.astype(np.float64)
        batch_count = len(samples)
        batch_mean = samples.sum(axis=0) / batch_count
        batch_var = np.square(samples - batch_mean).sum(axis=0) / batch_count
        delta = batch_mean - self.mean
        tot_count = self.count + batch_count
        m_a = self.var * self.count
        m_b = batch_var * batch_count
        m2 = m_a + m_b + np.square(delta) * self.count * batch_count / tot_count
        self.mean = self.mean + delta * batch_count / tot_count
        self.var = m2 / tot_count
        self.count = tot_count


class RewardForwardFilter:
    """The discounted sum of an environment's rewards up to now, which no episode's end resets."""

    def __init__(self, gamma: float) -> None:
        self.rewems: Float64Array | None = None
        self.gamma = gamma

    def update(self, rews: Float64Array) -> Float64Array:
        """Take in the rewards ``(nenvs,)`` of one step."""
        self.rewems = rews if self.rewems is None else self.rewems * self.gamma + rews
        return self.rewems


# --- networks ---------------------------------------------------------------------------------


def conv(x: Tensor, weights: Weights, scope: str, stride: int) -> Tensor:
    """Convolve ``(B, H, W, C)`` without padding."""
    kernel, images = weights[f"{scope}/w"].permute(3, 2, 0, 1), x.permute(0, 3, 1, 2)
    return conv2d(images, kernel, weights[f"{scope}/b"], stride).permute(0, 2, 3, 1)


def fc(x: Tensor, weights: Weights, scope: str) -> Tensor:
    """Apply a linear layer to ``(B, I)``."""
    return x @ weights[f"{scope}/w"] + weights[f"{scope}/b"]


def relu(x: Tensor) -> Tensor:
    """Zero below zero."""
    return torch.where(x > 0, x, torch.zeros_like(x))


def leaky_relu(x: Tensor) -> Tensor:
    """A fifth below zero."""
    return torch.where(x > 0, x, LEAKY_RELU_ALPHA * x)


def sigmoid(x: Tensor) -> Tensor:
    """Between 0 and 1."""
    return 1 / (1 + torch.exp(-x))


def gru_cell(x: Tensor, state: Tensor, new: Tensor, weights: Weights) -> Tensor:
    """The memory ``(B, nmem)`` after inputs ``(B, I)``; it is emptied where an episode is new.

    As in PyTorch's, the reset gate acts on what the matrix makes of the memory; in TensorFlow 1's
    cell it acts on the memory before the product.
    """
    state = state * (1 - new)[:, None]
    joint = torch.cat((x, state), dim=1)
    reset = sigmoid(fc(joint, weights, "gru_reset"))
    update = sigmoid(fc(joint, weights, "gru_update"))
    num_inputs = x.shape[1]
    of_input, of_state = (
        weights["gru_candidate/w"][:num_inputs],
        weights["gru_candidate/w"][num_inputs:],
    )
    candidate = torch.tanh(x @ of_input + weights["gru_candidate/b"] + reset * (state @ of_state))
    return update * state + (1 - update) * candidate


class Heads(NamedTuple):
    """What the policy says of ``(nenvs, nsteps)`` observations."""

    logits: Tensor  # (nenvs, nsteps, nac)
    vpred_int: Tensor  # (nenvs, nsteps)
    vpred_ext: Tensor  # (nenvs, nsteps)
    state: Tensor  # (nenvs, nmem): the memory after the last step; nmem is 0 without one


def apply_policy(ob: Array, news: Array, state: Tensor, weights: Weights) -> Heads:
    """Run the policy over a segment ``(nenvs, nsteps, 84, 84, 4)`` that begins with ``state``."""
    nenvs, nsteps = news.shape
    x = torch.from_numpy(ob.reshape(-1, *ob.shape[2:])).double() / 255
    x = relu(conv(x, weights, "c1", 4))
    x = relu(conv(x, weights, "c2", 2))
    x = relu(conv(x, weights, "c3", 1))
    x = relu(fc(x.reshape(len(x), -1), weights, "fc1"))
    if "gru_reset/w" in weights:
        inputs = x.reshape(nenvs, nsteps, -1)
        outputs = []
        for t in range(nsteps):
            new = torch.from_numpy(news[:, t]).double()
            state = gru_cell(inputs[:, t], state, new, weights)
            outputs.append(state)
        x = torch.stack(outputs, dim=1).reshape(nenvs * nsteps, -1)
    else:
        x = relu(fc(x, weights, "fc_additional"))
    of_value = x + relu(fc(x, weights, "fc2val"))
    of_action = x + relu(fc(x, weights, "fc2act"))
    return Heads(
        fc(of_action, weights, "pd").reshape(nenvs, nsteps, -1),
        fc(of_value, weights, "vf_int").reshape(nenvs, nsteps),
        fc(of_value, weights, "vf_ext").reshape(nenvs, nsteps),
        state,
    )


def prediction_errors(x: Tensor, weights: Weights) -> Tensor:
    """``(B,)``: mean squared difference of the features of ``(B, 84, 84, 1)`` whitened frames."""

    def features(network: str) -> Tensor:
        out = leaky_relu(conv(x, weights, f"{network}_c1", 4))
        out = leaky_relu(conv(out, weights, f"{network}_c2", 2))
        out = leaky_relu(conv(out, weights, f"{network}_c3", 1))
        return out.reshape(len(out), -1)

    target = fc(features("target"), weights, "target_fc1").detach()
    hidden = relu(fc(features("predictor"), weights, "predictor_fc1"))
    hidden = relu(fc(hidden, weights, "predictor_fc2"))
    predicted = fc(hidden, weights, "predictor_fc3")
    return torch.square(predicted - target).mean(dim=1)


def neglogp(logits: Tensor, ac: Array) -> Tensor:
    """Minus the log-probability of actions, whatever axes come before that of the logits."""
    normalizer = torch.logsumexp(logits, dim=-1)
    chosen = torch.gather(logits, -1, torch.from_numpy(ac)[..., None])[..., 0]
    return normalizer - chosen


def entropy(logits: Tensor) -> Tensor:
    """In nats."""
    normalizer = torch.logsumexp(logits, dim=-1, keepdim=True)
    return ((normalizer - logits) * torch.exp(logits - normalizer)).sum(dim=-1)


# --- optimiser --------------------------------------------------------------------------------


class Adam:
    """Algorithm 1 of Kingma and Ba, by hand.

    TensorFlow 1 has the form at the end of their section 2, with "epsilon hat": as if epsilon in
    step t were ``EPSILON / sqrt(1 - BETA2 ** t)``, 32 times as large in the first. Where gradients
    are about 1e-8 the two forms make steps that differ by far more than rounding, so that the
    package, whose Adam is PyTorch's, can only be compared with PyTorch's form.
    """

    def __init__(self, weights: Weights) -> None:
        self.m = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        self.v = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        self.t = 0

    def step(self, weights: Weights, grads: Weights) -> Weights:
        """Weights after one step against the gradients."""
        self.t += 1
        after = {}
        for name, grad in grads.items():
            self.m[name] = BETA1 * self.m[name] + (1 - BETA1) * grad
            self.v[name] = BETA2 * self.v[name] + (1 - BETA2) * grad * grad
            m_hat = self.m[name] / (1 - BETA1**self.t)
            v_hat = self.v[name] / (1 - BETA2**self.t)
            after[name] = weights[name] - LEARNING_RATE * m_hat / (torch.sqrt(v_hat) + EPSILON)
        return after


# --- observations -----------------------------------------------------------------------------


def warp_frame(frame: Array) -> Array:
    """OpenCV's grey of pictures ``(nenvs, 210, 160, 3)``, made smaller: ``(nenvs, 84, 84)``."""
    red, green, blue = np.moveaxis(frame.astype(np.int64), -1, 0)
    grey = (9798 * red + 19235 * green + 3735 * blue + (1 << 14)) >> 15
    return resized(grey.astype(np.uint8), 84, 84)


class VecFrameStack:
    """The last four frames of each environment, zeros where its episode has fewer."""

    def __init__(self, nenvs: int) -> None:
        self.stackedobs = np.zeros((nenvs, 84, 84, 4), np.uint8)

    def reset(self, obs: Array) -> Array:
        """Begin with the first frames ``(nenvs, 84, 84)``."""
        self.stackedobs[...] = 0
        self.stackedobs[..., -1] = obs
        return np.array(self.stackedobs)

    def step(self, obs: Array, news: Array) -> Array:
        """Add a frame; where it is an episode's first, those before it go."""
        self.stackedobs[...] = np.roll(self.stackedobs, shift=-1, axis=-1)
        for i, new in enumerate(news):
            if new:
                self.stackedobs[i] = 0
        self.stackedobs[..., -1] = obs
        return np.array(self.stackedobs)


# --- one iteration ----------------------------------------------------------------------------


class Segment(NamedTuple):
    """What nsteps of nenvs environments showed; the policy's draws are given, as ``acs``."""

    obs: Array  # (nenvs, nsteps + 1, 84, 84, 4) uint8
    news: Array  # (nenvs, nsteps + 1)
    acs: Array  # (nenvs, nsteps) int64
    rews_ext: Array  # (nenvs, nsteps), as the game gives them

    def cut(self, start: int, end: int) -> Segment:
        """Steps from ``start`` to before ``end``, and the observation after them."""
        return Segment(
            self.obs[:, start : end + 1],
            self.news[:, start : end + 1],
            self.acs[:, start:end],
            self.rews_ext[:, start:end],
        )


class Results(NamedTuple):
    """All that an iteration computes before it learns."""

    nlps: Float64Array  # (nenvs, nsteps): minus log-probabilities of the actions
    vpreds_int: Float64Array  # (nenvs, nsteps + 1)
    vpreds_ext: Float64Array  # (nenvs, nsteps + 1)
    rews_int: Float64Array  # (nenvs, nsteps), as all below
    advs: Float64Array
    rets_int: Float64Array
    rets_ext: Float64Array


class OptimizerStep(NamedTuple):
    """One of the 16 steps of an iteration."""

    losses: dict[str, float]
    grads: Weights


class PpoAgent:
    """The authors' agent, which is told what the environments showed and which numbers were drawn.

    For each segment comes `iterate`, then `optimize` 16 times. ``weights`` may be replaced at any
    time.

    Args:
        weights: Of policy, target and predictor, by the names in the functions above.
        nenvs: Environments.
        nmem: Units of the policy's memory; 0 for the one without.
    """

    def __init__(self, weights: Weights, nenvs: int, nmem: int) -> None:
        self.weights = weights
        self.ob_rms = RunningMeanStd((84, 84, 1))
        self.rff_int = RewardForwardFilter(GAMMA_INT)
        self.rff_rms_int = RunningMeanStd()
        self.state = torch.zeros((nenvs, nmem), dtype=torch.float64)
        learns = {name: w for name, w in weights.items() if not name.startswith("target")}
        self.adam = Adam(learns)

    def collect_random_statistics(self, obs: Array, nsteps: int) -> None:
        """Start ``ob_rms`` with a random agent's ``(nenvs, n, 84, 84, 4)``, nsteps at a time."""
        for start in range(0, obs.shape[1], nsteps):
            self.ob_rms.update(obs[:, start : start + nsteps, ..., -1:].reshape(-1, 84, 84, 1))

    def iterate(self, segment: Segment) -> Results:
        """Do all that comes before the optimiser's steps, the statistics' update included."""
        self.seg_init_state = self.state
        nlps, vpreds_int, vpreds_ext = self.interact(segment)
        raw_rews_int = self.calculate_intrinsic(segment)  # with the statistics before this segment
        rews_int = self.normalize_intrinsic(raw_rews_int)
        nsteps = segment.acs.shape[1]
        self.ob_rms.update(segment.obs[:, :nsteps, ..., -1:].reshape(-1, 84, 84, 1))

        never = np.zeros_like(segment.news)
        advs_int = calculate_advantages(rews_int, vpreds_int, never, GAMMA_INT)
        rews_ext = np.sign(segment.rews_ext.astype(np.float64))
        advs_ext = calculate_advantages(rews_ext, vpreds_ext, segment.news, GAMMA_EXT)
        return Results(
            nlps=nlps,
            vpreds_int=vpreds_int,
            vpreds_ext=vpreds_ext,
            rews_int=rews_int,
            advs=INT_COEFF * advs_int + EXT_COEFF * advs_ext,
            rets_int=advs_int + vpreds_int[:, :nsteps],
            rets_ext=advs_ext + vpreds_ext[:, :nsteps],
        )

    @torch.no_grad()
    def interact(self, segment: Segment) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Walk through the segment; the memory goes on, but not for the bootstrap at its end."""
        nenvs, nsteps = segment.acs.shape
        nlps = np.zeros((nenvs, nsteps))
        vpreds_int, vpreds_ext = np.zeros((2, nenvs, nsteps + 1))
        for t in range(nsteps + 1):
            here = slice(t, t + 1)
            heads = apply_policy(
                segment.obs[:, here], segment.news[:, here], self.state, self.weights
            )
            vpreds_int[:, t] = heads.vpred_int[:, 0]
            vpreds_ext[:, t] = heads.vpred_ext[:, 0]
            if t < nsteps:
                nlps[:, t] = neglogp(heads.logits[:, 0], segment.acs[:, t])
                self.state = heads.state
        return nlps, vpreds_int, vpreds_ext

    def whitened(self, ph_ob: Array) -> Tensor:
        """The last channel of the *next* observations, ``(nenvs * nsteps, 84, 84, 1)``.

        ``ph_ob`` is ``(nenvs, nsteps + 1, 84, 84, 4)``.
        """
        xr = ph_ob[:, 1:, ..., -1:].astype(np.float64)
        xr = np.clip((xr - self.ob_rms.mean) / np.sqrt(self.ob_rms.var), -5.0, 5.0)
        return torch.from_numpy(xr.reshape(-1, 84, 84, 1))

    @torch.no_grad()
    def calculate_intrinsic(self, segment: Segment) -> Float64Array:
        """``(nenvs, nsteps)``: the predictor's errors."""
        errors = prediction_errors(self.whitened(segment.obs), self.weights)
        rews: Float64Array = errors.numpy().reshape(segment.acs.shape)
        return rews

    def normalize_intrinsic(self, rews: Float64Array) -> Float64Array:
        """Divide by the deviation of the sums of past rewards, this segment's included."""
        sums = [self.rff_int.update(rews[:, t]) for t in range(rews.shape[1])]
        self.rff_rms_int.update(np.ravel(sums))
        scaled: Float64Array = rews / np.sqrt(self.rff_rms_int.var)
        return scaled

    def optimize(self, num: int, segment: Segment, results: Results, mask: Array) -> OptimizerStep:
        """Make step ``num`` of 16, on a slice of environments: four in order, in each of 4 epochs.

        ``mask``, ``(nenvs / 4, nsteps)``, says where the predictor is trained.
        """
        envsperbatch = len(segment.acs) // NMINIBATCHES
        start = num % NMINIBATCHES * envsperbatch
        step = self.differentiate(segment, results, slice(start, start + envsperbatch), mask)
        self.weights = self.weights | self.adam.step(self.weights, step.grads)
        return step

    def differentiate(
        self, segment: Segment, results: Results, envs: slice, mask: Array
    ) -> OptimizerStep:
        """Losses of a slice of environments, and the gradients of their weighted sum."""
        learns = {name: self.weights[name].detach().requires_grad_() for name in self.adam.m}
        weights = self.weights | learns
        advs, oldnlps, rets_int, rets_ext = (
            torch.from_numpy(values[envs])
            for values in (results.advs, results.nlps, results.rets_int, results.rets_ext)
        )
        heads = apply_policy(
            segment.obs[envs, :-1], segment.news[envs, :-1], self.seg_init_state[envs], weights
        )
        ratio = torch.exp(oldnlps - neglogp(heads.logits, segment.acs[envs]))
        pg_losses1 = -advs * ratio
        pg_losses2 = -advs * torch.clamp(ratio, 1 - CLIPRANGE, 1 + CLIPRANGE)
        errors = prediction_errors(self.whitened(segment.obs[envs]), weights)
        kept = torch.from_numpy(mask.ravel()).double()
        losses = {
            "policy": torch.maximum(pg_losses1, pg_losses2).mean(),
            "int_value": 0.5 * torch.square(heads.vpred_int - rets_int).mean(),
            "ext_value": 0.5 * torch.square(heads.vpred_ext - rets_ext).mean(),
            "entropy": entropy(heads.logits).mean(),
            "predictor": (kept * errors).sum() / max(float(kept.sum()), 1.0),
        }
        total = torch.stack([LOSS_WEIGHTS[name] * loss for name, loss in losses.items()]).sum()
        grads = torch.autograd.grad(total, list(learns.values()))
        return OptimizerStep(
            {name: float(loss.detach()) for name, loss in losses.items()},
            dict(zip(learns, grads, strict=True)),
        )


def calculate_advantages(
    rews: Float64Array, vpreds: Float64Array, news: Array, gamma: float
) -> Float64Array:
    """GAE of ``(nenvs, nsteps)`` rewards; values and ``news`` have one step more."""
    nenvs, nsteps = rews.shape
    advs = np.zeros((nenvs, nsteps))
    lastgaelam = np.zeros(nenvs)
    for t in range(nsteps - 1, -1, -1):
        nextnotnew = 1 - news[:, t + 1]
        delta = rews[:, t] + gamma * vpreds[:, t + 1] * nextnotnew - vpreds[:, t]
        lastgaelam = delta + gamma * LAM * nextnotnew * lastgaelam
        advs[:, t] = lastgaelam
    return advs
