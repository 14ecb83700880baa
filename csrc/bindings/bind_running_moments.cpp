// SPDX-License-Identifier: MIT
#include <pybind11/typing.h>

#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "array.hpp"
#include "bindings.hpp"
#include "gil.hpp"
#include "rndfast/learner/running_moments.hpp"

namespace rndfast::bindings {
using namespace py::literals;

namespace {

constexpr const char* kMomentsDoc = R"(Running mean and variance of each element of a stream of arrays, in float64.

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
)";

constexpr const char* kUpdateDoc = R"(Merge a batch of samples.

Args:
    batch: ``(..., *shape)`` uint8 or float32; all leading axes count samples. An empty batch changes nothing.

Raises:
    TypeError: ``batch`` is no uint8 or float32 array.
    ValueError: Its shape or layout is wrong, or a float batch holds NaN or infinity.
    KeyboardInterrupt: Ctrl-C. After any exception the moments are as before.
)";

constexpr const char* kSetStateDoc = R"(Replace the state, to resume.

Args:
    count: Samples seen, at least 0.
    mean: ``shape`` float64.
    m2: ``shape`` float64, at least 0: the sum of squared deviations, ``var * count``.

Raises:
    TypeError: An array has another dtype.
    ValueError: A shape is wrong or a value not finite or negative.
)";

/// RunningMoments with the shape of one sample and the pool that Python gave.
struct Moments {
  RunningMoments moments;
  Shape shape;
  std::shared_ptr<ThreadPool> pool;
};

}  // namespace

template <>
inline constexpr bool is_bound_class<Moments> = true;

namespace {

constexpr py::ssize_t kMaxSize = py::ssize_t{1} << 40;  // elements; more could not be allocated, and sizes overflow

Shape parse_shape(const py::object& object) {
  Shape shape;
  py::ssize_t size = 1;
  if (!py::isinstance<py::sequence>(object) || py::isinstance<py::str>(object)) {
    throw py::type_error("shape must be a sequence of integers, got " +
                         std::string(py::str(py::type::of(object).attr("__name__"))));
  }
  for (const auto item : object) {
    if (PyIndex_Check(item.ptr()) == 0) {
      throw py::type_error("shape must be a sequence of integers, got " + std::string(py::repr(object)));
    }
    const py::ssize_t length = PyNumber_AsSsize_t(item.ptr(), nullptr);  // nullptr: a larger integer is clamped
    if (length == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
    if (length < 1)
      throw py::value_error("shape must have lengths of at least 1, got " + std::string(py::repr(object)));
    if (length > kMaxSize / size) {
      throw py::value_error("shape must have at most 2**40 elements, got " + std::string(py::repr(object)));
    }
    size *= length;
    shape.push_back(length);
  }
  return shape;
}

std::unique_ptr<Moments> make_moments(const py::object& shape_object, double prior_count, const OptionalPool& pool) {
  Shape shape = parse_shape(shape_object);
  if (!std::isfinite(prior_count) || prior_count < 0.0) {
    throw py::value_error("prior_count must be finite and at least 0, got " + number_text(prior_count));
  }
  std::size_t size = 1;
  for (const auto length : shape) size *= static_cast<std::size_t>(length);
  return std::make_unique<Moments>(Moments{RunningMoments(size, prior_count), std::move(shape), resolve_pool(pool)});
}

void update(Moments& self, const ArrayArg<void>& batch) {
  const py::array array = require_array("batch", batch.object, {py::dtype::of<std::uint8_t>(), py::dtype::of<float>()});
  const Shape shape = shape_of(array);
  const auto sample_axes = static_cast<std::ptrdiff_t>(self.shape.size());
  if (array.ndim() < sample_axes || !std::equal(self.shape.begin(), self.shape.end(), shape.end() - sample_axes)) {
    throw py::value_error("batch must have shape (..., *shape) with shape " + shape_text(self.shape) + ", got " +
                          shape_text(shape));
  }
  const bool is_uint8 = array.dtype().equal(py::dtype::of<std::uint8_t>());
  RunningMoments merged = self.moments;  // replaced as a whole at the end: an interrupted update leaves no trace
  {
    const GilRelease no_gil;  // only `merged`, the pool and the array's memory are touched
    if (is_uint8) {
      merged.update(view_flat<std::uint8_t>(array), *self.pool, check_signals);
    } else {
      merged.update(view_flat<float>(array), *self.pool, check_signals);
    }
  }
  self.moments = std::move(merged);
}

py::array_t<double> to_array(const Moments& self, std::span<const double> values) {
  return py::array_t<double>(self.shape, values.data());
}

py::array_t<double> variance(const Moments& self) {
  py::array_t<double> out(self.shape);
  const double count = self.moments.count();
  const auto m2 = self.moments.m2();
  double* const var = out.mutable_data();
  for (std::size_t i = 0; i < m2.size(); ++i) var[i] = count > 0.0 ? m2[i] / count : 1.0;
  return out;
}

void set_state(Moments& self, double count, const ArrayArg<double>& mean, const ArrayArg<double>& m2) {
  const py::array mean_array = require_array("mean", mean);
  const py::array m2_array = require_array("m2", m2);
  require_shape("mean", mean_array, self.shape, "shape");
  require_shape("m2", m2_array, self.shape, "shape");
  const auto is_valid = [](double value) { return std::isfinite(value) && value >= 0.0; };
  if (!is_valid(count)) {
    throw py::value_error("count must be finite and at least 0, got " + number_text(count));
  }
  if (!std::ranges::all_of(view_flat<double>(mean_array), [](double value) { return std::isfinite(value); })) {
    throw py::value_error("mean must be finite, got NaN or infinity");
  }
  if (!std::ranges::all_of(view_flat<double>(m2_array), is_valid)) {
    throw py::value_error("m2 must be finite and at least 0, got a negative value, NaN or infinity");
  }
  self.moments.set(count, view_flat<double>(mean_array), view_flat<double>(m2_array));
}

}  // namespace

void bind_running_moments(py::module_& m) {
  bind_class<Moments>(m, "RunningMoments", kMomentsDoc,
                      "store its count, mean and m2, and give them to set_state() of a new one")
      .def(py::init(&make_moments), "shape"_a, py::kw_only(), "prior_count"_a = 0.0, "pool"_a = py::none())
      .def("update", &update, "batch"_a, kUpdateDoc)
      .def("set_state", &set_state, py::kw_only(), "count"_a, "mean"_a, "m2"_a, kSetStateDoc)
      .def_property_readonly(
          "mean", [](const Moments& self) { return to_array(self, self.moments.mean()); },
          "``shape`` float64, a copy; zeros before the first sample.")
      .def_property_readonly("var", &variance,
                             "``shape`` float64, a copy: the population variance; ones before the first sample.")
      .def_property_readonly(
          "m2", [](const Moments& self) { return to_array(self, self.moments.m2()); },
          "``shape`` float64, a copy: the sum of squared deviations from the mean.")
      .def_property_readonly(
          "count", [](const Moments& self) { return self.moments.count(); }, "Samples seen, the prior's included.")
      .def_property_readonly(
          "shape",
          [](const Moments& self) -> py::typing::Tuple<py::ssize_t, py::ellipsis> {
            return py::tuple(py::cast(self.shape));
          },
          "Shape of one sample.");
}

}  // namespace rndfast::bindings
