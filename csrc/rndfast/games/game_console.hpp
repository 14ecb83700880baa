// SPDX-License-Identifier: MIT
// One console with one game in it, played: actions in, rewards out. The semantics of ale_py.ALEInterface.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <type_traits>

#include "rndfast/common/random.hpp"
#include "rndfast/console/atari2600.hpp"
#include "rndfast/games/game.hpp"
#include "rndfast/games/reset_memo.hpp"

namespace rndfast {

/// A game's ROM and what else all its consoles have in common. It never changes.
class GameBoard {
 public:
  /// `shades` gives the byte that stands for each colour in pictures. Throws std::invalid_argument if the ROM's size
  /// is wrong.
  GameBoard(const Game& game, std::span<const std::uint8_t> rom, std::span<const std::uint8_t, 256> shades,
            SimdLevel level = detect_simd_level());

  const Game& game() const { return *game_; }
  const Board& board() const { return board_; }
  const std::uint8_t* shades() const { return shades_; }

 private:
  const Game* game_;
  Board board_;
  std::uint8_t shades_[256];
};

struct GameSettings {
  float repeat_action_probability = 0.25F;
  std::int32_t max_num_frames_per_episode = 0;  // 0: no limit
};

/// Plain data. Functions take the same `board` as switch_on(), or one that differs in its shades.
class GameConsole {
 public:
  /// Switches the console on. The result depends on the board alone, so that many consoles may be copies of one.
  void switch_on(const GameBoard& board);

  /// Gives a console that has just been switched on its random stream, and resets it, in its default mode and with
  /// both difficulty switches at B.
  void load(const GameBoard& board, const GameSettings& settings, std::uint32_t random_seed, ResetMemo* memo = nullptr);

  /// Starts an episode. Throws std::runtime_error if the game does not enter its mode. With a memo of this game's
  /// resets, one that has been played before is not played again; the result is the same.
  void reset(const GameBoard& board, ResetMemo* memo = nullptr);

  /// Holds `action` (illegal ones count as NOOP) for one frame, or repeats the previous one by chance. Nothing
  /// happens, and the reward is 0, once the game is over.
  std::int32_t act(const GameBoard& board, Action action, float paddle_strength, bool wants_picture);

  /// See valid_state.hpp. `like` is a console of the same board that has been switched on.
  void validate(const GameBoard& board, const GameConsole& like) const;

  const GameSettings& settings() const { return settings_; }
  std::int32_t mode() const { return mode_; }
  bool is_terminal() const { return decoder_.terminal; }
  bool is_truncated() const {
    return settings_.max_num_frames_per_episode > 0 && episode_frame_number_ >= settings_.max_num_frames_per_episode;
  }
  bool is_over() const { return is_terminal() || is_truncated(); }
  std::int32_t lives(const GameBoard& board) const;
  std::int32_t frame_number() const { return frame_number_; }
  std::int32_t episode_frame_number() const { return episode_frame_number_; }
  std::int32_t room(const GameBoard& board) const;  // -1 where unknown
  /// One of the game's modes, from the next reset on.
  void set_mode(std::int32_t mode) { mode_ = mode; }
  /// One of the game's difficulties, from the next frame on. Bit 0: left switch at A, bit 1: right switch at A.
  void set_difficulty(std::uint8_t difficulty) { difficulty_ = difficulty; }

  Atari2600& atari() { return atari_; }
  const Atari2600& atari() const { return atari_; }
  const std::uint8_t* picture(const GameBoard& board, unsigned frames_ago) {
    return atari_.picture(board.board(), board.shades(), frames_ago);
  }

 private:
  class ModeSetter;

  /// The switches held during a frame.
  struct Keys {
    Action action = Action::kNoop;
    float paddle_strength = 1;
    bool select = false;
  };

  void run_frame(const GameBoard& board, const Keys& keys, bool wants_picture);
  void decode(const GameBoard& board);
  void press_reset(const GameBoard& board);
  void run_start_up_frame(const GameBoard& board);
  void finish_reset(const GameBoard& board);
  void adopt(const ResetResult& known, const IdleTimes& times);

  GameSettings settings_;
  std::int32_t mode_;
  std::uint8_t difficulty_;
  Decoder decoder_;
  Action held_action_;
  float held_strength_;
  std::int32_t paddle_resistance_;
  std::int32_t frame_number_;
  std::int32_t episode_frame_number_;
  bool was_literal_;            // a frame that nobody wanted to see had to be drawn, since finish_reset() last began
  Mt19937 system_random_;       // what a real console holds by chance at power-on and resets
  Mt19937 environment_random_;  // sticky actions
  Atari2600 atari_;
};

static_assert(std::is_trivially_copyable_v<GameConsole>);

}  // namespace rndfast
