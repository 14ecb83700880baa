// SPDX-License-Identifier: MIT
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <optional>

#include "rndfast/common/thread_pool.hpp"

namespace rndfast::bindings {

/// A `pool` argument, None by default.
using OptionalPool = std::optional<std::shared_ptr<ThreadPool>>;
/// The pool given, or one that runs everything on the calling thread.
std::shared_ptr<ThreadPool> resolve_pool(const OptionalPool& pool);

void bind_thread_pool(pybind11::module_& m);
void bind_running_moments(pybind11::module_& m);
void bind_discounted_return_filter(pybind11::module_& m);
void bind_gae(pybind11::module_& m);
void bind_frame_gather(pybind11::module_& m);

}  // namespace rndfast::bindings
