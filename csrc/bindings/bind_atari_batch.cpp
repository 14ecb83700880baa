// SPDX-License-Identifier: MIT
#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "array.hpp"
#include "bindings.hpp"
#include "rndfast/env/atari_batch.hpp"
#include "scalar.hpp"

namespace rndfast::bindings {
using namespace py::literals;

namespace {

constexpr const char* kAtariBatchDoc = R"(The engine of :class:`rndfast.AtariVectorEnv`, which documents the settings.

Further keyword arguments are settings; `settings` names them. Those that are left out have their defaults.
Observations are ``(n, stack_num, H, W)`` or ``(n, stack_num, H, W, 3)`` uint8, records a structured ``(n,)`` array.
Every call names its environments, and only one call at a time may be under way for each.
)";

/// One environment's row of results, in arrays that a call fills and the caller receives.
struct Results {
  py::array_t<std::int64_t> env_ids;
  py::array_t<std::uint8_t> observations;
  py::array_t<StepRecord> records;
  py::array_t<StepRecord> final_records;
  py::array_t<std::uint8_t> final_observations;
};

using PixelArray = py::array_t<std::uint8_t>;
using AnyArray = py::array;  // of records, whose type has no name in Python
using ReceivedResults = std::tuple<py::array_t<std::int64_t>, PixelArray, AnyArray, AnyArray, PixelArray>;

class Batch {
 public:
  Batch(const std::string& game, const std::string& rom, std::size_t num_envs, const EnvSettings& settings,
        std::size_t num_threads, int first_cpu, const std::string& simd)
      : is_under_way_(num_envs),
        batch_(std::make_unique<AtariBatch>(
            require_game(game), std::span(reinterpret_cast<const std::uint8_t*>(rom.data()), rom.size()), settings,
            num_envs, num_threads, first_cpu, simd == "auto" ? detect_simd_level() : parse_simd_level(simd))) {}

  void reset(const ArrayArg<std::int64_t>& env_ids, const ArrayArg<std::int64_t>& seeds) {
    finish_all();
    std::vector<std::int64_t> ids = require_env_ids(env_ids);
    std::vector<std::int64_t> seed_values = vector_of("seeds", seeds, ids.size());
    Results results = new_results(ids, py::none());
    auto call = batch_->start_reset(std::move(ids), std::move(seed_values), outputs_of(results));
    start(std::move(call), std::move(results), true);
    finish_all();
  }

  void send(const ArrayArg<std::int64_t>& env_ids, const ArrayArg<std::int64_t>& actions, const py::object& out) {
    finish_resets();
    std::vector<std::int64_t> ids = require_env_ids(env_ids);
    for (const std::int64_t id : ids) {
      if (is_under_way_[static_cast<std::size_t>(id)]) {
        throw std::runtime_error("env " + std::to_string(id) +
                                 " is still under way: call recv() before stepping it again");
      }
    }
    if (batch_->plan().settings().autoreset == Autoreset::kDisabled) {
      for (const std::int64_t id : ids) {
        if (!batch_->has_ended(static_cast<std::size_t>(id))) continue;
        throw std::runtime_error("the episode of env " + std::to_string(id) +
                                 " has ended and autoreset is disabled: "
                                 "call reset(options={\"reset_mask\": mask}) first");
      }
    }
    std::vector<std::int64_t> action_values = vector_of("actions", actions, ids.size());
    Results results = new_results(ids, out);
    auto call = batch_->start_step(std::move(ids), std::move(action_values), outputs_of(results));
    start(std::move(call), std::move(results), false);
  }

  ReceivedResults receive() {
    finish_resets();
    if (calls_.empty()) throw std::runtime_error("nothing is under way: call send() before recv()");
    finish_first();
    Results results = std::move(calls_.front().results);
    calls_.pop_front();
    return {results.env_ids, results.observations, results.records, results.final_records, results.final_observations};
  }

  /// Whether no step is under way. A reset that Ctrl-C interrupted goes on by itself.
  bool is_idle() const {
    return std::ranges::all_of(calls_, [](const PendingCall& call) { return call.is_reset; });
  }

  std::pair<PixelArray, AnyArray> observe() {
    finish_all();
    const auto num_envs = static_cast<py::ssize_t>(batch_->num_envs());
    py::array_t<std::uint8_t> observations(observations_shape(num_envs));
    py::array_t<StepRecord> records(num_envs);
    const std::size_t size = batch_->plan().observation_size();
    for (std::size_t env = 0; env < batch_->num_envs(); ++env) {
      batch_->observe(env, observations.mutable_data() + env * size, records.mutable_data()[env]);
    }
    return {observations, records};
  }

