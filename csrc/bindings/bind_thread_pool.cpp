// SPDX-License-Identifier: MIT
#include <memory>
#include <string>

#include "array.hpp"
#include "bindings.hpp"
#include "rndfast/common/thread_pool.hpp"
#include "rndfast/common/usable_cores.hpp"

namespace rndfast::bindings {
namespace py = pybind11;
using namespace py::literals;

namespace {

constexpr py::ssize_t kMaxThreads = 1024;

constexpr const char* kThreadPoolDoc = R"(Fixed worker threads for the kernels of rndfast.

Results never depend on the number of threads or on the instruction set.

Args:
    num_threads: Threads that share the work, the calling one included; 0: one for each core that the process may use.
    simd: Instruction set: ``"auto"`` (the best that this processor has), ``"baseline"``, ``"avx2"``, ``"avx512"``.

Raises:
    ValueError: ``num_threads`` is negative or above 1024; ``simd`` is unknown or not supported here.
    RuntimeError: Used in a process forked after construction (raised by the kernel that is given the pool).

Example:
    >>> ThreadPool(2).num_threads
    2
)";

std::shared_ptr<ThreadPool> make_thread_pool(py::ssize_t num_threads, const std::string& simd) {
  if (num_threads < 0 || num_threads > kMaxThreads) {
    throw py::value_error("num_threads must be in [0, " + std::to_string(kMaxThreads) + "], got " +
                          std::to_string(num_threads));
  }
  const SimdLevel level = simd == "auto" ? detect_simd_level() : parse_simd_level(simd);
  return std::make_shared<ThreadPool>(static_cast<std::size_t>(num_threads), level);
}

}  // namespace

std::shared_ptr<ThreadPool> resolve_pool(const OptionalPool& pool) {
  return pool.has_value() ? *pool : std::make_shared<ThreadPool>(1);
}

void bind_thread_pool(py::module_& m) {
  m.def(
      "usable_cores", [] { return usable_cores(); },
      "Cores that this process may use, by its affinity and the CPU quota of its control group.");
  PYBIND11_NUMPY_DTYPE(Span, start_ns, end_ns, thread, item);
  bind_class<ThreadPool, std::shared_ptr<ThreadPool>>(m, "ThreadPool", kThreadPoolDoc,
                                                      "its threads belong to this process: make one where it is used")
      .def(py::init(&make_thread_pool), "num_threads"_a = 0, py::kw_only(), "simd"_a = "auto")
      .def(
          "start_trace",
          [](ThreadPool& pool, std::int64_t max_spans) {
            pool.start_trace(static_cast<std::size_t>(require_int("max_spans", max_spans, 1, kMaxSpans)));
          },
          "max_spans"_a, kStartTraceDoc)
      .def(
          "take_trace", [](ThreadPool& pool) { return record_array(pool.take_trace()); }, kTakeTraceDoc)
      .def_property_readonly("num_threads", &ThreadPool::num_threads, "Threads that share the work.")
      .def_property_readonly(
          "simd_level", [](const ThreadPool& pool) { return std::string(simd_level_name(pool.simd_level())); },
          "Instruction set in use: ``\"baseline\"``, ``\"avx2\"`` or ``\"avx512\"``.");
}

}  // namespace rndfast::bindings
