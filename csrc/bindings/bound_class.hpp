// SPDX-License-Identifier: MIT
// What all classes that Python sees have in common: no method of theirs runs on an object whose __init__ has not, and
// none can be pickled by accident. pybind11 alone gives such a method uninitialised memory (`Class.__new__(Class)`),
// and `pickle` makes such objects.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <type_traits>

namespace rndfast::bindings {

namespace py = pybind11;

/// True for the classes that bind_class() takes; each specialises it, so that it gets the caster below.
template <typename T>
inline constexpr bool is_bound_class = false;

/// Throws TypeError if `source` is an object of the type, or of one derived from it, without a value.
void require_initialized(py::handle source, const py::detail::type_info* type);

/// Throws TypeError: an object of the class `name` cannot be pickled or copied. `advice` says what to do instead.
[[noreturn]] void refuse_pickling(const char* name, const char* advice);

/// A class of the module.
template <typename T, typename... Options>
py::class_<T, Options...> bind_class(py::module_& m, const char* name, const char* doc, const char* pickling_advice) {
  static_assert(is_bound_class<T>, "specialise is_bound_class for it");
  py::class_<T, Options...> type(m, name, doc);
  type.def(
      "__reduce__", [name, pickling_advice](const py::object&) -> py::str { refuse_pickling(name, pickling_advice); },
      "Refuse to be pickled or copied.");
  return type;
}

}  // namespace rndfast::bindings

namespace pybind11::detail {

template <typename T>
class type_caster<T, std::enable_if_t<rndfast::bindings::is_bound_class<T>>> : public type_caster_base<T> {
 public:
  bool load(handle source, bool convert) {
    rndfast::bindings::require_initialized(source, this->typeinfo);
    return type_caster_base<T>::load(source, convert);
  }
};

}  // namespace pybind11::detail
