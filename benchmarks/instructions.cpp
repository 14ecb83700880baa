// SPDX-License-Identifier: MIT
// Runs one kernel on fixed inputs, so that callgrind can count its instructions. instructions.py does so.
#include <gnu/libc-version.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "../tests/cpp/sample_rom.hpp"
#include "rndfast/common/function_ref.hpp"
#include "rndfast/common/random.hpp"
#include "rndfast/common/simd.hpp"
#include "rndfast/common/thread_pool.hpp"
#include "rndfast/env/area_resize.hpp"
#include "rndfast/env/atari_env.hpp"
#include "rndfast/games/game_console.hpp"
#include "rndfast/learner/discounted_return_filter.hpp"
#include "rndfast/learner/frame_gather.hpp"
#include "rndfast/learner/gae.hpp"
#include "rndfast/learner/running_moments.hpp"

/// What is counted: callgrind knows this function by its name.
extern "C" [[gnu::noinline]] void rndfast_counted(rndfast::FunctionRef<void()> work) {
  work();
  asm volatile("");  // so that this is no jump into `work`: callgrind stops counting where the function returns
}

namespace rndfast {
namespace {

constexpr std::size_t kSteps = 128;
constexpr std::size_t kEnvs = 128;
constexpr std::size_t kSide = 84;
constexpr std::size_t kFrameSize = kSide * kSide;
constexpr std::size_t kStack = 4;
constexpr std::size_t kBatch = 64;  // frames or stacks
constexpr std::size_t kConsoleFrames = 60;
constexpr std::int32_t kEnvSteps = 15;

template <typename T>
std::vector<T> random_values(std::size_t size, std::uint32_t bound) {
  Mt19937 random(1);
  std::vector<T> values(size);
  for (T& value : values) value = static_cast<T>(random() % bound);
  return values;
}

std::vector<float> random_floats(std::size_t size) {
  std::vector<float> values = random_values<float>(size, 2001);
  for (float& value : values) value = value / 1000.0F - 1.0F;
  return values;
}

// --- kernels of the learner ---

void count_gae(SimdLevel) {
  const std::vector<float> rewards = random_floats(kSteps * kEnvs);
  const std::vector<float> values = random_floats(kSteps * kEnvs);
  const std::vector<float> next_value = random_floats(kEnvs);
  const std::unique_ptr<bool[]> terminated(new bool[kSteps * kEnvs]());
  for (std::size_t i = 0; i < kSteps * kEnvs; i += 101) terminated[i] = true;
  std::vector<float> out(kSteps * kEnvs);
  rndfast_counted([&] {
    compute_gae({rewards.data(), kSteps, kEnvs}, {values.data(), kSteps, kEnvs}, next_value,
                {terminated.get(), kSteps, kEnvs}, {}, {}, {out.data(), kSteps, kEnvs},
                {.gamma = 0.999, .gae_lambda = 0.95});
  });
}

void count_return_filter(SimdLevel) {
  const std::vector<float> rewards = random_floats(kSteps * kEnvs);
  std::vector<float> out(kSteps * kEnvs);
  DiscountedReturnFilter filter(kEnvs, 0.99, FilterDirection::kForward);
  rndfast_counted([&] { filter.update({rewards.data(), kSteps, kEnvs}, {out.data(), kSteps, kEnvs}); });
}

void count_pixel_moments(SimdLevel level) {
  const auto frames = random_values<std::uint8_t>(kBatch * kFrameSize, 256);
  RunningMoments moments(kFrameSize, 1e-4);
  ThreadPool pool(1, level);
  rndfast_counted([&] { moments.update(frames, pool, [] {}); });
}

void count_return_moments(SimdLevel level) {
  const std::vector<float> returns = random_floats(kSteps * kEnvs);
  RunningMoments moments(1, 1e-4);
  ThreadPool pool(1, level);
  rndfast_counted([&] { moments.update(returns, pool, [] {}); });
}

/// A store of kBatch environments that holds one stack of frames each.
struct Store {
  std::vector<std::uint8_t> frames = random_values<std::uint8_t>(kStack * kBatch * kFrameSize, 256);
  std::vector<std::uint8_t> valid_frames = std::vector<std::uint8_t>(kBatch, kStack);
  std::vector<std::int64_t> indices = std::vector<std::int64_t>(kBatch);

