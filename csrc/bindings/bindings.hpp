// SPDX-License-Identifier: MIT
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "bound_class.hpp"
#include "rndfast/common/thread_pool.hpp"
#include "rndfast/games/game.hpp"

namespace rndfast::bindings {

template <>
inline constexpr bool is_bound_class<ThreadPool> = true;

/// A `pool` argument, None by default.
using OptionalPool = std::optional<std::shared_ptr<ThreadPool>>;
/// The pool given, or one that runs everything on the calling thread.
std::shared_ptr<ThreadPool> resolve_pool(const OptionalPool& pool);

inline constexpr std::int64_t kMaxInt32 = std::numeric_limits<std::int32_t>::max();

/// Each throws ValueError unless the value is one that consoles and environments take.
const Game& require_game(const std::string& name);
std::int64_t require_int(const char* name, std::int64_t value, std::int64_t low, std::int64_t high);
/// `choices`: those that the game has of what is called `name`.
template <typename T>
T require_choice(const char* name, const Game& game, std::span<const T> choices, std::int64_t value);
/// The probability as the Arcade Learning Environment keeps it: six digits, read back as a float.
float require_probability(double value);

/// Spans that a trace has room for.
inline constexpr std::int64_t kMaxSpans = 1 << 24;
inline constexpr const char* kStartTraceDoc =
    "Begin to note what each thread works on and when: the next ``max_spans`` pieces of work.";
inline constexpr const char* kTakeTraceDoc = R"(End the trace and return it.

Returns:
    ``(n,)`` records of int64 ``start_ns`` and ``end_ns``, by the system's steady clock, and uint32 ``thread`` and
    ``item``.
)";

void bind_atari_batch(pybind11::module_& m);
void bind_console(pybind11::module_& m);
void bind_thread_pool(pybind11::module_& m);
void bind_running_moments(pybind11::module_& m);
void bind_discounted_return_filter(pybind11::module_& m);
void bind_gae(pybind11::module_& m);
void bind_frame_gather(pybind11::module_& m);
void bind_area_resize(pybind11::module_& m);

}  // namespace rndfast::bindings

namespace pybind11::detail {

/// As bound_class.hpp has it for a reference.
template <>
class type_caster<std::shared_ptr<rndfast::ThreadPool>>
    : public copyable_holder_caster<rndfast::ThreadPool, std::shared_ptr<rndfast::ThreadPool>> {
 public:
  // pybind11 calls the caster's own by its name
  bool load(handle source, bool convert) {  // NOLINT(bugprone-derived-method-shadowing-base-method)
    rndfast::bindings::require_initialized(source, typeinfo);
    return copyable_holder_caster::load(source, convert);
  }
};

}  // namespace pybind11::detail
