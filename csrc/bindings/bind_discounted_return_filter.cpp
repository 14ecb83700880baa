// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <string>

#include "array.hpp"
#include "bindings.hpp"
#include "rndfast/learner/discounted_return_filter.hpp"

namespace rndfast::bindings {
using namespace py::literals;

template <>
inline constexpr bool is_bound_class<DiscountedReturnFilter> = true;

namespace {

constexpr const char* kFilterDoc = R"(Discounted sums of intrinsic rewards, one filter per environment.

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
)";

constexpr const char* kUpdateDoc = R"(Filter one rollout.

Args:
    rewards: ``(T, N)`` float32, finite.

Returns:
    ``(T, N)`` float32, a new array: the discounted sum at each step.

Raises:
    TypeError: ``rewards`` is no float32 array.
    ValueError: Its shape or layout is wrong, or it holds NaN or infinity; the filter is as before.
)";

FilterDirection parse_direction(const std::string& direction) {
  if (direction == "forward") return FilterDirection::kForward;
  if (direction == "backward") return FilterDirection::kBackward;
  throw py::value_error("direction must be 'forward' or 'backward', got '" + direction + "'");
}

constexpr py::ssize_t kMaxEnvs = py::ssize_t{1} << 32;  // more could not be allocated

bool all_finite(const auto& values) {
  return std::ranges::all_of(values, [](auto value) { return std::isfinite(value); });
}

DiscountedReturnFilter make_filter(py::ssize_t num_envs, double gamma, const std::string& direction) {
  if (num_envs < 1 || num_envs > kMaxEnvs) {
    throw py::value_error("num_envs must be in [1, 2**32], got " + std::to_string(num_envs));
  }
  require_in_range("gamma", gamma, 0.0, 1.0);
  return {static_cast<std::size_t>(num_envs), gamma, parse_direction(direction)};
}

py::array_t<float> update(DiscountedReturnFilter& filter, const ArrayArg<float>& rewards) {
  const py::array array = require_array("rewards", rewards);
  require_shape("rewards", array, {kAny, static_cast<py::ssize_t>(filter.num_envs())}, "(T, N)");
  if (!all_finite(view_flat<float>(array))) {
    throw py::value_error("rewards must be finite, got NaN or infinity (the filter is unchanged)");
  }
  py::array_t<float> out(shape_of(array));
  filter.update(view_2d<float>(array), write_view_2d(out));
  return out;
}

py::array_t<double> carry(const DiscountedReturnFilter& filter) {
  return py::array_t<double>(static_cast<py::ssize_t>(filter.num_envs()), filter.carry().data());
}

void set_carry(DiscountedReturnFilter& filter, const ArrayArg<double>& carry) {
  const py::array array = require_array("carry", carry);
  require_shape("carry", array, {static_cast<py::ssize_t>(filter.num_envs())}, "(N,)");
  if (!all_finite(view_flat<double>(array))) {
    throw py::value_error("carry must be finite, got NaN or infinity (the filter is unchanged)");
  }
  filter.set_carry(view_flat<double>(array));
}

}  // namespace

void bind_discounted_return_filter(py::module_& m) {
  bind_class<DiscountedReturnFilter>(m, "DiscountedReturnFilter", kFilterDoc,
                                     "store its carry, and assign it to that of a new one")
      .def(py::init(&make_filter), "num_envs"_a, py::kw_only(), "gamma"_a = 0.99, "direction"_a = "forward")
      .def("update", &update, "rewards"_a, kUpdateDoc)
      .def_property("carry", &carry, &set_carry,
                    "``(N,)`` float64: the sums after the last step seen, a copy. Assign to resume.")
      .def_property_readonly("num_envs", &DiscountedReturnFilter::num_envs, "N.")
      .def_property_readonly("gamma", &DiscountedReturnFilter::gamma, "Discount per step.")
      .def_property_readonly(
          "direction",
          [](const DiscountedReturnFilter& filter) {
            return filter.direction() == FilterDirection::kForward ? "forward" : "backward";
          },
          "``\"forward\"`` or ``\"backward\"``.");
}

}  // namespace rndfast::bindings
