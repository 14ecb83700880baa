// SPDX-License-Identifier: MIT
#include "rndfast/games/game_console.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "rndfast/common/valid_state.hpp"

namespace rndfast {
namespace {

constexpr std::uint32_t kSystemRandomSeed = 4753849;
constexpr int kStartUpFrames = 60;
constexpr int kTellingFrames = 3;  // of these; then most programs have forgotten what was before the reset
constexpr int kResetFrames = 4;
constexpr std::int32_t kPaddleMin = 27'450;
constexpr double kPaddleStep = 23'000;

/// What an action presses.
struct Buttons {
  bool up = false, down = false, left = false, right = false, fire = false;
};

constexpr Buttons kButtons[kNumActions] = {{},
                                           {.fire = true},
                                           {.up = true},
                                           {.right = true},
                                           {.left = true},
                                           {.down = true},
                                           {.up = true, .right = true},
                                           {.up = true, .left = true},
                                           {.down = true, .right = true},
                                           {.down = true, .left = true},
                                           {.up = true, .fire = true},
                                           {.right = true, .fire = true},
                                           {.left = true, .fire = true},
                                           {.down = true, .fire = true},
                                           {.up = true, .right = true, .fire = true},
                                           {.up = true, .left = true, .fire = true},
                                           {.down = true, .right = true, .fire = true},
                                           {.down = true, .left = true, .fire = true}};

Buttons buttons_of(Action action) {
  return action == Action::kReset ? Buttons{} : kButtons[static_cast<unsigned>(action)];
}

}  // namespace

GameBoard::GameBoard(const Game& game, std::span<const std::uint8_t> rom, std::span<const std::uint8_t, 256> shades,
                     SimdLevel level)
    : game_(&game),
      board_{Cartridge(game.scheme, rom),
             game.wiring,
             game.first_line,
             game.height,
             game.allows_hmove_blanks,
             static_cast<std::uint8_t>(game.starts_with_difficulty_a ? 3 : 0),
             level} {
  std::copy(shades.begin(), shades.end(), shades_);
}

/// Lets a game press the console's switches to reach a mode.
class GameConsole::ModeSetter final : public ModeControls {
 public:
  ModeSetter(GameConsole& console, const GameBoard& board) : console_(console), board_(board) {}

  GameMemory memory() const override {
    const MachineState& state = console_.atari_.state();
    return {state.ram, state.cartridge.ram};
  }

  void press_select(int num_frames) override {
    for (int frame = 0; frame < num_frames; ++frame) console_.run_frame(board_, {.select = true}, false);
    console_.run_frame(board_, {}, false);
    console_.decode(board_);
    ++console_.frame_number_;
    ++console_.episode_frame_number_;
  }

  void press_reset() override { console_.press_reset(board_); }
  void act(Action action) override { console_.act(board_, action, 1, false); }
  std::uint32_t draw_random() override { return console_.environment_random_(); }

