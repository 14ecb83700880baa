// SPDX-License-Identifier: MIT
#include <pybind11/typing.h>

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "array.hpp"
#include "bindings.hpp"
#include "gil.hpp"
#include "rndfast/env/batch_calls.hpp"
#include "rndfast/env/snapshot.hpp"
#include "scalar.hpp"

namespace rndfast::bindings {
using namespace py::literals;

namespace {

constexpr const char* kAtariBatchDoc = R"(The engine of :class:`rndfast.AtariVectorEnv`, which documents the settings.

Further keyword arguments are settings; `settings` names them. Those that are left out have their defaults.
Every call names its environments, and only one call at a time may be under way for each.
)";

using SettingsDict = py::typing::Dict<py::str, py::object>;
using EntriesDict = py::typing::Dict<py::str, py::array>;
using PixelArray = py::array_t<std::uint8_t>;
using AnyArray = py::array;

/// The arrays of one step, a row for each of its environments. Those of columns are views of a table, which lives as
/// long as any of them.
class StepResults {
 public:
  StepResults(std::size_t num_rows, bool has_final) : table_(num_rows) {
    if (!has_final) return;
    final_table_.emplace(num_rows);
    final_observations_.resize(num_rows);
  }

  /// Whichever thread forgets it last needs the GIL to do so.
  static std::shared_ptr<StepResults> make(std::size_t num_rows, bool has_final) {
    return {new StepResults(num_rows, has_final), [](StepResults* old) {
              const GilAcquire gil;
              delete old;
            }};
  }

  std::size_t num_rows() const { return table_.table->num_rows(); }

  /// What a step fills: `out`, or else a new array of this shape, or else the one that it was given before.
  void prepare(const py::object& out, const Shape& shape) {
    if (out.is_none()) {
      if (!own_observations_) own_observations_ = PixelArray(shape);
      observations_ = *own_observations_;
    } else {
      observations_ = require_array("out", out, py::dtype::of<std::uint8_t>());
      require_shape("out", observations_, shape, "(n, stack_num, H, W[, 3])");
      require_writable("out", observations_);
    }
    for (std::size_t row = 0; row < final_observations_.size(); ++row) {
      if (final_observations_[row].empty() || !final_table_) continue;
      final_observations_[row].clear();
      final_table_->table->set(row, {});
    }
  }

  AtariBatch::Outputs outputs() {
    return {observations_.mutable_data(), table_.table.get(), final_table_ ? final_table_->table.get() : nullptr,
            final_observations_.data()};
  }

  const PixelArray& observations() const { return observations_; }
  AnyArray column(std::string_view name) { return table_.column(name); }
  /// An `info` with these columns and their masks, which are always set.
  EntriesDict entries(const py::typing::Tuple<py::str, py::ellipsis>& keys) {
    EntriesDict made;
    for (const py::handle key : keys) {
      const auto name = key.cast<std::string_view>();
      py::array_t<bool> mask(static_cast<py::ssize_t>(num_rows()));
      std::fill_n(mask.mutable_data(), num_rows(), true);
      made[key] = column(name);
      made[py::str("_" + std::string(name))] = mask;
    }
    return made;
  }
  AnyArray final_column(std::string_view name) { return final().column(name); }
  PixelArray final_observation(std::int64_t row) {
    final();
    require_int("row", row, 0, static_cast<std::int64_t>(num_rows()) - 1);
    const std::vector<std::uint8_t>& pixels = final_observations_[static_cast<std::size_t>(row)];
    if (pixels.empty()) throw py::value_error("no episode has ended in row " + std::to_string(row));
    Shape shape = shape_of(observations_);
    shape.erase(shape.begin());
    return PixelArray(shape, pixels.data());
  }

 private:
  /// A table and the arrays of its columns, which are made when they are first asked for.
  struct Columns {
    explicit Columns(std::size_t num_rows)
        : table(std::make_shared<StepTable>(num_rows)), owner(py::capsule(new std::shared_ptr(table), [](void* memory) {
            delete static_cast<std::shared_ptr<StepTable>*>(memory);
          })) {}

