// SPDX-License-Identifier: MIT
#include "scalar.hpp"

#include <string>

#include "array.hpp"

namespace rndfast::bindings {
namespace {

bool is_numpy(py::handle value, const char* type) {
  return py::isinstance(value, py::module_::import("numpy").attr(type));
}

bool is_int(py::handle value) {
  return (PyLong_Check(value.ptr()) && !PyBool_Check(value.ptr())) || is_numpy(value, "integer");
}

py::type_error wrong_type(const char* name, const char* expected, py::handle value) {
  return py::type_error(std::string(name) + " must be " + expected + ", got " +
                        std::string(py::str(py::type::of(value).attr("__name__"))) + " " +
                        std::string(py::repr(value)));
}

}  // namespace

std::int64_t int_of(const char* name, py::handle value, std::int64_t low, std::int64_t high) {
  if (!is_int(value)) throw wrong_type(name, "an int", value);
  const py::int_ number(py::reinterpret_borrow<py::object>(value));
  int overflow = 0;
  const std::int64_t result = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
  if (overflow == 0 && result >= low && result <= high) return result;
  throw py::value_error(std::string(name) + " must be in [" + std::to_string(low) + ", " + std::to_string(high) +
                        "], got " + std::string(py::str(number)));
}

double float_of(const char* name, py::handle value, double low, double high) {
  if (!PyFloat_Check(value.ptr()) && !is_int(value) && !is_numpy(value, "floating")) {
    throw wrong_type(name, "a float", value);
  }
  const double result = PyFloat_AsDouble(value.ptr());
  if (result == -1.0 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  require_in_range(name, result, low, high);
  return result;
}

bool bool_of(const char* name, py::handle value) {
  if (!PyBool_Check(value.ptr()) && !is_numpy(value, "bool_")) throw wrong_type(name, "a bool", value);
  return py::cast<bool>(py::bool_(py::reinterpret_borrow<py::object>(value)));
}

}  // namespace rndfast::bindings
