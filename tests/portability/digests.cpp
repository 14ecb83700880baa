// SPDX-License-Identifier: MIT
// Prints a digest of what each kernel computes, and of what each program in a folder makes the consoles do, one a line.
// Builds for different processors must print the same. `make cross` compares them.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "../fuzz/schemes.hpp"
#include "rndfast/common/random.hpp"
#include "rndfast/env/area_resize.hpp"
#include "rndfast/env/atari_env.hpp"
#include "rndfast/games/game_console.hpp"
#include "rndfast/learner/discounted_return_filter.hpp"
#include "rndfast/learner/frame_gather.hpp"
#include "rndfast/learner/gae.hpp"
#include "rndfast/learner/running_moments.hpp"

namespace rndfast {
namespace {

constexpr std::size_t kProgramFrames = 60;
constexpr int kEnvSteps = 12;
constexpr std::size_t kSteps = 37;
constexpr std::size_t kEnvs = 29;  // no multiple of a vector's length

/// The 64-bit hash FNV-1a of bytes.
class Digest {
 public:
  template <typename T>
  void add(std::span<const T> values) {
    for (const auto byte : std::as_bytes(values)) hash_ = (hash_ ^ static_cast<std::uint64_t>(byte)) * 0x100000001B3;
  }
  template <typename T>
  void add(const std::vector<T>& values) {
    add(std::span<const T>(values));
  }
  template <typename T>
  void add_value(T value) {
    add(std::span<const T>(&value, 1));
  }
  void print(const std::string& name) const {
    std::printf("%-40s %016llx\n", name.c_str(), static_cast<unsigned long long>(hash_));
  }