 private:
  GameConsole& console_;
  const GameBoard& board_;
};

void GameConsole::switch_on(const GameBoard& board) {
  std::memset(static_cast<void*>(this), 0, sizeof(*this));
  system_random_.seed(kSystemRandomSeed);
  atari_.power_on(board.board(), board.shades(), system_random_);
}

void GameConsole::load(const GameBoard& board, const GameSettings& settings, std::uint32_t random_seed,
                       ResetMemo* memo) {
  settings_ = settings;
  mode_ = board.game().modes.front();
  environment_random_.seed(random_seed);
  reset(board, memo);
}

void GameConsole::validate(const GameBoard& board, const GameConsole& like) const {
  static_assert(sizeof(GameConsole) == sizeof(Atari2600) + 2 * sizeof(Mt19937) + 80,
                "validate() must know every member");
  constexpr std::int32_t kMaxFrames = std::numeric_limits<std::int32_t>::max() - (1 << 24);  // may still be added to
  constexpr std::int32_t kMaxNumber = 1 << 28;                                               // likewise
  const Game& game = board.game();
  require_state_between("repeat_action_probability", settings_.repeat_action_probability, 0, 1);
  require_state_between("max_num_frames_per_episode", settings_.max_num_frames_per_episode, 0,
                        std::numeric_limits<std::int32_t>::max());
  require_state(std::ranges::find(game.modes, mode_) != game.modes.end(), "the mode must be one of the game's");
  require_state(difficulty_ == 0 || std::ranges::find(game.difficulties, difficulty_) != game.difficulties.end(),
                "the difficulty must be one of the game's");
  require_state_between("the score", decoder_.score, -kMaxNumber, std::numeric_limits<std::int32_t>::max());
  require_state_between("the number of lives", decoder_.lives, -kMaxNumber, kMaxNumber);
  for (const std::int32_t number : decoder_.memory) {
    require_state_between("the decoder's memory", number, -kMaxNumber, kMaxNumber);
  }
  require_state_flag("terminal", decoder_.terminal);
  require_state_between("the action held", static_cast<int>(held_action_), 0, kNumActions - 1);
  require_state_between("the strength of the action held", held_strength_, -1, 1);
  require_state_between("the paddle's resistance", paddle_resistance_, kPaddleMin, game.paddle_max);
  require_state_between("frame_number", frame_number_, 0, kMaxFrames);
  require_state_between("episode_frame_number", episode_frame_number_, 0, kMaxFrames);
  require_state_flag("was_literal", was_literal_);
  system_random_.validate();
  environment_random_.validate();
  atari_.validate(board.board(), like.atari_);
}

void GameConsole::reset(const GameBoard& board, ResetMemo* memo) {
  episode_frame_number_ = 0;
  paddle_resistance_ = (kPaddleMin + board.game().paddle_max) / 2;
  atari_.reset(board.board(), system_random_);
  for (int frame = 0; frame < kTellingFrames; ++frame) run_start_up_frame(board);
  const Cartridge& cartridge = board.board().cartridge;
  const bool is_proven = !cartridge.has_ram() && cartridge.scheme() != CartridgeScheme::kDPC;
  if (memo == nullptr || !is_proven) {
    finish_reset(board);
    return;
  }
  ResetKey key = {.state = atari_.state(), .mode = mode_, .difficulty = difficulty_, .buffer = atari_.buffer()};
  IdleTimes times{};
  IdleTimes::for_each(key.state, times, [](std::int32_t& time, std::int32_t& kept) { kept = std::exchange(time, 0); });
  if (const ResetResult* const known = memo->find(key)) {
    adopt(*known, times);
    return;
  }
  const Mt19937 random_before = environment_random_;
  const std::int32_t frames_before = frame_number_;
  finish_reset(board);
  if (was_literal_ || random_before != environment_random_) return;
  memo->add(key, {.idle_times = times,
                  .num_frames = frame_number_ - frames_before,
                  .console = std::make_unique<const GameConsole>(*this)});
}

/// Takes over what finish_reset() sets. `times`: this console's idle times now.
void GameConsole::adopt(const ResetResult& known, const IdleTimes& times) {
  const GameConsole& console = *known.console;
  decoder_ = console.decoder_;
  held_action_ = console.held_action_;
  paddle_resistance_ = console.paddle_resistance_;
  frame_number_ += known.num_frames;
  episode_frame_number_ = console.episode_frame_number_;
  atari_.take_over(console.atari_);
  was_literal_ = false;
  // idle times that nothing has set since have only been rebased, by as much as the music's, which nothing ever sets
  atari_.for_each_state([&](MachineState& state) {
    const auto minus = [](std::int32_t a, std::int32_t b) {
      return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) - static_cast<std::uint32_t>(b));
    };
    const std::int32_t passed = minus(known.idle_times.music_cycle, state.cartridge.dpc.music_cycle);
    const auto take_over = [&](std::int32_t& time, std::int32_t known_time, std::int32_t own_time) {
      if (time == minus(known_time, passed)) time = minus(own_time, passed);
    };
    take_over(state.cartridge.dpc.music_cycle, known.idle_times.music_cycle, times.music_cycle);
    if (!state.riot.is_read_after_interrupt) {
      take_over(state.riot.interrupt_cycle, known.idle_times.interrupt_cycle, times.interrupt_cycle);
    }
    take_over(state.tia.dump_end_cycle, known.idle_times.dump_end_cycle, times.dump_end_cycle);
  });
}