  py::array_t<std::uint8_t> render(std::size_t env) {
    finish_all();
    py::array_t<std::uint8_t> out({static_cast<py::ssize_t>(batch_->plan().picture_height()),
                                   static_cast<py::ssize_t>(kScreenWidth), py::ssize_t{3}});
    batch_->render(env, out.mutable_data());
    return out;
  }

  py::bytes snapshot() {
    finish_all();
    const std::vector<std::uint8_t> bytes = batch_->snapshot();
    return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  void restore(const py::bytes& snapshot) {
    finish_all();
    const std::string_view view = snapshot;
    batch_->restore({reinterpret_cast<const std::uint8_t*>(view.data()), view.size()});
  }

  void start_trace(std::int64_t max_spans) {
    batch_->start_trace(static_cast<std::size_t>(require_int("max_spans", max_spans, 1, kMaxSpans)));
  }
  py::array take_trace() { return record_array(batch_->take_trace()); }

  void require_owner() const { batch_->require_owner(); }
  py::dict settings() const;
  std::size_t num_envs() const { return batch_->num_envs(); }
  std::size_t num_threads() const { return batch_->num_threads(); }
  std::vector<int> action_set() const {
    std::vector<int> actions;
    for (const Action action : batch_->plan().actions()) actions.push_back(static_cast<int>(action));
    return actions;
  }

 private:
  struct PendingCall {
    AtariBatch::Call call;
    Results results;
    bool is_reset;
  };

  std::vector<std::int64_t> require_env_ids(const ArrayArg<std::int64_t>& env_ids) const {
    const py::array array = require_array("env_ids", env_ids);
    require_shape("env_ids", array, {kAny}, "(n,)");
    const auto ids = view_flat<std::int64_t>(array);
    std::vector<bool> is_named(batch_->num_envs());
    for (const std::int64_t id : ids) {
      require_int("env_ids", id, 0, static_cast<std::int64_t>(batch_->num_envs()) - 1);
      if (is_named[static_cast<std::size_t>(id)]) {
        throw py::value_error("env_ids must name each environment once, got " + std::to_string(id) + " twice");
      }
      is_named[static_cast<std::size_t>(id)] = true;
    }
    return {ids.begin(), ids.end()};
  }

  static std::vector<std::int64_t> vector_of(const char* name, const ArrayArg<std::int64_t>& argument,
                                             std::size_t size) {
    const py::array array = require_array(name, argument);
    require_shape(name, array, {static_cast<py::ssize_t>(size)}, "(n,)");
    const auto values = view_flat<std::int64_t>(array);
    return {values.begin(), values.end()};
  }

  Shape observations_shape(py::ssize_t num_rows) const {
    const EnvSettings& settings = batch_->plan().settings();
    Shape shape = {num_rows, settings.stack_num, settings.img_height, settings.img_width};
    if (!settings.grayscale) shape.push_back(3);
    return shape;
  }

  Results new_results(const std::vector<std::int64_t>& ids, const py::object& out) const {
    const auto num_rows = static_cast<py::ssize_t>(ids.size());
    const Shape shape = observations_shape(num_rows);
    Results results;
    results.env_ids = py::array_t<std::int64_t>(num_rows, ids.data());
    if (out.is_none()) {
      results.observations = py::array_t<std::uint8_t>(shape);
    } else {
      results.observations = require_array("out", out, py::dtype::of<std::uint8_t>());
      require_shape("out", results.observations, shape, "(n, stack_num, H, W[, 3])");
      require_writable("out", results.observations);
    }
    results.records = py::array_t<StepRecord>(num_rows);
    const bool has_final = batch_->plan().settings().autoreset == Autoreset::kSameStep;
    results.final_records = py::array_t<StepRecord>(num_rows);
    results.final_observations = py::array_t<std::uint8_t>(has_final ? shape : Shape{0});
    return results;
  }

  static AtariBatch::Outputs outputs_of(Results& results) {
    return {static_cast<std::uint8_t*>(results.observations.mutable_data()), results.records.mutable_data(),
            results.final_records.mutable_data(), results.final_observations.mutable_data()};
  }

  void start(AtariBatch::Call call, Results results, bool is_reset) {
    for (py::ssize_t i = 0; i < results.env_ids.size(); ++i) {
      is_under_way_[static_cast<std::size_t>(results.env_ids.at(i))] = true;
    }
    calls_.push_back({std::move(call), std::move(results), is_reset});
  }

  /// Waits for the oldest call. If Ctrl-C interrupts it, the call is still the oldest one. Meanwhile other threads of
  /// Python run, and would finish and remove the same call: they are refused.
  void finish_first() {
    if (is_waiting_) throw std::runtime_error("the environment is in use by another thread");
    is_waiting_ = true;
    const std::unique_ptr<bool, void (*)(bool*)> guard(&is_waiting_, [](bool* flag) { *flag = false; });
    PendingCall& first = calls_.front();
    const auto release = [&] {
      for (py::ssize_t i = 0; i < first.results.env_ids.size(); ++i) {
        is_under_way_[static_cast<std::size_t>(first.results.env_ids.at(i))] = false;
      }
    };
    try {
      const py::gil_scoped_release no_gil;  // only the core's memory and the results are touched
      batch_->finish(first.call, check_signals);
    } catch (const py::error_already_set&) {
      throw;
    } catch (...) {
      release();
      calls_.pop_front();
      throw;
    }
    release();
  }

  /// Waits for a reset that Ctrl-C interrupted.
  void finish_resets() {
    while (!calls_.empty() && calls_.front().is_reset) {
      finish_first();
      calls_.pop_front();
    }
  }

  /// Waits for all calls and forgets their results.
  void finish_all() {
    while (!calls_.empty()) {
      finish_first();
      calls_.pop_front();
    }
  }

  std::vector<bool> is_under_way_;
  bool is_waiting_ = false;  // guarded by the GIL, as all that is not the core's
  std::deque<PendingCall> calls_;
  std::unique_ptr<AtariBatch> batch_;  // last: its threads write to the results of calls_ until they end
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

py::dict Batch::settings() const {
  py::dict values;
  for_each_setting([&](const auto& field) { values[field.name] = python_of(batch_->plan().settings().*field.member); });
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

void bind_atari_batch(py::module_& m) {
  PYBIND11_NUMPY_DTYPE(StepRecord, reward, reward_raw, episode_return, episode_length, lives, frame_number,
                       episode_frame_number, room, terminated, truncated, game_over, ram);
  py::class_<Batch>(m, "AtariBatch", kAtariBatchDoc)
      .def(py::init([](const std::string& game, const py::bytes& rom, const py::object& num_envs,
                       const py::object& num_threads, const py::object& first_cpu, const std::string& simd,
                       const py::kwargs& settings) {
             const auto envs = static_cast<std::size_t>(int_of("num_envs", num_envs, 1, 65'536));
             const auto threads = static_cast<std::size_t>(int_of("num_threads", num_threads, 0, 1024));
             const auto cpu = static_cast<int>(int_of("thread_affinity_offset", first_cpu, -1, 65'535));
             return std::make_unique<Batch>(game, rom, envs, settings_of(require_game(game), settings), threads, cpu,
                                            simd);
           }),
           "game"_a, "rom"_a, py::kw_only(), "num_envs"_a, "num_threads"_a = 0, "thread_affinity_offset"_a = -1,
           "simd"_a = "auto")
      .def("reset", &Batch::reset, "env_ids"_a, "seeds"_a,
           "Reset environments; a seed of -1 goes on with the present random stream.")
      .def("send", &Batch::send, "env_ids"_a, "actions"_a, "out"_a = py::none(),
           "Begin to step environments; actions are indices into `action_set`. Observations go to `out` if given.")
      .def("recv", &Batch::receive,
           "Wait for the oldest `send`. Returns ids, observations, records, final records, final observations.")
      .def("render", &Batch::render, "env"_a, "``(height, 160, 3)`` uint8: the console's present picture.")
      .def("observe", &Batch::observe, "Observations and records of all environments as they are now.")
      .def("snapshot", &Batch::snapshot, "The state of all environments.")
      .def("restore", &Batch::restore, "snapshot"_a, "Return to a state.")
      .def("start_trace", &Batch::start_trace, "max_spans"_a, kStartTraceDoc)
      .def("take_trace", &Batch::take_trace, kTakeTraceDoc)
      .def("require_owner", &Batch::require_owner, "Raise RuntimeError in a forked process.")
      .def_property_readonly("is_idle", &Batch::is_idle, "Whether no step is under way.")
      .def_property_readonly("settings", &Batch::settings, "The settings in force, by name.")
      .def_property_readonly("num_envs", &Batch::num_envs, "Environments.")
      .def_property_readonly("num_threads", &Batch::num_threads, "Worker threads.")
      .def_property_readonly("action_set", &Batch::action_set, "The Arcade Learning Environment's numbers of actions.");
}

}  // namespace rndfast::bindings