  Store() {
    for (std::size_t n = 0; n < kBatch; n += 16) valid_frames[n] = 1;  // a few episodes have just begun
    std::iota(indices.begin(), indices.end(), 0);
  }
  FrameStoreView view() const { return {frames.data(), kStack, kBatch, 1, kSide, kSide}; }
};

template <typename Out>
void count_gather_stacks(SimdLevel level) {
  const Store store;
  std::vector<Out> out(kBatch * kStack * kFrameSize);
  ThreadPool pool(1, level);
  rndfast_counted(
      [&] { gather_stacks(store.view(), store.valid_frames, store.indices, kStack, out.data(), pool, [] {}); });
}

template <typename Out>
void count_normalize_frames(SimdLevel level) {
  const Store store;
  const std::vector<float> mean_high = random_values<float>(kFrameSize, 256);
  const std::vector<float> mean_low(kFrameSize, 1e-6F);
  const std::vector<float> inverse_std(kFrameSize, 0.05F);
  std::vector<Out> out(kBatch * kFrameSize);
  ThreadPool pool(1, level);
  rndfast_counted([&] {
    normalize_frames(store.view(), store.indices, {mean_high, mean_low, inverse_std, 5.0F}, out.data(), pool, [] {});
  });
}

// --- the environments ---

/// Pictures of the console's size: random rectangles, since real ones have large areas of one shade.
std::vector<std::uint8_t> random_picture(std::uint32_t seed) {
  constexpr std::size_t kHeight = 210;
  constexpr std::size_t kWidth = 160;
  std::vector<std::uint8_t> picture(kHeight * kWidth);
  Mt19937 random(seed);
  for (int rectangle = 0; rectangle < 60; ++rectangle) {
    const std::size_t top = random() % kHeight;
    const std::size_t left = random() % kWidth;
    const std::size_t height = std::min<std::size_t>(1 + random() % 40, kHeight - top);
    const std::size_t width = std::min<std::size_t>(1 + random() % 40, kWidth - left);
    const auto shade = static_cast<std::uint8_t>(random());
    for (std::size_t y = top; y < top + height; ++y) std::fill_n(picture.data() + y * kWidth + left, width, shade);
  }
  return picture;
}

void count_resize(SimdLevel level, bool pools) {
  const std::vector<std::uint8_t> first = random_picture(1);
  const std::vector<std::uint8_t> second = random_picture(2);
  std::vector<std::uint8_t> out(kFrameSize);
  const AreaResize resize({210, 160}, {kSide, kSide}, 1, level);
  std::vector<std::byte> scratch(resize.scratch_size());
  const std::uint8_t* const other = pools ? second.data() : first.data();
  rndfast_counted([&] { resize.resize_max(first.data(), other, out.data(), scratch); });
}

/// The sample with a decoder to which its games go on: a reset would be more work than the steps.
const Game& sample_game() {
  static const Game kGame = [] {
    Game game = *find_game("montezuma_revenge");
    game.scheme = CartridgeScheme::k4K;
    return game;
  }();
  return kGame;
}

void count_console(SimdLevel level, bool wants_picture) {
  std::array<std::uint8_t, 256> shades;
  std::iota(shades.begin(), shades.end(), std::uint8_t{0});
  const GameBoard board(sample_game(), tests::sample_rom(), shades, level);
  const auto console = std::make_unique<GameConsole>();
  console->switch_on(board);
  console->load(board, {}, 1);
  console->reset(board);
  rndfast_counted([&] {
    for (std::size_t frame = 0; frame < kConsoleFrames; ++frame) {
      console->act(board, static_cast<Action>(frame / 4 % 18), 1.0F, wants_picture);
    }
  });
}

void count_env_steps(SimdLevel level, bool pool_before_grey) {
  EnvSettings settings;
  settings.pool_before_grey = pool_before_grey;
  const EnvPlan plan(sample_game(), tests::sample_rom(), settings, level);
  std::vector<std::uint8_t> stack(plan.observation_size());
  const auto env = std::make_unique<AtariEnv>();
  StepRecord record;
  AtariEnv::Final final;
  const AtariEnv::Frames frames = {stack.data(), nullptr};
  env->seed(plan, 1);
  env->reset(plan, frames, record);
  rndfast_counted([&] {
    for (std::int32_t step = 0; step < kEnvSteps; ++step) {
      const Action action = plan.actions()[static_cast<std::size_t>(step) % plan.actions().size()];
      env->step(plan, frames, action, record, final);
    }
  });
  if (env->has_ended() || record.episode_length != kEnvSteps) throw std::runtime_error("the sample's game has ended");
}

struct Kernel {
  const char* name;
  void (*run)(SimdLevel level);
};

constexpr Kernel kKernels[] = {
    {"gae, 128 x 128", count_gae},
    {"return filter, 128 x 128", count_return_filter},
    {"pixel moments, 64 frames", count_pixel_moments},
    {"return moments, 128 x 128", count_return_moments},
    {"gather, 64 stacks, float32", count_gather_stacks<float>},
    {"gather, 64 stacks, bfloat16", count_gather_stacks<Bfloat16>},
    {"normalise, 64 frames, float32", count_normalize_frames<float>},
    {"normalise, 64 frames, bfloat16", count_normalize_frames<Bfloat16>},
    {"resize, 1 picture", [](SimdLevel level) { count_resize(level, false); }},
    {"pool and resize, 2 pictures", [](SimdLevel level) { count_resize(level, true); }},
    {"console, 60 frames not drawn", [](SimdLevel level) { count_console(level, false); }},
    {"console, 60 frames drawn", [](SimdLevel level) { count_console(level, true); }},
    {"environment, 15 steps", [](SimdLevel level) { count_env_steps(level, false); }},
    {"environment, 15 steps, pooled in colour", [](SimdLevel level) { count_env_steps(level, true); }},
};

/// Prints what counts depend on besides the sources, and the kernels, as lines "name: value".
void describe() {
#ifdef __clang__
  std::printf("compiler: %s\n", __VERSION__);
#else
  std::printf("compiler: GCC %s\n", __VERSION__);
#endif
  std::printf("libc: glibc %s\n", gnu_get_libc_version());
  for (const Kernel& kernel : kKernels) std::printf("kernel: %s\n", kernel.name);
}

void run(const std::string& name, const std::string& level) {
  const auto* const kernel = std::ranges::find(kKernels, name, &Kernel::name);
  if (kernel == std::end(kKernels)) throw std::invalid_argument("unknown kernel '" + name + "'");
  kernel->run(parse_simd_level(level));
}

}  // namespace
}  // namespace rndfast

/// No arguments: describe. Otherwise: kernel, SIMD level.
int main(int argc, char** argv) {
  try {
    if (argc == 1) {
      rndfast::describe();
    } else if (argc == 3) {
      rndfast::run(argv[1], argv[2]);
    } else {
      throw std::invalid_argument("arguments must be a kernel and a SIMD level, or none");
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
