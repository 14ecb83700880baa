// SPDX-License-Identifier: MIT
// Any bytes as a cartridge and its player: nothing may crash, hang, or read what it should not. `make fuzz` runs it.
//
// Three consoles run the same: one draws every picture, one none until it is asked, one goes back to a copy after each
// frame and repeats it. They must agree. A game's decoder looks at the memory that results.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

#include "rndfast/common/random.hpp"
#include "rndfast/console/atari2600.hpp"
#include "rndfast/games/game_console.hpp"
#include "schemes.hpp"

namespace {

using rndfast::Atari2600;

constexpr std::size_t kMaxFrames = 4;   // sanitizers make a frame take milliseconds; more inputs find more
constexpr unsigned kPressReset = 0x80;  // bit of a move: switch off and on again first

std::array<std::uint8_t, 256> identity_shades() {
  std::array<std::uint8_t, 256> shades;
  std::iota(shades.begin(), shades.end(), std::uint8_t{0});
  return shades;
}

void require(bool is_true) {
  if (!is_true) std::abort();
}

struct Player {
  const rndfast::GameBoard& board;
  std::unique_ptr<Atari2600> atari = std::make_unique<Atari2600>();
  rndfast::Mt19937 random;

  explicit Player(const rndfast::GameBoard& the_board) : board(the_board) {
    random.seed(1);
    atari->power_on(board.board(), board.shades(), random);
  }
  Player(const Player& other)
      : board(other.board), atari(std::make_unique<Atari2600>(*other.atari)), random(other.random) {}

  void play(unsigned move, bool wants_picture) {
    if ((move & kPressReset) != 0) atari->reset(board.board(), random);
    atari->set_controls(board.board(), {.up = (move & 1) != 0,
                                        .down = (move & 2) != 0,
                                        .left = (move & 4) != 0,
                                        .right = (move & 8) != 0,
                                        .fire = (move & 16) != 0,
                                        .reset = (move & 32) != 0,
                                        .resistance = {static_cast<std::int32_t>(move * 3000), 400'000}});
    atari->run_frame(board.board(), board.shades(), wants_picture);
  }

  const std::uint8_t* picture(unsigned frames_ago) { return atari->picture(board.board(), board.shades(), frames_ago); }
};

void require_same(Player& a, Player& b) {
  const auto pixels = static_cast<std::size_t>(a.atari->height() * rndfast::kScreenWidth);
  require(std::ranges::equal(a.atari->ram(), b.atari->ram()));
  require(a.atari->state().cycle == b.atari->state().cycle);
  for (unsigned frames_ago = 0; frames_ago < 2; ++frames_ago) {
    require(std::memcmp(a.picture(frames_ago), b.picture(frames_ago), pixels) == 0);
  }
}

}  // namespace

/// Byte 0: the scheme. Byte 1: the game whose wiring and decoder to take. Byte 2: number of frames n. Then n moves, and
/// the image, repeated until it is long enough.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4) return 0;
  static const auto kShades = identity_shades();
  const auto& scheme = rndfast::fuzz::kSchemes[data[0] % rndfast::fuzz::kSchemes.size()];
  const auto games = rndfast::all_games();
  rndfast::Game game = games[data[1] % games.size()];
  game.scheme = scheme.scheme;
  const std::size_t num_frames = std::min(data[2] % (kMaxFrames + 1), size - 4);
  const auto moves = std::span(data, size).subspan(3, num_frames);
  const auto bytes = std::span(data, size).subspan(3 + num_frames);
  std::vector<std::uint8_t> image(scheme.image_bytes);
  for (std::size_t i = 0; i < image.size(); ++i) image[i] = bytes[i % bytes.size()];

  const rndfast::GameBoard board(game, image, kShades);
  Player drawn(board);
  Player undrawn(drawn);
  Player repeated(drawn);
  rndfast::Decoder decoder = game.initial;
  for (const std::uint8_t move : moves) {
    drawn.play(move, true);
    undrawn.play(move, false);
    Player before(repeated);
    repeated.play(move, (move & 2) != 0);
    std::swap(repeated.atari, before.atari);
    repeated.random = before.random;
    repeated.play(move, (move & 1) != 0);
    game.decode(decoder, {drawn.atari->state().ram, drawn.atari->state().cartridge.ram});
    if (move % 4 == 0) require_same(drawn, undrawn);
  }
  require_same(drawn, undrawn);
  require_same(drawn, repeated);
  return 0;
}
