// SPDX-License-Identifier: MIT
// What is known about a game: how its cartridge is wired, which actions and modes it has, and what its memory means.
//
// One idea: a game is data. Everything that differs between games stands in one entry of the table in games.cpp; the
// rest of the program never asks which game it runs.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

#include "rndfast/console/atari2600.hpp"
#include "rndfast/console/cartridge.hpp"

namespace rndfast {

/// A player's actions, by their numbers in the Arcade Learning Environment.
enum class Action : std::uint8_t {
  kNoop,
  kFire,
  kUp,
  kRight,
  kLeft,
  kDown,
  kUpRight,
  kUpLeft,
  kDownRight,
  kDownLeft,
  kUpFire,
  kRightFire,
  kLeftFire,
  kDownFire,
  kUpRightFire,
  kUpLeftFire,
  kDownRightFire,
  kDownLeftFire,
  kReset = 40,  // the console's RESET switch; only in starting actions
};

/// Everything that a player can do: the joystick's nine positions, each with and without FIRE.
inline constexpr std::array kAllActions = {
    Action::kNoop,       Action::kFire,          Action::kUp,          Action::kRight,     Action::kLeft,
    Action::kDown,       Action::kUpRight,       Action::kUpLeft,      Action::kDownRight, Action::kDownLeft,
    Action::kUpFire,     Action::kRightFire,     Action::kLeftFire,    Action::kDownFire,  Action::kUpRightFire,
    Action::kUpLeftFire, Action::kDownRightFire, Action::kDownLeftFire};

inline constexpr std::array kActionsWithoutFire = {Action::kNoop,   Action::kUp,        Action::kRight,
                                                   Action::kLeft,   Action::kDown,      Action::kUpRight,
                                                   Action::kUpLeft, Action::kDownRight, Action::kDownLeft};

inline constexpr int kNumActions = kAllActions.size();

/// A game's memory as its decoder reads it: addresses as the game's program uses them, 0x80 .. 0xFF.
class GameMemory {
 public:
  GameMemory(const std::uint8_t* riot_ram, const std::uint8_t* cartridge_ram)
      : riot_ram_(riot_ram), cartridge_ram_(cartridge_ram) {}

  /// The byte at `address` (its low seven bits) of the console's 128 bytes of RAM.
  int operator[](int address) const { return riot_ram_[address & 0x7F]; }

  /// The byte at `address`, 0xF080 .. 0xF0FF, of the 128 bytes of RAM on a Superchip cartridge.
  int cartridge(int address) const { return cartridge_ram_[address & 0x7F]; }

  /// Two decimal digits, one per nibble. Nibbles above 9 count as 10 .. 15.
  int bcd(int address) const { return decimal((*this)[address]); }

  /// Several bytes of two decimal digits each, the most significant first.
  int bcd(std::initializer_list<int> addresses) const {
    int value = 0;
    for (const int address : addresses) value = 100 * value + bcd(address);
    return value;
  }

  static int decimal(int byte) { return 10 * (byte >> 4) + (byte & 15); }

 private:
  const std::uint8_t* riot_ram_;
  const std::uint8_t* cartridge_ram_;
};

/// What a game's `decode` reads out of the memory after each frame, and what it must remember until the next one. Plain
/// data, as it is part of a snapshot.
struct Decoder {
  std::int32_t reward = 0;  // of the last frame
  std::int32_t score = 0;
  std::int32_t lives = 0;
  std::int32_t memory[5] = {};  // for the few games that must remember more; their entries name the elements
  bool terminal = false;
};

/// The controls that a game's `set_mode` may use. All but memory() and draw_random() emulate one or more frames.
class ModeControls {
 public:
  virtual ~ModeControls() = default;
  virtual GameMemory memory() const = 0;          // as it is now
  virtual void press_select(int num_frames) = 0;  // hold SELECT, then one frame of NOOP
  virtual void press_reset() = 0;                 // hold RESET for four frames
  virtual void act(Action action) = 0;            // as the player does, sticky actions included
  virtual std::uint32_t draw_random() = 0;        // from the environment's random stream
};

struct Game;

/// A mode to set, and what a game may use to set it.
struct ModeRequest {
  const Game& game;
  int mode;  // one of game.modes
  Decoder& decoder;
  ModeControls& controls;
};

inline constexpr std::array<std::int16_t, 1> kOnlyMode = {0};
inline constexpr std::array<std::uint8_t, 1> kOnlyDifficulty = {0};

/// Which number of lives is reported, as the Arcade Learning Environment has it.
enum class LivesRule : std::uint8_t {
  kDecoded,             // Decoder::lives
  kDecodedOrZeroAtEnd,  // Decoder::lives, 0 once terminal
  kOneUntilEnd,         // 1, 0 once terminal
  kZero,
  kOne,
};

struct Game {
  std::string_view name;  // the ROM file's stem, such as "montezuma_revenge"
  std::string_view md5;
  std::uint32_t rom_size = 4096;
  CartridgeScheme scheme = CartridgeScheme::k4K;
  std::uint16_t first_line = 34;  // the first scanline shown
  std::uint16_t height = 210;     // lines shown; 250 where the television format is found to be PAL
  Wiring wiring = {};
  bool allows_hmove_blanks = true;
  bool starts_with_difficulty_a = false;  // both difficulty switches, while the television format is detected
  std::int32_t paddle_max = 790'196;      // highest resistance of a paddle, ohm
  std::span<const Action> minimal_actions = kAllActions;
  bool has_fire = true;                             // whether the player's FIRE is legal; if not, it becomes NOOP
  std::span<const std::int16_t> modes = kOnlyMode;  // the first is the default
  std::span<const std::uint8_t> difficulties = kOnlyDifficulty;
  std::span<const Action> start_actions = {};  // one frame each, at the end of a reset
  LivesRule lives_rule = LivesRule::kDecodedOrZeroAtEnd;
  std::int16_t room_address = -1;  // where the number of the present room is, -1 if unknown

  /// The decoder at a reset. The frames emulated after that, before play begins, replace what they decode, so that
  /// only what they may leave alone stands here.
  Decoder initial = {};

  /// Reads reward, score, lives and the game's end out of the memory. Called after each frame but those with SELECT
  /// held.
  void (*decode)(Decoder& decoder, const GameMemory& memory);

  /// Sets a mode, also the default one, after the decoder's reset; nullptr if there is nothing to do. Throws
  /// std::runtime_error if the mode is never reached.
  void (*set_mode)(const ModeRequest& request) = nullptr;

  /// All actions that are not ignored, for players who want more than `minimal_actions`.
  std::span<const Action> legal_actions() const {
    if (has_fire) return kAllActions;
    return kActionsWithoutFire;
  }
};

/// All games, in the order of their names.
std::span<const Game> all_games();

/// The game called `name`; nullptr if there is none.
const Game* find_game(std::string_view name);

}  // namespace rndfast
