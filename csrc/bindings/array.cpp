// SPDX-License-Identifier: MIT
#include "array.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "gil.hpp"

namespace rndfast::bindings {
namespace {

std::string type_name(const py::object& object) { return py::str(py::type::of(object).attr("__name__")); }

std::string dtype_name(const py::dtype& dtype) { return py::str(dtype); }

/// Native dtypes are the same objects in most arrays; the comparison in Python finds the rest.
bool is_same(const py::dtype& left, const py::dtype& right) { return left.is(right) || left.equal(right); }

std::string alternatives(std::initializer_list<py::dtype> dtypes) {
  std::string text;
  for (const auto& dtype : dtypes) text += (text.empty() ? "" : " or ") + dtype_name(dtype);
  return text;
}

}  // namespace

std::string number_text(double value) {
  std::array<char, 32> text;  // the longest double takes 24 characters
  return {text.data(), std::to_chars(text.begin(), text.end(), value).ptr};
}

std::string shape_text(const Shape& shape) {
  std::string text = "(";
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    if (axis > 0) text += ", ";
    text += shape[axis] == kAny ? "any" : std::to_string(shape[axis]);
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

Shape shape_of(const py::array& array) { return {array.shape(), array.shape() + array.ndim()}; }

py::array require_array(const char* name, const py::object& object, std::initializer_list<py::dtype> dtypes) {
  const auto expected = [&] {  // built only for an error: NumPy takes microseconds to name a dtype
    return std::string(name) + " must be a NumPy array of " + alternatives(dtypes) + ", got ";
  };
  if (!py::isinstance<py::array>(object)) throw py::type_error(expected() + type_name(object));
  auto array = py::reinterpret_borrow<py::array>(object);
  if (std::ranges::none_of(dtypes, [&](const py::dtype& dtype) { return is_same(array.dtype(), dtype); })) {
    throw py::type_error(expected() + dtype_name(array.dtype()));
  }
  constexpr int kReadable = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if (!py::detail::check_flags(array.ptr(), kReadable)) {
    throw py::value_error(std::string(name) + " must be C-contiguous and aligned, got strides " +
                          shape_text({array.strides(), array.strides() + array.ndim()}) + " for shape " +
                          shape_text(shape_of(array)) + " (numpy.ascontiguousarray makes such a copy)");
  }
  return array;
}

py::array require_array(const char* name, const py::object& object, const py::dtype& dtype) {
  return require_array(name, object, {dtype});
}

void require_shape(const char* name, const py::array& array, const Shape& expected, const char* axes) {
  const Shape shape = shape_of(array);
  const bool matches = std::ranges::equal(
      shape, expected, [](py::ssize_t length, py::ssize_t wanted) { return wanted == kAny || length == wanted; });
  if (!matches) {
    throw py::value_error(std::string(name) + " must have shape " + axes + " = " + shape_text(expected) + ", got " +
                          shape_text(shape));
  }
}

void require_writable(const char* name, const py::array& array) {
  if (!array.writeable()) throw py::value_error(std::string(name) + " must be writable, got a read-only array");
}

void require_no_overlap(const char* out_name, const py::array& out, const char* in_name, const py::array& in) {
  const auto* const out_begin = static_cast<const char*>(out.data());
  const auto* const in_begin = static_cast<const char*>(in.data());
  if (out_begin < in_begin + in.nbytes() && in_begin < out_begin + out.nbytes()) {
    throw py::value_error(std::string(out_name) + " must not share memory with " + in_name);
  }
}

void require_in_range(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return;  // false for NaN
  throw py::value_error(std::string(name) + " must be in [" + number_text(low) + ", " + number_text(high) + "], got " +
                        number_text(value));
}

void CheckSignals::operator()() const {
  if (!is_main_thread()) return;  // Python handles signals in no other
  const GilAcquire gil;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

}  // namespace rndfast::bindings
