// SPDX-License-Identifier: MIT
// Numbers and switches from Python, NumPy's included, that are not converted silently: a bool is no number, and a float
// no integer.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>

namespace rndfast::bindings {

namespace py = pybind11;

/// Each throws TypeError for another type, ValueError unless low <= value <= high, with what was expected and what
/// came.
std::int64_t int_of(const char* name, py::handle value, std::int64_t low, std::int64_t high);
double float_of(const char* name, py::handle value, double low, double high);
bool bool_of(const char* name, py::handle value);

}  // namespace rndfast::bindings