    AnyArray column(std::string_view name) {
      py::object found;
      for_each_column([&]<typename T>(const StepColumn<T>& column, std::size_t index) {
        if (name != column.name) return;
        if (!arrays[index]) {
          Shape shape = {static_cast<py::ssize_t>(table->num_rows())};
          if constexpr (std::is_array_v<T>) shape.push_back(static_cast<py::ssize_t>(std::extent_v<T>));
          arrays[index] = py::array(py::dtype::of<std::remove_extent_t<T>>(), shape, table->column(index), owner);
        }
        found = arrays[index];
      });
      if (!found) throw py::key_error(std::string(name));
      return found;
    }

    std::shared_ptr<StepTable> table;
    py::capsule owner;
    std::array<py::object, kNumStepColumns> arrays;
  };

  Columns& final() {
    if (!final_table_) throw std::logic_error("only in same-step mode are there final results");
    return *final_table_;
  }

  PixelArray observations_ = PixelArray(0);
  std::optional<PixelArray> own_observations_;
  Columns table_;
  std::optional<Columns> final_table_;                         // in same-step mode
  std::vector<std::vector<std::uint8_t>> final_observations_;  // likewise; empty where no episode has ended
};

using Received = std::tuple<PixelArray, AnyArray, AnyArray, AnyArray, std::shared_ptr<StepResults>>;
/// Integers of any kind.
using IntArray = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>;

class Batch {
 public:
  Batch(const std::string& game, const std::string& rom, std::size_t num_envs, const EnvSettings& settings,
        std::size_t num_threads, int first_cpu, const std::string& simd, bool copy, bool remembers_resets)
      : copies_(copy),
        all_ids_(num_envs),
        calls_(require_game(game), std::span(reinterpret_cast<const std::uint8_t*>(rom.data()), rom.size()), settings,
               num_envs, num_threads, first_cpu, simd == "auto" ? detect_simd_level() : parse_simd_level(simd),
               remembers_resets) {
    std::iota(all_ids_.begin(), all_ids_.end(), 0);
  }

  void reset(const ArrayArg<std::int64_t>& env_ids, const ArrayArg<std::int64_t>& seeds) {
    const py::array ids = require_array("env_ids", env_ids);
    const py::array seed_values = require_array("seeds", seeds);
    require_shape("env_ids", ids, {kAny}, "(n,)");
    require_shape("seeds", seed_values, {ids.size()}, "(n,)");
    const auto id_list = copy_of(ids);
    const auto seed_list = copy_of(seed_values);
    const GilRelease no_gil;
    calls_.reset(id_list, seed_list, check_signals);
  }

  void send(const ArrayArg<void>& actions, const py::object& env_ids, const py::object& out, bool waits) {
    require_owner();
    if (waits && !calls_.is_idle()) throw std::runtime_error("a step is under way: call recv() or reset() first");
    std::vector<std::int64_t> id_list;
    std::span<const std::int64_t> ids = all_ids_;
    if (!env_ids.is_none()) {
      const IntArray id_array = require_integers("env_ids", env_ids);
      if (id_array.ndim() != 1) {
        throw py::value_error("env_ids must have shape (n,), got " + shape_text(shape_of(id_array)));
      }
      ids = id_list = copy_of(id_array);
    }
    const IntArray action_array = require_integers("actions", actions.object);
    const auto num_rows = static_cast<py::ssize_t>(ids.size());
    if (action_array.ndim() != 1 || action_array.size() != num_rows) {
      throw py::value_error("actions must have shape " + shape_text({num_rows}) + ", got " +
                            shape_text(shape_of(action_array)));
    }
    const std::shared_ptr<StepResults> results = new_results(ids.size(), out);
    const AtariBatch::Outputs outputs = results->outputs();
    const auto action_values = copy_of(action_array);
    const GilRelease no_gil;
    calls_.send(ids, action_values, outputs, results,
                waits ? WorkerQueue::Start::kAllButThread0 : WorkerQueue::Start::kAllThreads, check_signals);
  }

