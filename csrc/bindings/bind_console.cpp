// SPDX-License-Identifier: MIT
#include <pybind11/typing.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "array.hpp"
#include "bindings.hpp"
#include "rndfast/console/palette.hpp"
#include "rndfast/env/snapshot.hpp"
#include "rndfast/games/game_console.hpp"

namespace rndfast::bindings {
using namespace py::literals;

namespace {

constexpr const char* kConsoleDoc = R"(The engine of :class:`rndfast.Console`, which finds the ROM.

Args:
    game: Rom id.
    rom: Content of the ROM file.
    random_seed: Seed of the sticky actions' random stream, 0 .. 2**32 - 1.
    repeat_action_probability: Chance, in each frame, that the previous action is repeated.
    max_num_frames_per_episode: Frames after which `game_over` is true; 0: never.
    mode: One of the game's modes; None: its first.
    difficulty: One of the game's difficulties; None: both switches at B.
    scheme: Bank switching, if not the game's own: ``"2K"``, ``"4K"``, ``"F8"``, ``"F6"``, ``"F8SC"``, ``"F6SC"``,
        ``"E0"``, ``"FE"`` or ``"DPC"``.
)";

constexpr std::array kSchemeNames = {"2K", "4K", "F8", "F6", "F8SC", "F6SC", "E0", "FE", "DPC"};

std::array<std::uint8_t, 256> identity_shades() {
  std::array<std::uint8_t, 256> shades;
  std::iota(shades.begin(), shades.end(), std::uint8_t{0});
  return shades;
}

/// The game, wired for another kind of cartridge if asked for.
Game with_scheme(const Game& game, const std::optional<std::string>& scheme) {
  Game wired = game;
  if (!scheme) return wired;
  for (std::size_t i = 0; i < kSchemeNames.size(); ++i) {
    if (*scheme != kSchemeNames[i]) continue;
    wired.scheme = static_cast<CartridgeScheme>(i);
    return wired;
  }
  throw py::value_error("unknown cartridge scheme '" + *scheme + "'");
}

template <typename T>
std::string list_text(std::span<const T> values) {
  std::string text;
  for (const T value : values) text += (text.empty() ? "" : ", ") + std::to_string(value);
  return text;
}

class Console {
 public:
  Console(const std::string& game, const std::string& rom, std::int64_t random_seed, double repeat_action_probability,
          std::int64_t max_num_frames_per_episode, std::optional<std::int64_t> mode,
          std::optional<std::int64_t> difficulty, const std::optional<std::string>& scheme)
      : game_(with_scheme(require_game(game), scheme)),
        board_(game_, bytes_of(rom), identity_shades()),
        console_(std::make_unique<GameConsole>()) {
    require_in_range("random_seed", static_cast<double>(random_seed), 0, 4294967295.0);
    const GameSettings settings = {.repeat_action_probability = require_probability(repeat_action_probability),
                                   .max_num_frames_per_episode = static_cast<std::int32_t>(require_int(
                                       "max_num_frames_per_episode", max_num_frames_per_episode, 0, kMaxInt32))};
    if (mode) require_choice("mode", game_, game_.modes, *mode);
    if (difficulty) require_choice("difficulty", game_, game_.difficulties, *difficulty);
    console_->switch_on(board_);
    console_->load(board_, settings, static_cast<std::uint32_t>(random_seed));
    console_->set_difficulty(static_cast<std::uint8_t>(difficulty.value_or(0)));
    if (mode) console_->set_mode(static_cast<std::int32_t>(*mode));
    if (mode || difficulty) console_->reset(board_);
  }

  void reset() { console_->reset(board_); }

  std::int32_t act(std::int64_t action, double paddle_strength) {
    require_int("action", action, 0, kNumActions - 1);
    if (!(std::fabs(paddle_strength) <= 1)) {
      throw py::value_error("paddle_strength must be in [-1, 1], got " + number_text(paddle_strength));
    }
    return console_->act(board_, static_cast<Action>(action), static_cast<float>(paddle_strength), false);
  }

  py::array_t<std::uint8_t> ram() const {
    const auto bytes = console_->atari().ram();
    return py::array_t<std::uint8_t>(static_cast<py::ssize_t>(bytes.size()), bytes.data());
  }

  py::array_t<std::uint8_t> screen() {
    return py::array_t<std::uint8_t>({height(), py::ssize_t{kScreenWidth}}, console_->picture(board_, 0));
  }

