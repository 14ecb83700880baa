// SPDX-License-Identifier: MIT
#include "bound_class.hpp"

namespace rndfast::bindings {

void require_initialized(py::handle source, const py::detail::type_info* type) {
  if (!source || type == nullptr || PyObject_TypeCheck(source.ptr(), type->type) == 0) return;
  if (reinterpret_cast<py::detail::instance*>(source.ptr())->get_value_and_holder(type).holder_constructed()) return;
  throw py::type_error(std::string(type->type->tp_name) + ".__init__() must be called before the object is used");
}

void refuse_pickling(const char* name, const char* advice) {
  throw py::type_error(std::string(name) + " cannot be pickled or copied: " + advice);
}

}  // namespace rndfast::bindings