  Received receive() {
    require_owner();
    const auto memory = [&] {
      const GilRelease no_gil;
      return calls_.receive(check_signals);
    }();
    auto results = std::static_pointer_cast<StepResults>(memory);
    if (!copies_) {
      received_.push_back(results);
      if (received_.size() > kNumValid) {
        spare_.push_back(std::move(received_.front()));
        received_.pop_front();
      }
    }
    return {results->observations(), results->column("reward"), results->column("terminated"),
            results->column("truncated"), results};
  }

  bool is_idle() const { return calls_.is_idle(); }

  std::shared_ptr<StepResults> observe() {
    const AtariBatch& batch = idle_batch();
    const std::shared_ptr<StepResults> results = StepResults::make(batch.num_envs(), false);
    results->prepare(py::none(), observations_shape(batch.num_envs()));
    const AtariBatch::Outputs outputs = results->outputs();
    for (std::size_t env = 0; env < batch.num_envs(); ++env) {
      StepRecord record;
      batch.observe(env, outputs.observations + env * batch.plan().observation_size(), record);
      outputs.table->set(env, record);
    }
    return results;
  }

  PixelArray render(std::int64_t env) {
    require_int("env", env, 0, static_cast<std::int64_t>(num_envs()) - 1);
    AtariBatch& batch = idle_batch();
    PixelArray out({static_cast<py::ssize_t>(batch.plan().picture_height()), static_cast<py::ssize_t>(kScreenWidth),
                    py::ssize_t{3}});
    batch.render(static_cast<std::size_t>(env), out.mutable_data());
    return out;
  }

