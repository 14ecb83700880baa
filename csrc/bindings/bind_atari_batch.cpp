// SPDX-License-Identifier: MIT
#include <pybind11/typing.h>

#include <algorithm>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "array.hpp"
#include "bindings.hpp"
#include "rndfast/env/batch_calls.hpp"
#include "scalar.hpp"

namespace rndfast::bindings {
using namespace py::literals;

namespace {

constexpr const char* kAtariBatchDoc = R"(The engine of :class:`rndfast.AtariVectorEnv`, which documents the settings.

Further keyword arguments are settings; `settings` names them. Those that are left out have their defaults.
Observations are ``(n, stack_num, H, W)`` or ``(n, stack_num, H, W, 3)`` uint8, records a structured ``(n,)`` array.
Every call names its environments, and only one call at a time may be under way for each.
)";

using SettingsDict = py::typing::Dict<py::str, py::object>;
using PixelArray = py::array_t<std::uint8_t>;
using AnyArray = py::array;  // of records, whose type has no name in Python
using ReceivedResults = std::tuple<py::array_t<std::int64_t>, PixelArray, AnyArray, AnyArray, PixelArray>;

/// The arrays that a call fills and the caller receives, a row for each of its environments.
struct Results {
  py::array_t<std::int64_t> env_ids;
  PixelArray observations;
  py::array_t<StepRecord> records;
  py::array_t<StepRecord> final_records;
  PixelArray final_observations;

  AtariBatch::Outputs outputs() {
    return {observations.mutable_data(), records.mutable_data(), final_records.mutable_data(),
            final_observations.mutable_data()};
  }
};

class Batch {
 public:
  Batch(const std::string& game, const std::string& rom, std::size_t num_envs, const EnvSettings& settings,
        std::size_t num_threads, int first_cpu, const std::string& simd)
      : calls_(require_game(game), std::span(reinterpret_cast<const std::uint8_t*>(rom.data()), rom.size()), settings,
               num_envs, num_threads, first_cpu, simd == "auto" ? detect_simd_level() : parse_simd_level(simd)) {}

  void reset(const ArrayArg<std::int64_t>& env_ids, const ArrayArg<std::int64_t>& seeds) {
    const auto ids = require_vector("env_ids", env_ids, kAny);
    const auto seed_values = require_vector("seeds", seeds, ids.size());
    const auto results = new_results(ids, py::none());
    const auto outputs = results->outputs();
    const py::gil_scoped_release no_gil;
    calls_.reset(view_flat<std::int64_t>(ids), view_flat<std::int64_t>(seed_values), outputs, results, check_signals);
  }

  void send(const ArrayArg<std::int64_t>& env_ids, const ArrayArg<std::int64_t>& actions, const py::object& out) {
    const auto ids = require_vector("env_ids", env_ids, kAny);
    const auto action_values = require_vector("actions", actions, ids.size());
    const auto results = new_results(ids, out);
    const auto outputs = results->outputs();
    const py::gil_scoped_release no_gil;
    calls_.send(view_flat<std::int64_t>(ids), view_flat<std::int64_t>(action_values), outputs, results, check_signals);
  }

  ReceivedResults receive() {
    const auto memory = [&] {
      const py::gil_scoped_release no_gil;
      return calls_.receive(check_signals);
    }();
    const Results& results = *static_cast<const Results*>(memory.get());
    return {results.env_ids, results.observations, results.records, results.final_records, results.final_observations};
  }

  bool is_idle() const { return calls_.is_idle(); }

  std::pair<PixelArray, AnyArray> observe() {
    const AtariBatch& batch = idle_batch();
    PixelArray observations(observations_shape(static_cast<py::ssize_t>(batch.num_envs())));
    py::array_t<StepRecord> records(static_cast<py::ssize_t>(batch.num_envs()));
    const std::size_t size = batch.plan().observation_size();
    for (std::size_t env = 0; env < batch.num_envs(); ++env) {
      batch.observe(env, observations.mutable_data() + env * size, records.mutable_data()[env]);
    }
    return {observations, records};
  }

  PixelArray render(std::size_t env) {
    AtariBatch& batch = idle_batch();
    PixelArray out({static_cast<py::ssize_t>(batch.plan().picture_height()), static_cast<py::ssize_t>(kScreenWidth),
                    py::ssize_t{3}});
    batch.render(env, out.mutable_data());
    return out;
  }

  py::bytes snapshot() {
    const std::vector<std::uint8_t> bytes = idle_batch().snapshot();
    return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  void restore(const py::bytes& snapshot) {
    const std::string_view view = snapshot;
    idle_batch().restore({reinterpret_cast<const std::uint8_t*>(view.data()), view.size()});
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
  static py::array_t<std::int64_t> require_vector(const char* name, const ArrayArg<std::int64_t>& argument,
                                                  py::ssize_t size) {
    py::array array = require_array(name, argument);
    require_shape(name, array, {size}, "(n,)");
    return py::array_t<std::int64_t>(std::move(array));
  }

  AtariBatch& idle_batch() {
    const py::gil_scoped_release no_gil;
    calls_.finish_all(check_signals);
    return calls_.batch();
  }

  Shape observations_shape(py::ssize_t num_rows) const {
    Shape shape = {num_rows, settings().stack_num, settings().img_height, settings().img_width};
    if (!settings().grayscale) shape.push_back(3);
    return shape;
  }

  /// Whichever thread forgets the results last must have the GIL to free them.
  std::shared_ptr<Results> new_results(const py::array_t<std::int64_t>& ids, const py::object& out) const {
    const std::shared_ptr<Results> results(new Results, [](Results* old) {
      const py::gil_scoped_acquire gil;
      delete old;
    });
    const Shape shape = observations_shape(ids.size());
    results->env_ids = py::array_t<std::int64_t>(ids.size(), ids.data());
    if (out.is_none()) {
      results->observations = PixelArray(shape);
    } else {
      results->observations = require_array("out", out, py::dtype::of<std::uint8_t>());
      require_shape("out", results->observations, shape, "(n, stack_num, H, W[, 3])");
      require_writable("out", results->observations);
    }
    results->records = py::array_t<StepRecord>(ids.size());
    results->final_records = py::array_t<StepRecord>(ids.size());
    results->final_observations = PixelArray(settings().autoreset == Autoreset::kSameStep ? shape : Shape{0});
    return results;
  }

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

void bind_atari_batch(py::module_& m) {
  PYBIND11_NUMPY_DTYPE(StepRecord, reward, reward_raw, episode_return, episode_length, lives, frame_number,
                       episode_frame_number, room, terminated, truncated, game_over, ram);
  py::class_<Batch>(m, "AtariBatch", kAtariBatchDoc)
      .def(py::init([](const std::string& game, const py::bytes& rom, const py::object& num_envs,
                       const py::object& num_threads, const py::object& first_cpu, const std::string& simd,
                       const py::KWArgs<py::object>& settings) {
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
      .def_property_readonly(
          "settings", [](const Batch& batch) { return dict_of(batch.settings()); }, "The settings in force, by name.")
      .def_property_readonly("num_envs", &Batch::num_envs, "Environments.")
      .def_property_readonly("num_threads", &Batch::num_threads, "Worker threads.")
      .def_property_readonly("action_set", &Batch::action_set, "The Arcade Learning Environment's numbers of actions.");
}

}  // namespace rndfast::bindings