  py::array_t<std::uint8_t> screen_grey() {
    py::array_t<std::uint8_t> out({height(), py::ssize_t{kScreenWidth}});
    const std::uint8_t* const picture = console_->picture(board_, 0);
    for (py::ssize_t i = 0; i < out.size(); ++i) out.mutable_data()[i] = colors().grey[picture[i]];
    return out;
  }

  py::array_t<std::uint8_t> screen_rgb() {
    py::array_t<std::uint8_t> out({height(), py::ssize_t{kScreenWidth}, py::ssize_t{3}});
    const std::uint8_t* const picture = console_->picture(board_, 0);
    for (py::ssize_t i = 0; i < out.size() / 3; ++i) {
      std::ranges::copy(colors().rgb[picture[i]], out.mutable_data() + 3 * i);
    }
    return out;
  }

  std::int32_t lives() const { return console_->lives(board_); }
  bool is_over() const { return console_->is_over(); }
  bool is_truncated() const { return console_->is_truncated(); }
  std::int32_t frame_number() const { return console_->frame_number(); }
  std::int32_t episode_frame_number() const { return console_->episode_frame_number(); }
  std::optional<std::int32_t> room() const {
    const std::int32_t room = console_->room(board_);
    return room < 0 ? std::nullopt : std::optional(room);
  }
  std::string game() const { return std::string(game_.name); }
  std::string tv_format() const { return console_->atari().tv_format() == TvFormat::kPal ? "PAL" : "NTSC"; }

  std::string processor() const {
    const MachineState& state = console_->atari().state();
    std::string text;
    const auto add = [&](const char* name, unsigned value) {
      text += std::string(text.empty() ? "" : " ") + name + "=" + std::to_string(value);
    };
    add("PC", state.cpu.pc);
    add("A", state.cpu.a);
    add("X", state.cpu.x);
    add("Y", state.cpu.y);
    add("SP", state.cpu.sp);
    add("scanline", static_cast<unsigned>(state.cycle / kCyclesPerLine));
    add("cycle", static_cast<unsigned>(state.cycle % kCyclesPerLine));
    return text;
  }

  py::bytes snapshot() const {
    const auto bytes = pack_snapshot(description(), {state_bytes()});
    return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  void restore(const py::bytes& snapshot) {
    const std::string_view view = snapshot;
    const auto state = unpack_snapshot({reinterpret_cast<const std::uint8_t*>(view.data()), view.size()}, description(),
                                       sizeof(GameConsole));
    auto restored = std::make_unique<GameConsole>();
    std::memcpy(restored.get(), state.data(), state.size());
    restored->validate(board_, *console_);
    console_ = std::move(restored);
  }

 private:
  static std::span<const std::uint8_t> bytes_of(const std::string& text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
  }
  std::span<const std::uint8_t> state_bytes() const {
    return {reinterpret_cast<const std::uint8_t*>(console_.get()), sizeof(GameConsole)};
  }
  std::string description() const {
    return "console of " + std::string(game_.name) + ", state bytes " + std::to_string(sizeof(GameConsole));
  }
  const Palette& colors() const { return palette(console_->atari().tv_format()); }
  py::ssize_t height() const { return console_->atari().height(); }

  Game game_;
  GameBoard board_;
  std::unique_ptr<GameConsole> console_;
};

}  // namespace

template <>
inline constexpr bool is_bound_class<Console> = true;

namespace {

py::dict describe_game(const Game& game) {
  const auto actions = [](std::span<const Action> list) {
    py::list out;
    for (const Action action : list) out.append(static_cast<int>(action));
    return py::tuple(out);
  };
  py::dict facts;
  facts["name"] = std::string(game.name);
  facts["md5"] = std::string(game.md5);
  facts["rom_size"] = game.rom_size;
  facts["scheme"] = kSchemeNames[static_cast<std::size_t>(game.scheme)];
  facts["minimal_actions"] = actions(game.minimal_actions);
  facts["legal_actions"] = actions(game.legal_actions());
  facts["modes"] = py::tuple(py::cast(std::vector<int>(game.modes.begin(), game.modes.end())));
  facts["difficulties"] = py::tuple(py::cast(std::vector<int>(game.difficulties.begin(), game.difficulties.end())));
  facts["has_rooms"] = game.room_address >= 0;
  return facts;
}

}  // namespace

const Game& require_game(const std::string& name) {
  const Game* const game = find_game(name);
  if (game == nullptr) throw py::value_error("unknown game '" + name + "'");
  return *game;
}

std::int64_t require_int(const char* name, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value >= low && value <= high) return value;
  throw py::value_error(std::string(name) + " must be in [" + std::to_string(low) + ", " + std::to_string(high) +
                        "], got " + std::to_string(value));
}

