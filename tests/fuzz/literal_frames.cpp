// SPDX-License-Identifier: MIT
// Every frame drawn in both ways: line by line, and literally, access by access, as only those must be that end in
// mid-display. Both must give the same picture and the same console. `make sanitize` runs it: `literal_frames PROGRAMS
// NUM_FRAMES`, with a folder that `python -m tests.fuzz.seeds` wrote.
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "programs.hpp"
#include "rndfast/common/random.hpp"
#include "rndfast/console/fast_interpreter.hpp"
#include "rndfast/games/game_console.hpp"

namespace {

using rndfast::Atari2600;
using rndfast::MachineState;

/// A frame that is run once more.
struct Frame {
  MachineState state;
  std::vector<std::uint8_t> picture = std::vector<std::uint8_t>(rndfast::kMaxScreenHeight * rndfast::kScreenWidth);

  void run(const rndfast::Board& board, std::int32_t height, const std::uint8_t* shades, bool is_literal) {
    constexpr std::int32_t kMaxInstructions = 25'000;
    const std::int32_t first = state.tia.was_reset_in_frame ? board.first_line : 0;
    rndfast::Machine machine{state,
                             board.cartridge,
                             board.program,
                             {board.first_line, height + first},
                             board.allows_hmove_blanks,
                             picture.data(),
                             shades,
                             is_literal,
                             board.simd_level};
    rndfast::run_cpu(machine, kMaxInstructions);
  }
};

template <typename T>
bool same(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

const char* difference(const Frame& a, const Frame& b) {
  if (!same(a.state.ram, b.state.ram)) return "RAM";
  if (a.state.cpu.pc != b.state.cpu.pc || a.state.cycle != b.state.cycle) return "time";
  if (a.state.tia.collisions != b.state.tia.collisions) return "collisions";
  if (!same(a.state.tia.position, b.state.tia.position)) return "positions";
  if (a.picture != b.picture) return "the picture";
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: literal_frames PROGRAMS NUM_FRAMES\n");
    return 2;
  }
  std::array<std::uint8_t, 256> shades;
  std::iota(shades.begin(), shades.end(), std::uint8_t{0});
  rndfast::Mt19937 random;
  random.seed(0);
  int num_frames = 0;
  int num_different = 0;
  for (const rndfast::fuzz::Program& program : rndfast::fuzz::read_programs(argv[1])) {
    const rndfast::GameBoard game(program.game, program.image, shades);
    const rndfast::Board& board = game.board();
    const auto atari = std::make_unique<Atari2600>();
    atari->power_on(board, shades.data(), random);
    for (int i = 0; i < std::stoi(argv[2]); ++i) {
      const std::uint32_t move = random();
      atari->set_controls(board, {.up = (move & 1) != 0,
                                  .down = (move & 2) != 0,
                                  .left = (move & 4) != 0,
                                  .right = (move & 8) != 0,
                                  .fire = (move & 16) != 0,
                                  .reset = i % 32 == 1,
                                  .resistance = {static_cast<std::int32_t>(move >> 12), 400'000}});
      atari->run_frame(board, shades.data(), false);
      if (atari->has_last_picture()) continue;  // it had to be literal, and is not a whole frame
      std::array<MachineState, 3> states;       // the present one, and the starts of the frames in both buffers
      auto* next = states.data();
      atari->for_each_state([&](const MachineState& state) { *next++ = state; });
      Frame by_lines{states[1 + atari->buffer()]};
      Frame literal{by_lines.state};
      by_lines.run(board, atari->height(), shades.data(), false);
      literal.run(board, atari->height(), shades.data(), true);
      ++num_frames;
      if (const char* const what = difference(by_lines, literal)) {
        std::printf("%s, frame %d: %s differs\n", program.name.c_str(), i, what);
        ++num_different;
        break;
      }
    }
  }
  std::printf("%d frames, %d programs with a difference\n", num_frames, num_different);
  return num_different != 0 || num_frames == 0 ? 1 : 0;
}