void GameConsole::run_start_up_frame(const GameBoard& board) {
  run_frame(board, {}, false);
  decode(board);
}

void GameConsole::finish_reset(const GameBoard& board) {
  was_literal_ = false;
  const Game& game = board.game();
  for (int frame = kTellingFrames; frame < kStartUpFrames; ++frame) run_start_up_frame(board);
  press_reset(board);
  decoder_ = game.initial;
  if (game.set_mode != nullptr) {
    ModeSetter setter(*this, board);
    game.set_mode({game, mode_, decoder_, setter});
  }
  press_reset(board);
  for (const Action action : game.start_actions) {
    run_frame(board, {.action = action}, false);
    decode(board);
  }
}

std::int32_t GameConsole::act(const GameBoard& board, Action action, float paddle_strength, bool wants_picture) {
  constexpr double kTwoToThe32 = 4294967296.0;
  if (environment_random_() / kTwoToThe32 >= double{settings_.repeat_action_probability}) {
    held_action_ = action;
    held_strength_ = paddle_strength;
  }
  environment_random_();  // ale-py draws for the second player's sticky action too, from the same stream
  if (is_over()) return 0;
  const bool is_legal = board.game().has_fire || !buttons_of(held_action_).fire;
  run_frame(board, {.action = is_legal ? held_action_ : Action::kNoop, .paddle_strength = held_strength_},
            wants_picture);
  decode(board);
  ++frame_number_;
  ++episode_frame_number_;
  return decoder_.reward;
}

void GameConsole::run_frame(const GameBoard& board, const Keys& keys, bool wants_picture) {
  const Buttons buttons = buttons_of(keys.action);
  const auto step = static_cast<std::int32_t>(kPaddleStep * std::fabs(double{keys.paddle_strength}));
  if (buttons.right) paddle_resistance_ -= step;
  if (buttons.left) paddle_resistance_ += step;
  paddle_resistance_ = std::clamp(paddle_resistance_, kPaddleMin, board.game().paddle_max);
  atari_.set_controls(board.board(), {.up = buttons.up,
                                      .down = buttons.down,
                                      .left = buttons.left,
                                      .right = buttons.right,
                                      .fire = buttons.fire,
                                      .select = keys.select,
                                      .reset = keys.action == Action::kReset,
                                      .difficulty = difficulty_,
                                      .resistance = {paddle_resistance_, (kPaddleMin + board.game().paddle_max) / 2}});
  atari_.run_frame(board.board(), board.shades(), wants_picture);
  was_literal_ = was_literal_ || (!wants_picture && atari_.has_last_picture());
}

void GameConsole::decode(const GameBoard& board) {
  const MachineState& state = atari_.state();
  board.game().decode(decoder_, {state.ram, state.cartridge.ram});
}

void GameConsole::press_reset(const GameBoard& board) {
  for (int frame = 0; frame < kResetFrames; ++frame) {
    run_frame(board, {.action = Action::kReset}, false);
    decode(board);
  }
  held_action_ = Action::kNoop;
}

std::int32_t GameConsole::lives(const GameBoard& board) const {
  switch (board.game().lives_rule) {
    case LivesRule::kDecoded:
      return decoder_.lives;
    case LivesRule::kDecodedOrZeroAtEnd:
      return is_terminal() ? 0 : decoder_.lives;
    case LivesRule::kOneUntilEnd:
      return is_terminal() ? 0 : 1;
    case LivesRule::kOne:
      return 1;
    case LivesRule::kZero:
      break;
  }
  return 0;
}

std::int32_t GameConsole::room(const GameBoard& board) const {
  const std::int16_t address = board.game().room_address;
  return address < 0 ? -1 : std::int32_t{atari_.ram()[static_cast<unsigned>(address) & 0x7F]};
}

}  // namespace rndfast