float require_probability(double value) {
  require_in_range("repeat_action_probability", value, 0, 1);
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.6g", value);
  return std::strtof(text.data(), nullptr);
}

template <typename T>
T require_choice(const char* name, const Game& game, std::span<const T> choices, std::int64_t value) {
  if (std::ranges::find(choices, value) != choices.end()) return static_cast<T>(value);
  throw py::value_error(std::string(name) + " of " + std::string(game.name) + " must be one of " + list_text(choices) +
                        ", got " + std::to_string(value));
}
template std::int16_t require_choice(const char*, const Game&, std::span<const std::int16_t>, std::int64_t);
template std::uint8_t require_choice(const char*, const Game&, std::span<const std::uint8_t>, std::int64_t);

void bind_console(py::module_& m) {
  m.def(
      "games",
      [] {
        std::vector<py::typing::Dict<py::str, py::object>> games;
        for (const Game& game : all_games()) games.push_back(describe_game(game));
        return games;
      },
      "The facts known about each game, by name.");
  bind_class<Console>(m, "Console", kConsoleDoc,
                      "store what snapshot() returns, and restore() it into another Console of the game")
      .def(py::init<const std::string&, const py::bytes&, std::int64_t, double, std::int64_t,
                    std::optional<std::int64_t>, std::optional<std::int64_t>, const std::optional<std::string>&>(),
           "game"_a, "rom"_a, py::kw_only(), "random_seed"_a, "repeat_action_probability"_a = 0.25,
           "max_num_frames_per_episode"_a = 0, "mode"_a = py::none(), "difficulty"_a = py::none(),
           "scheme"_a = py::none())
      .def("reset", &Console::reset, "Start an episode.")
      .def("act", &Console::act, "action"_a, "paddle_strength"_a = 1.0, R"(Hold an action for one frame.

Once the game is over nothing happens, and the reward is 0, until `reset`.

Args:
    action: 0 .. 17, the numbers of the Arcade Learning Environment. Actions that the game does not allow do nothing.
    paddle_strength: How far a paddle turns, in [-1, 1].

Returns:
    The reward.

Raises:
    ValueError: An argument is out of range.
)")
      .def_property_readonly("ram", &Console::ram, "``(128,)`` uint8: the RAM, a copy.")
      .def_property_readonly("screen", &Console::screen,
                             "``(H, 160)`` uint8: colour bytes of the last frame; H is 210 for most games.")
      .def_property_readonly("screen_grey", &Console::screen_grey, "``(H, 160)`` uint8: its brightness.")
      .def_property_readonly("screen_rgb", &Console::screen_rgb, "``(H, 160, 3)`` uint8: its colours.")
      .def_property_readonly("lives", &Console::lives, "Lives left; 0 where the game does not tell.")
      .def_property_readonly("game_over", &Console::is_over, "Whether the episode has ended, truncation included.")
      .def_property_readonly("truncated", &Console::is_truncated, "Whether it has reached its frame limit.")
      .def_property_readonly("frame_number", &Console::frame_number, "Frames played since the console was made.")
      .def_property_readonly("episode_frame_number", &Console::episode_frame_number, "Frames since the last reset.")
      .def_property_readonly("room", &Console::room, "Number of the present room; None where the RAM does not tell.")
      .def_property_readonly("game", &Console::game, "Rom id.")
      .def_property_readonly("tv_format", &Console::tv_format, "``\"NTSC\"`` or ``\"PAL\"``.")
      .def_property_readonly("processor", &Console::processor,
                             "Registers and beam position at the end of the frame, for messages.")
      .def("snapshot", &Console::snapshot, R"(Return the whole state, random streams and pictures included.

Restoring it continues exactly: the same actions give the same bytes.
)")
      .def("restore", &Console::restore, "snapshot"_a, R"(Return to a state.

Args:
    snapshot: What `snapshot` of a console of this game returned, in this or another process.

Raises:
    TypeError: It is not bytes.
    ValueError: It is damaged, of another game or build of rndfast, or holds a state that cannot be. The console is
        unchanged.
)");
}

}  // namespace rndfast::bindings
