// SPDX-License-Identifier: MIT
// The only boundary with NumPy: unchecked arguments, and the checks that turn them into views.
//
// An argument of type ArrayArg<T> accepts any Python object, so that the checks below, not the overload resolution,
// say what is wrong: TypeError for a wrong type or dtype, ValueError for a wrong shape, layout or value, always with
// the argument's name, what was expected and what came. No check copies or converts.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "rndfast/common/view.hpp"

namespace rndfast::bindings {

namespace py = pybind11;

/// An argument that should be a NumPy array of T; `void` where several dtypes are allowed.
template <typename T>
struct ArrayArg {
  py::object object;
};

/// Number of elements along an axis that may have any length: no length and no stride, which may be -1.
inline constexpr py::ssize_t kAny = std::numeric_limits<py::ssize_t>::min();
using Shape = std::vector<py::ssize_t>;

/// The shortest text that reads back as `value`: a value just out of range does not look as if it were in it.
std::string number_text(double value);
std::string shape_text(const Shape& shape);
Shape shape_of(const py::array& array);

/// The array itself. Throws TypeError unless it is an array of `dtype`, ValueError unless C-contiguous and aligned.
py::array require_array(const char* name, const py::object& object, const py::dtype& dtype);
/// As above, for several dtypes.
py::array require_array(const char* name, const py::object& object, std::initializer_list<py::dtype> dtypes);
/// Throws ValueError unless the shape matches `expected`, in which kAny matches any length. `axes` names them: "(T,
/// N)".
void require_shape(const char* name, const py::array& array, const Shape& expected, const char* axes);
void require_writable(const char* name, const py::array& array);
/// Throws ValueError if writing `out` could change `in`.
void require_no_overlap(const char* out_name, const py::array& out, const char* in_name, const py::array& in);
/// Throws ValueError unless low <= value <= high.
void require_in_range(const char* name, double value, double low, double high);

template <typename T>
py::array require_array(const char* name, const ArrayArg<T>& argument) {
  return require_array(name, argument.object, py::dtype::of<T>());
}

template <typename T>
View2D<const T> view_2d(const py::array& array) {
  return {static_cast<const T*>(array.data()), static_cast<std::size_t>(array.shape(0)),
          static_cast<std::size_t>(array.shape(1))};
}

template <typename T>
std::span<const T> view_flat(const py::array& array) {
  return {static_cast<const T*>(array.data()), static_cast<std::size_t>(array.size())};
}

/// A new (rows, cols) array of T and its view.
template <typename T>
View2D<T> write_view_2d(py::array_t<T>& array) {
  return {array.mutable_data(), static_cast<std::size_t>(array.shape(0)), static_cast<std::size_t>(array.shape(1))};
}

/// A new structured array (n,) of plain records, whose type NumPy knows by PYBIND11_NUMPY_DTYPE.
template <typename T>
py::array record_array(const std::vector<T>& records) {
  return py::array_t<T>(static_cast<py::ssize_t>(records.size()), records.data());
}

/// A ThreadPool::Poll for kernels that run with the GIL released: raises KeyboardInterrupt after Ctrl-C.
struct CheckSignals {
  void operator()() const;
};
inline constexpr CheckSignals check_signals;

}  // namespace rndfast::bindings

namespace pybind11::detail {

template <typename T>
struct type_caster<rndfast::bindings::ArrayArg<T>> {
  static constexpr auto element_name() {
    if constexpr (std::is_void_v<T>) {
      return const_name("typing.Any");
    } else {
      return npy_format_descriptor<T>::name;
    }
  }
  PYBIND11_TYPE_CASTER(rndfast::bindings::ArrayArg<T>,
                       const_name("numpy.typing.NDArray[") + element_name() + const_name("]"));
  bool load(handle source, bool /*convert*/) {
    value.object = reinterpret_borrow<object>(source);
    return true;
  }
};

}  // namespace pybind11::detail