  py::bytes snapshot() {
    const std::vector<std::uint8_t> bytes = idle_batch().snapshot();
    return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  /// With the GIL, so that no other thread steps the environments meanwhile.
  void copy_state(const ArrayArg<std::uint8_t>& out) {
    py::array array = require_array("out", out);
    AtariBatch& batch = idle_batch();
    require_shape("out", array, {static_cast<py::ssize_t>(batch.snapshot_bytes())}, "(snapshot_bytes,)");
    require_writable("out", array);
    batch.copy_state({static_cast<std::uint8_t*>(array.mutable_data()), batch.snapshot_bytes()});
  }
  std::size_t snapshot_bytes() const { return calls_.batch().snapshot_bytes(); }

  void restore(const py::bytes& snapshot) {
    const std::string_view view = snapshot;
    idle_batch().restore({reinterpret_cast<const std::uint8_t*>(view.data()), view.size()});
  }

  std::vector<py::bytes> get_states(const py::object& env_ids) {
    const AtariBatch& batch = idle_batch();
    std::vector<py::bytes> states;
    for (const std::int64_t id : ids_of("env_ids", env_ids)) {
      const std::vector<std::uint8_t> bytes = batch.snapshot_of(static_cast<std::size_t>(id));
      states.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    return states;
  }

  void set_states(const py::object& env_ids, const std::vector<py::bytes>& states) {
    AtariBatch& batch = idle_batch();
    const std::vector<std::int64_t> ids = distinct_ids_of("env_ids", env_ids);
    if (states.size() != ids.size()) {
      throw py::value_error("states must be one for each of " + std::to_string(ids.size()) + " environments, got " +
                            std::to_string(states.size()));
    }
    std::vector<std::span<const std::uint8_t>> views;
    for (const py::bytes& state : states) {
      const std::string_view view = state;
      views.emplace_back(reinterpret_cast<const std::uint8_t*>(view.data()), view.size());
    }
    batch.restore_each(ids, views);
  }

  void copy_states(const py::object& source_ids, const py::object& target_ids) {
    AtariBatch& batch = idle_batch();
    const std::vector<std::int64_t> sources = ids_of("source_ids", source_ids);
    const std::vector<std::int64_t> targets = distinct_ids_of("target_ids", target_ids);
    if (sources.size() != targets.size()) {
      throw py::value_error("target_ids must have shape " + shape_text({static_cast<py::ssize_t>(sources.size())}) +
                            ", as source_ids, got " + shape_text({static_cast<py::ssize_t>(targets.size())}));
    }
    batch.copy_states(sources, targets);
  }

  void start_trace(std::int64_t max_spans) {
    calls_.batch().start_trace(static_cast<std::size_t>(require_int("max_spans", max_spans, 1, kMaxSpans)));
  }
  py::array take_trace() { return record_array(calls_.batch().take_trace()); }

  void require_owner() const { calls_.batch().require_owner(); }
  std::size_t num_envs() const { return calls_.batch().num_envs(); }
  std::size_t num_threads() const { return calls_.batch().num_threads(); }
  const EnvSettings& settings() const { return calls_.batch().plan().settings(); }
  std::vector<int> action_set() const {
    std::vector<int> actions;
    for (const Action action : calls_.batch().plan().actions()) actions.push_back(static_cast<int>(action));
    return actions;
  }

 private:
  static constexpr std::size_t kNumValid = 2;  // received results that stay as they are without `copy`

  AtariBatch& idle_batch() {
    const GilRelease no_gil;
    calls_.finish_all(check_signals);
    return calls_.batch();
  }

  /// Other threads may write to the array while what it holds is checked and used.
  static std::vector<std::int64_t> copy_of(const py::array& integers) {
    const auto view = view_flat<std::int64_t>(integers);
    return {view.begin(), view.end()};
  }

  /// Numbers of environments that exist.
  std::vector<std::int64_t> ids_of(const char* name, const py::object& object) const {
    const IntArray array = require_integers(name, object);
    if (array.ndim() != 1) {
      throw py::value_error(std::string(name) + " must have shape (n,), got " + shape_text(shape_of(array)));
    }
    std::vector<std::int64_t> ids = copy_of(array);
    for (const std::int64_t id : ids) {
      if (id >= 0 && id < static_cast<std::int64_t>(num_envs())) continue;
      throw py::value_error(std::string(name) + " must be in [0, " + std::to_string(num_envs() - 1) + "], got " +
                            std::to_string(id));
    }
    return ids;
  }
  std::vector<std::int64_t> distinct_ids_of(const char* name, const py::object& object) const {
    std::vector<std::int64_t> ids = ids_of(name, object);
    std::vector<bool> is_named(num_envs());
    for (const std::int64_t id : ids) {
      if (is_named[static_cast<std::size_t>(id)]) {
        throw py::value_error(std::string(name) + " must name each environment once, got " + std::to_string(id) +
                              " twice");
      }
      is_named[static_cast<std::size_t>(id)] = true;
    }
    return ids;
  }

  static IntArray require_integers(const char* name, const py::object& object) {
    if (py::isinstance<IntArray>(object)) return py::reinterpret_borrow<IntArray>(object);  // nothing to convert
    if (!py::isinstance<py::array>(object)) {
      throw py::type_error(std::string(name) + " must be a NumPy array, got " +
                           std::string(py::str(py::type::of(object).attr("__name__"))));
    }
    const auto array = py::reinterpret_borrow<py::array>(object);
    if (const char kind = array.dtype().kind(); kind != 'i' && kind != 'u') {
      throw py::type_error(std::string(name) + " must have an integer dtype, got " +
                           std::string(py::str(array.dtype())));
    }
    auto integers = IntArray::ensure(array);
    if (!integers) throw py::error_already_set();
    return integers;
  }

  Shape observations_shape(std::size_t num_rows) const {
    Shape shape = {static_cast<py::ssize_t>(num_rows), settings().stack_num, settings().img_height,
                   settings().img_width};
    if (!settings().grayscale) shape.push_back(3);
    return shape;
  }

  std::shared_ptr<StepResults> new_results(std::size_t num_rows, const py::object& out) {
    const auto found = std::ranges::find_if(  // that nobody reads any more
        spare_, [&](const auto& results) { return results->num_rows() == num_rows && results.use_count() == 1; });
    std::shared_ptr<StepResults> results;
    if (found != spare_.end()) {
      results = std::move(*found);
      spare_.erase(found);
    } else {
      results = StepResults::make(num_rows, settings().autoreset == Autoreset::kSameStep);
    }
    results->prepare(out, observations_shape(num_rows));
    return results;
  }

  bool copies_;
  std::vector<std::int64_t> all_ids_;
  std::deque<std::shared_ptr<StepResults>> received_;  // last; none if it copies
  std::vector<std::shared_ptr<StepResults>> spare_;    // that may be filled again
  BatchCalls calls_;
};

// How the value of each kind of setting comes from Python, and goes there. None leaves a choice at its default.

void set(EnvSettings& settings, const NumberField<float>& field, const Game&, py::handle value) {
  settings.*field.member = require_probability(float_of(field.name, value, field.low, field.high));
}

void set(EnvSettings& settings, const NumberField<std::int32_t>& field, const Game&, py::handle value) {
  settings.*field.member = static_cast<std::int32_t>(int_of(field.name, value, field.low, field.high));
}

void set(EnvSettings& settings, const SwitchField& field, const Game&, py::handle value) {
  settings.*field.member = bool_of(field.name, value);
}

template <typename Member, typename T>
void set(EnvSettings& settings, const ChoiceField<Member, T>& field, const Game& game, py::handle value) {
  if (value.is_none()) return;
  settings.*field.member =
      require_choice(field.name, game, game.*field.choices, int_of(field.name, value, 0, kNoLimit));
}

void set(EnvSettings& settings, const AutoresetField& field, const Game&, py::handle value) {
  if (!py::isinstance<py::str>(value)) {
    throw py::type_error(std::string(field.name) + " must be a str, got " +
                         std::string(py::str(py::type::of(value).attr("__name__"))));
  }
  const auto found = std::ranges::find(kAutoresetNames, py::cast<std::string>(value));
  if (found == kAutoresetNames.end()) {
    throw py::value_error(std::string(field.name) + " must be 'NextStep', 'SameStep' or 'Disabled', got " +
                          std::string(py::repr(value)));
  }
  settings.*field.member = static_cast<Autoreset>(found - kAutoresetNames.begin());
}

py::object python_of(Autoreset mode) { return py::str(std::string(kAutoresetNames[static_cast<std::size_t>(mode)])); }
template <typename T>
py::object python_of(const T& value) {
  return py::cast(value);
}

SettingsDict dict_of(const EnvSettings& settings) {
  SettingsDict values;
  for_each_setting([&](const auto& field) { values[field.name] = python_of(settings.*field.member); });
  return values;
}

EnvSettings settings_of(const Game& game, const py::kwargs& arguments) {
  EnvSettings settings;
  std::size_t num_taken = 0;
  for_each_setting([&](const auto& field) {
    if (!arguments.contains(field.name)) return;
    set(settings, field, game, arguments[field.name]);
    ++num_taken;
  });
  if (num_taken != arguments.size()) {
    throw py::type_error("AtariBatch got an unexpected keyword argument: " + std::string(py::repr(arguments)));
  }
  return settings;
}

}  // namespace

template <>
inline constexpr bool is_bound_class<StepResults> = true;
template <>
inline constexpr bool is_bound_class<Batch> = true;

void bind_atari_batch(py::module_& m) {
  m.def(
      "add_snapshot_sum",
      [](const ArrayArg<std::uint8_t>& snapshot) {
        py::array array = require_array("snapshot", snapshot);
        require_writable("snapshot", array);
        add_sum({static_cast<std::uint8_t*>(array.mutable_data()), static_cast<std::size_t>(array.size())});
      },
      "snapshot"_a.noconvert(), "Complete, in place, what `AtariBatch.copy_state` wrote: it is a snapshot then.");
  bind_class<StepResults, std::shared_ptr<StepResults>>(m, "StepResults", "What one step or observation gave.",
                                                        "take its arrays")
      .def_property_readonly("observations", &StepResults::observations, "``(n, stack_num, H, W)`` or with a last 3.")
      .def("column", &StepResults::column, "name"_a, "``(n,)``, of each environment; ``ram`` is ``(n, 128)``.")
      .def("entries", &StepResults::entries, "keys"_a, "A dict of these columns and, as ``_<key>``, their masks.")
      .def("final_column", &StepResults::final_column, "name"_a,
           "The same at the end of the episode that ended in the step; 0 where none did. In same-step mode only.")
      .def("final_observation", &StepResults::final_observation, "row"_a,
           "A copy of the last observation of the episode that ended in a row.");
  bind_class<Batch>(m, "AtariBatch", kAtariBatchDoc,
                    "store what snapshot() returns, and restore() it into others of the same settings")
      .def(py::init([](const std::string& game, const py::bytes& rom, const py::object& num_envs,
                       const py::object& num_threads, const py::object& first_cpu, const std::string& simd,
                       const py::object& copy, bool remembers_resets, const py::KWArgs<py::object>& settings) {
             const auto envs = static_cast<std::size_t>(int_of("num_envs", num_envs, 1, 65'536));
             const auto threads = static_cast<std::size_t>(int_of("num_threads", num_threads, 0, 1024));
             const auto cpu = static_cast<int>(int_of("thread_affinity_offset", first_cpu, -1, 65'535));
             return std::make_unique<Batch>(game, rom, envs, settings_of(require_game(game), settings), threads, cpu,
                                            simd, bool_of("copy", copy), remembers_resets);
           }),
           "game"_a, "rom"_a, py::kw_only(), "num_envs"_a, "num_threads"_a = 0, "thread_affinity_offset"_a = -1,
           "simd"_a = "auto", "copy"_a = true, "remembers_resets"_a = true)
      .def("reset", &Batch::reset, "env_ids"_a, "seeds"_a,
           "Reset environments; a seed of -1 goes on with the present random stream.")
      .def("send", &Batch::send, "actions"_a, "env_ids"_a = py::none(), "out"_a = py::none(), "waits"_a = false,
           "Begin to step environments; `waits`: the next call is `recv`. See :meth:`rndfast.AtariVectorEnv.send`.")
      .def("recv", &Batch::receive,
           "Wait for the oldest `send`. Returns observations, rewards, terminations, truncations and all results.")
      .def("render", &Batch::render, "env"_a, "``(height, 160, 3)`` uint8: the console's present picture.")
      .def("observe", &Batch::observe, "All environments as they are now.")
      .def("snapshot", &Batch::snapshot, "The state of all environments.")
      .def("copy_state", &Batch::copy_state, "out"_a.noconvert(),
           "The same, but for the sum that `add_snapshot_sum` adds, into ``(snapshot_bytes,)`` uint8.")
      .def_property_readonly("snapshot_bytes", &Batch::snapshot_bytes, "Size of a snapshot.")
      .def("restore", &Batch::restore, "snapshot"_a, "Return to a state.")
      .def("get_states", &Batch::get_states, "env_ids"_a, "A snapshot of each of some environments.")
      .def("set_states", &Batch::set_states, "env_ids"_a, "states"_a, "Return each of some environments to a state.")
      .def("copy_states", &Batch::copy_states, "source_ids"_a, "target_ids"_a,
           "Put the states of some environments into others.")
      .def("start_trace", &Batch::start_trace, "max_spans"_a, kStartTraceDoc)
      .def("take_trace", &Batch::take_trace, kTakeTraceDoc)
      .def("require_owner", &Batch::require_owner, "Raise RuntimeError in a forked process.")
      .def_property_readonly("is_idle", &Batch::is_idle, "Whether no step is under way.")
      .def_property_readonly(
          "settings", [](const Batch& batch) { return dict_of(batch.settings()); }, "The settings in force, by name.")
      .def_property_readonly("num_envs", &Batch::num_envs, "Environments.")
      .def_property_readonly("num_threads", &Batch::num_threads, "Worker threads.")
      .def_property_readonly("action_set", &Batch::action_set, "The Arcade Learning Environment's numbers of actions.");
}

}  // namespace rndfast::bindings