 private:
  std::uint64_t hash_ = 0xCBF29CE484222325;
};

std::vector<std::uint8_t> random_bytes(std::size_t size) {
  Mt19937 random(1);
  std::vector<std::uint8_t> bytes(size);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

std::vector<float> random_floats(std::size_t size, std::uint32_t seed) {
  Mt19937 random(seed);
  std::vector<float> values(size);
  for (float& value : values) value = static_cast<float>(random() >> 8) * 0x1p-23F - 1.0F;
  return values;
}

// --- kernels ---

void digest_arithmetic(ThreadPool& pool) {
  const std::vector<float> rewards = random_floats(kSteps * kEnvs, 1);
  const std::vector<float> values = random_floats(kSteps * kEnvs, 2);
  const std::vector<float> next_value = random_floats(kEnvs, 3);
  std::vector<float> out(kSteps * kEnvs);
  Digest gae;
  compute_gae({rewards.data(), kSteps, kEnvs}, {values.data(), kSteps, kEnvs}, next_value, {}, {}, {},
              {out.data(), kSteps, kEnvs}, {.gamma = 0.999, .gae_lambda = 0.95});
  gae.add(out);
  gae.print("gae");

  Digest filtered;
  for (const auto direction : {FilterDirection::kForward, FilterDirection::kBackward}) {
    DiscountedReturnFilter filter(kEnvs, 0.99, direction);
    filter.update({rewards.data(), kSteps, kEnvs}, {out.data(), kSteps, kEnvs});
    filtered.add(out);
    filtered.add(filter.carry());
  }
  filtered.print("discounted returns");

  Digest moments;
  RunningMoments of_floats(kEnvs, 1e-4);
  of_floats.update(rewards, pool, [] {});
  RunningMoments of_bytes(kEnvs, 1e-4);
  of_bytes.update(random_bytes(kSteps * kEnvs), pool, [] {});
  for (const RunningMoments* of : {&of_floats, &of_bytes}) {
    moments.add(of->mean());
    moments.add(of->m2());
  }
  moments.print("moments");
}

template <typename Out>
void digest_gathers(ThreadPool& pool, const std::string& name) {
  constexpr std::size_t kSide = 84;
  constexpr std::size_t kFrames = 8;
  constexpr std::size_t kStack = 4;
  const std::vector<std::uint8_t> frames = random_bytes(kFrames * kStack * kSide * kSide);
  const std::vector<std::uint8_t> valid_frames = {1, 2, 3, 4, 4, 4, 4, 4};
  const FrameStoreView store = {frames.data(), kStack, kFrames, 1, kSide, kSide};
  std::vector<std::int64_t> indices(kFrames);
  std::iota(indices.begin(), indices.end(), 0);
  std::vector<Out> stacks(kFrames * kStack * kSide * kSide);
  gather_stacks(store, valid_frames, indices, kStack, stacks.data(), pool, [] {});
  Digest gathered;
  gathered.add(stacks);
  gathered.print("stacks, " + name);

  const std::vector<float> mean = random_floats(kSide * kSide, 4);
  const std::vector<float> deviation = random_floats(kSide * kSide, 5);
  std::vector<Out> normalized(kFrames * kSide * kSide);
  normalize_frames(store, indices, {mean, deviation, deviation, 5.0F}, normalized.data(), pool, [] {});
  Digest normal;
  normal.add(normalized);
  normal.print("normalised frames, " + name);
}

void digest_resizes(SimdLevel level) {
  const std::vector<std::uint8_t> pictures = random_bytes(2 * 250 * 160 * 3);
  for (const std::size_t height : {210, 250}) {
    for (const std::size_t side : {42, 84, 105, 300}) {
      for (const std::size_t channels : {1, 3}) {
        const AreaResize resize({height, 160}, {side, side}, channels, level);
        std::vector<std::uint8_t> out(side * side * channels);
        std::vector<std::byte> scratch(resize.scratch_size());
        resize.resize_max(pictures.data(), pictures.data() + height * 160 * channels, out.data(), scratch);
        Digest digest;
        digest.add(out);
        digest.print("resize " + std::to_string(height) + " to " + std::to_string(side) + ", " +
                     std::to_string(channels) + " channels");
      }
    }
  }
}

// --- consoles ---

void digest_console(const Game& game, std::span<const std::uint8_t> rom, const std::string& name) {
  std::array<std::uint8_t, 256> shades;
  std::iota(shades.begin(), shades.end(), std::uint8_t{0});
  const GameBoard board(game, rom, shades);
  const auto console = std::make_unique<GameConsole>();
  console->switch_on(board);
  console->load(board, {}, 1);
  const auto pixels = static_cast<std::size_t>(console->atari().height() * kScreenWidth);
  Mt19937 random(2);
  Digest digest;
  for (std::size_t frame = 0; frame < kProgramFrames; ++frame) {
    const auto action = static_cast<Action>(random() % 18);
    const bool wants_picture = random() % 4 != 0;
    digest.add_value(console->act(board, action, 1.0F, wants_picture));
    digest.add(std::span<const std::uint8_t>(console->atari().ram()));
    if (wants_picture) digest.add(std::span(console->picture(board, 0), pixels));
  }
  digest.print(name);
}

void digest_env(const Game& game, std::span<const std::uint8_t> rom, const std::string& name, SimdLevel level) {
  const EnvPlan plan(game, rom, {}, level, false);
  std::vector<std::uint8_t> stack(plan.observation_size());
  const AtariEnv::Frames frames = {stack.data(), nullptr};
  const auto env = std::make_unique<AtariEnv>();
  StepRecord record;
  AtariEnv::Final final;
  Mt19937 random(3);
  env->seed(plan, 1);
  env->reset(plan, frames, record);
  Digest digest;
  for (int step = 0; step < kEnvSteps; ++step) {
    env->step(plan, frames, plan.actions()[random() % plan.actions().size()], record, final);
    digest.add(stack);
    digest.add_value(record.reward);
    digest.add(std::span<const std::uint8_t>(record.ram));
  }
  digest.print(name + ", environment");
}

/// A file as tests/fuzz/seeds.py writes it: of a game, or of a program that is taken for Montezuma's Revenge.
void digest_file(const std::filesystem::path& path, SimdLevel level) {
  std::ifstream stream(path, std::ios::binary);
  const std::vector<char> chars{std::istreambuf_iterator<char>(stream), {}};
  const std::vector<std::uint8_t> bytes(chars.begin(), chars.end());
  const auto rom = std::span(bytes).subspan(3U + bytes.at(2));
  const std::string name = path.filename();
  if (name.starts_with("game-")) {
    const Game& game = all_games()[bytes.at(1)];
    digest_console(game, rom, name);
    digest_env(game, rom, name, level);
  } else {
    Game game = *find_game("montezuma_revenge");
    game.scheme = fuzz::kSchemes.at(bytes.at(0)).scheme;
    digest_console(game, rom, name);
  }
}

void print_all(const std::filesystem::path& folder) {
  const SimdLevel level = detect_simd_level();
  ThreadPool pool(1, level);
  std::fprintf(stderr, "instruction set: %s\n", std::string(simd_level_name(level)).c_str());
  digest_arithmetic(pool);
  digest_gathers<float>(pool, "float32");
  digest_gathers<Bfloat16>(pool, "bfloat16");
  digest_resizes(level);
  std::set<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) paths.insert(entry.path());
  for (const auto& path : paths) digest_file(path, level);
}

}  // namespace
}  // namespace rndfast

/// The argument: a folder that `python -m tests.fuzz.seeds` has written.
int main(int argc, char** argv) {
  try {
    if (argc != 2) throw std::invalid_argument("the argument must be a folder of programs");
    rndfast::print_all(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
