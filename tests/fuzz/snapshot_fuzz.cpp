// SPDX-License-Identifier: MIT
// Altered snapshots with the sum made right again, as anyone can write them: each must be refused, or be a state that
// runs, under AddressSanitizer and UndefinedBehaviorSanitizer, without any report. `make fuzz` and `make sanitize` run
// it: `snapshot_fuzz PROGRAMS NUM_SNAPSHOTS SEED`, with a folder that `python -m tests.fuzz.seeds` wrote.
//
// A program is played for a while, and snapshots of it altered in one to sixteen bytes. What is not refused is played
// for 60 frames, shown, and saved: that snapshot must be accepted, since what has run from a valid state is valid. A
// snapshot that nothing has altered must always be accepted.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "programs.hpp"
#include "rndfast/env/batch_calls.hpp"
#include "rndfast/env/snapshot.hpp"

namespace {

using rndfast::AtariBatch;
using rndfast::BatchCalls;
using Bytes = std::vector<std::uint8_t>;
using Random = std::mt19937_64;
using rndfast::fuzz::Program;

constexpr std::int32_t kFrames = 60;       // that an altered state is played on
constexpr std::size_t kAlterations = 100;  // of one snapshot, before the program is played on
constexpr std::size_t kMaxAlteredBytes = 16;
constexpr std::size_t kPictureBytes = 2 * rndfast::kMaxScreenHeight * rndfast::kScreenWidth;

std::size_t below(std::size_t bound, Random& random) { return static_cast<std::size_t>(random() % bound); }

/// One environment, with all that a front end may ask of it.
class Player {
 public:
  Player(const Program& program, Random& random)
      : calls_(program.game, program.image, settings_of(random), 1, 1, -1, rndfast::detect_simd_level()),
        observations_(calls_.batch().plan().observation_size()),
        picture_(calls_.batch().plan().picture_height() * rndfast::kScreenWidth * 3) {
    const std::array<std::int64_t, 1> seeds = {static_cast<std::int64_t>(below(1000, random))};
    calls_.reset(kIds, seeds, kNoPoll);
  }

  void play(std::int32_t num_frames, Random& random) {
    const std::int32_t frames_per_step = calls_.batch().plan().settings().frameskip;
    for (std::int32_t frame = 0; frame < num_frames; frame += frames_per_step) step(random);
  }

  void look() {
    rndfast::StepRecord record;
    calls_.batch().observe(0, observations_.data(), record);
    calls_.batch().render(0, picture_.data());
  }

  AtariBatch& batch() { return calls_.batch(); }

 private:
  void step(Random& random) {
    const std::array<std::int64_t, 1> actions = {
        static_cast<std::int64_t>(below(calls_.batch().plan().actions().size(), random))};
    calls_.send(kIds, actions, {observations_.data(), &table_, &final_table_, final_observations_.data()}, nullptr,
                rndfast::WorkerQueue::Start::kAllButThread0, kNoPoll);
    calls_.receive(kNoPoll);
  }

  static constexpr std::array<std::int64_t, 1> kIds = {0};
  static constexpr auto kNoPoll = [] {};

  static rndfast::EnvSettings settings_of(Random& random) {
    rndfast::EnvSettings settings;
    settings.img_height = settings.img_width = 8;  // resizing is not what is looked for
    settings.stack_num = 2;
    settings.frameskip = std::array{4, 20, 30}[below(3, random)];
    settings.noop_max = 2;
    settings.keeps_colors = true;
    settings.episodic_life = random() % 2 == 0;
    settings.ale_compatible = random() % 4 == 0;
    settings.autoreset = random() % 2 == 0 ? rndfast::Autoreset::kNextStep : rndfast::Autoreset::kSameStep;
    return settings;
  }

  BatchCalls calls_;
  Bytes observations_;
  Bytes picture_;
  rndfast::StepTable table_{1};
  rndfast::StepTable final_table_{1};
  std::array<Bytes, 1> final_observations_;
};

/// Changes one to sixteen bytes. Most of a state is pictures, which may be anything: most changes are elsewhere.
void alter(std::span<std::uint8_t> state, Random& random) {
  constexpr std::size_t kPicturesEnd = sizeof(rndfast::GameConsole);  // a console's last member
  constexpr std::size_t kPicturesBegin = kPicturesEnd - kPictureBytes;
  const auto draw_place = [&] {
    if (below(16, random) == 0) return below(state.size(), random);
    const std::size_t place = below(state.size() - kPictureBytes, random);
    return place < kPicturesBegin ? place : place + kPictureBytes;
  };
  const bool are_neighbours = below(4, random) == 0;
  std::size_t place = draw_place();
  for (std::size_t left = 1 + below(kMaxAlteredBytes, random); left > 0; --left) {
    std::uint8_t& byte = state[place];
    const std::array<std::size_t, 8> choices = {
        byte ^ (1U << below(8, random)), byte + 1U, byte - 1U, 0, 1, 0x7F, 0xFF, random()};
    byte = static_cast<std::uint8_t>(choices[below(choices.size(), random)]);
    place = are_neighbours ? std::min(place + 1, state.size() - 1) : draw_place();
  }
}

struct Count {
  std::size_t num_snapshots = 0;
  std::size_t num_accepted = 0;
};

/// Alters snapshots of one program at a few moments of its life.
void fuzz(const Program& program, std::size_t num_snapshots, Random& random, Count& count) {
  Player player(program, random);
  Bytes before;
  for (std::size_t i = 0; i < num_snapshots; ++i) {
    if (i % kAlterations == 0) {
      player.play(static_cast<std::int32_t>(below(160, random)), random);
      before = player.batch().snapshot();
    }
    const auto line_end = static_cast<std::size_t>(std::ranges::find(before, '\n') - before.begin());
    const std::size_t header_bytes = line_end + 1 + sizeof(std::uint64_t);
    Bytes altered = before;
    alter(std::span(altered).subspan(header_bytes, sizeof(rndfast::AtariEnv)), random);
    rndfast::add_sum(altered);
    ++count.num_snapshots;
    try {
      player.batch().restore(altered);
    } catch (const std::invalid_argument&) {
      if (player.batch().snapshot() != before) throw std::logic_error("a refused snapshot has changed something");
      continue;
    }
    ++count.num_accepted;
    player.look();
    player.play(kFrames, random);
    player.look();
    player.batch().restore(player.batch().snapshot());
    player.batch().restore(before);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: snapshot_fuzz PROGRAMS NUM_SNAPSHOTS SEED\n");
    return 2;
  }
  const std::vector<Program> programs = rndfast::fuzz::read_programs(argv[1]);
  const std::size_t num_snapshots = std::stoul(argv[2]);
  Random random(std::stoul(argv[3]));
  Count count;
  const std::size_t num_of_each = num_snapshots / programs.size() + 1;
  for (const Program& program : programs) {
    try {
      fuzz(program, num_of_each, random, count);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s, after %zu snapshots: %s\n", program.name.c_str(), count.num_snapshots, error.what());
      return 1;
    }
  }
  std::printf("%zu altered snapshots of %zu programs: %zu refused, %zu played on\n", count.num_snapshots,
              programs.size(), count.num_snapshots - count.num_accepted, count.num_accepted);
}
