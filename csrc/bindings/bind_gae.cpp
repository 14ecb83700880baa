// SPDX-License-Identifier: MIT
#include <optional>

#include "array.hpp"
#include "bindings.hpp"
#include "gil.hpp"
#include "rndfast/learner/gae.hpp"

namespace rndfast::bindings {
using namespace py::literals;

namespace {

constexpr const char* kGaeDoc = R"(Compute generalised advantage estimates over one rollout.

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
)";

py::array_t<float> gae(const ArrayArg<float>& rewards, const ArrayArg<float>& values, const ArrayArg<float>& next_value,
                       const std::optional<ArrayArg<bool>>& terminated, double gamma, double gae_lambda,
                       const std::optional<ArrayArg<bool>>& truncated,
                       const std::optional<ArrayArg<float>>& final_values) {
  const py::array rewards_array = require_array("rewards", rewards);
  require_shape("rewards", rewards_array, {kAny, kAny}, "(T, N)");
  const Shape shape = shape_of(rewards_array);
  const auto require_rollout = [&](const char* name, const auto& argument) {
    py::array array = require_array(name, argument);
    require_shape(name, array, shape, "(T, N)");
    return array;
  };
  const py::array values_array = require_rollout("values", values);
  const py::array next_value_array = require_array("next_value", next_value);
  require_shape("next_value", next_value_array, {shape[1]}, "(N,)");
  require_in_range("gamma", gamma, 0.0, 1.0);
  require_in_range("gae_lambda", gae_lambda, 0.0, 1.0);
  if (truncated.has_value() != final_values.has_value()) {
    throw py::value_error("truncated and final_values must be given together, got only " +
                          std::string(truncated ? "truncated" : "final_values"));
  }

  // the arrays below keep the views alive while the GIL is released
  py::array terminated_array;
  py::array truncated_array;
  py::array final_values_array;
  View2D<const bool> terminated_view{};
  View2D<const bool> truncated_view{};
  View2D<const float> final_values_view{};
  if (terminated) {
    terminated_array = require_rollout("terminated", *terminated);
    terminated_view = view_2d<bool>(terminated_array);
  }
  if (truncated) {
    truncated_array = require_rollout("truncated", *truncated);
    truncated_view = view_2d<bool>(truncated_array);
    final_values_array = require_rollout("final_values", *final_values);
    final_values_view = view_2d<float>(final_values_array);
  }

  py::array_t<float> out(shape);
  const auto rewards_view = view_2d<float>(rewards_array);
  const auto values_view = view_2d<float>(values_array);
  const auto next_value_view = view_flat<float>(next_value_array);
  const auto out_view = write_view_2d(out);
  {
    const GilRelease no_gil;  // only the views are touched
    compute_gae(rewards_view, values_view, next_value_view, terminated_view, truncated_view, final_values_view,
                out_view, {.gamma = gamma, .gae_lambda = gae_lambda});
  }
  return out;
}

}  // namespace

void bind_gae(py::module_& m) {
  m.def("gae", &gae, "rewards"_a, "values"_a, "next_value"_a, "terminated"_a = py::none(), "gamma"_a = 0.99,
        "gae_lambda"_a = 0.95, py::kw_only(), "truncated"_a = py::none(), "final_values"_a = py::none(), kGaeDoc);
}

}  // namespace rndfast::bindings
