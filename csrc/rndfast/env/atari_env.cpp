// SPDX-License-Identifier: MIT
#include "rndfast/env/atari_env.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "rndfast/common/valid_state.hpp"

namespace rndfast {
namespace {

std::array<std::uint8_t, 256> identity_shades() {
  std::array<std::uint8_t, 256> shades;
  std::iota(shades.begin(), shades.end(), std::uint8_t{0});
  return shades;
}

GameConsole switched_on_console(const Game& game, std::span<const std::uint8_t> rom) {
  const GameBoard board(game, rom, identity_shades());
  GameConsole console;
  console.switch_on(board);
  return console;
}

EnvSettings checked(const EnvSettings& settings) {
  if (settings.pool_before_grey && settings.ale_compatible) {
    throw std::invalid_argument("pool_before_grey must be False with ale_compatible: ale-py turns frames grey first");
  }
  return settings;
}

/// Uniform in [0, bound), as std::uniform_int_distribution of GNU's library draws it.
std::uint32_t draw_below(std::uint32_t bound, Mt19937& random) {
  std::uint64_t product = std::uint64_t{random()} * bound;
  if (static_cast<std::uint32_t>(product) < bound) {
    const std::uint32_t threshold = (0U - bound) % bound;
    while (static_cast<std::uint32_t>(product) < threshold) product = std::uint64_t{random()} * bound;
  }
  return static_cast<std::uint32_t>(product >> 32);
}

/// Memory of the calling thread, which keeps it.
std::span<std::byte> scratch(std::size_t size) {
  thread_local std::vector<std::byte> memory;
  if (memory.size() < size) memory.resize(size);
  return std::span(memory).first(size);
}

}  // namespace

EnvPlan::EnvPlan(const Game& game, std::span<const std::uint8_t> rom, const EnvSettings& settings, SimdLevel level,
                 bool remembers_resets)
    : settings_(checked(settings)),
      switched_on_(switched_on_console(game, rom)),
      board_(game, rom, has_colors() ? identity_shades() : colors().grey, level),
      actions_(settings.full_action_space ? game.legal_actions() : game.minimal_actions),
      resize_({picture_height(), kScreenWidth},
              {static_cast<std::size_t>(settings.img_height), static_cast<std::size_t>(settings.img_width)}, channels(),
              level) {
  if (remembers_resets) reset_memo_ = std::make_unique<ResetMemo>();
  if (settings.grayscale && settings.pool_before_grey) grey_pool_.emplace(colors());
}

bool EnvPlan::fires() const {
  return settings_.use_fire_reset && std::ranges::find(actions_, Action::kFire) != actions_.end();
}

std::size_t EnvPlan::frame_size() const {
  return static_cast<std::size_t>(settings_.img_height) * static_cast<std::size_t>(settings_.img_width) * channels();
}

void EnvPlan::pool_colors(const std::uint8_t* first, const std::uint8_t* second, std::size_t num_pixels,
                          std::uint8_t* rgb) const {
  const auto& table = colors().rgb;
  for (std::size_t i = 0; i < num_pixels; ++i) {
    for (std::size_t channel = 0; channel < 3; ++channel) {
      rgb[3 * i + channel] = std::max(table[first[i]][channel], table[second[i]][channel]);
    }
  }
}

void EnvPlan::pool_rows(const std::uint8_t* first, const std::uint8_t* second, AreaResize::RowRange rows,
                        std::uint8_t* pooled) const {
  const std::size_t height = rows.end - rows.begin;
  const std::size_t pixels = height * kScreenWidth;
  first += rows.begin * std::size_t{kScreenWidth};
  second += rows.begin * std::size_t{kScreenWidth};
  pooled += rows.begin * std::size_t{kScreenWidth} * channels();
  if (!settings_.grayscale) {
    pool_colors(first, second, pixels, pooled);
  } else if (grey_pool_) {
    grey_pool_->pool(first, second, height, pooled);
  } else if (settings_.keeps_colors) {
    const auto& grey = colors().grey;
    for (std::size_t i = 0; i < pixels; ++i) pooled[i] = std::max(grey[first[i]], grey[second[i]]);
  } else {
    for (std::size_t i = 0; i < pixels; ++i) pooled[i] = std::max(first[i], second[i]);
  }
}

void EnvPlan::pool_into(const std::uint8_t* picture, std::uint8_t* pooled) const {
  const auto memory = scratch(pooled_size());
  auto* const seen = reinterpret_cast<std::uint8_t*>(memory.data());
  pool(picture, picture, seen);
  for (std::size_t i = 0; i < pooled_size(); ++i) pooled[i] = std::max(pooled[i], seen[i]);
}

void EnvPlan::make_frame(const std::uint8_t* first, const std::uint8_t* second, std::uint8_t* frame) const {
  make_rows(first, second, resize_.all_rows(), frame);
}

void EnvPlan::update_frame(const std::uint8_t* first, const std::uint8_t* second,
                           std::span<const std::uint8_t> is_changed, std::uint8_t* frame) const {
  thread_local std::vector<std::uint32_t> rows;
  rows.clear();
  std::array<std::uint32_t, kMaxScreenHeight + 1> num_changed{};  // above each row of the pictures
  std::inclusive_scan(is_changed.begin(), is_changed.end(), num_changed.begin() + 1, std::plus<>(), 0U);
  const auto source_rows = resize_.source_rows();
  for (const std::uint32_t y : resize_.all_rows()) {
    const auto [begin, end] = source_rows[y];
    if (num_changed[begin] != num_changed[end]) rows.push_back(y);
  }
  make_rows(first, second, rows, frame);
}

void EnvPlan::make_rows(const std::uint8_t* first, const std::uint8_t* second, std::span<const std::uint32_t> rows,
                        std::uint8_t* frame) const {
  const std::size_t resize_bytes = resize_.scratch_size();
  if (!has_colors()) {
    resize_.resize_rows(first, second, rows, frame, scratch(resize_bytes));
    return;
  }
  const auto memory = scratch(resize_bytes + pooled_size());
  auto* const pooled = reinterpret_cast<std::uint8_t*>(memory.subspan(resize_bytes).data());
  const auto source_rows = resize_.source_rows();
  for (std::size_t i = 0; i < rows.size();) {
    AreaResize::RowRange run = source_rows[rows[i]];  // those of neighbours overlap or touch
    for (++i; i < rows.size() && source_rows[rows[i]].begin <= run.end; ++i) run.end = source_rows[rows[i]].end;
    pool_rows(first, second, run, pooled);
  }
  resize_.resize_rows(pooled, pooled, rows, frame, memory.first(resize_bytes));
}

void EnvPlan::resize_pooled(const std::uint8_t* pooled, std::uint8_t* frame) const {
  resize_.resize(pooled, frame, scratch(resize_.scratch_size()));
}

void AtariEnv::seed(const EnvPlan& plan, std::uint32_t seed) {
  console_ = plan.switched_on();
  console_.load(plan.board(), {.repeat_action_probability = plan.settings().repeat_action_probability}, seed,
                plan.reset_memo());
  if (plan.settings().mode) console_.set_mode(*plan.settings().mode);
  console_.set_difficulty(plan.settings().difficulty);
  noop_random_.seed(seed);
  game_goes_on_ = false;
}

void AtariEnv::start_game(const EnvPlan& plan) {
  const EnvSettings& settings = plan.settings();
  const GameBoard& board = plan.board();
  console_.reset(board, plan.reset_memo());
  const bool fires = plan.fires();
  if (fires) console_.act(board, Action::kFire, 1, false);
  const auto bound = static_cast<std::uint32_t>(std::max(settings.noop_max, 1));
  const std::uint32_t num_noops = draw_below(bound, noop_random_);
  for (std::uint32_t frame = fires ? 1 : 0; frame < num_noops; ++frame) {
    console_.act(board, Action::kNoop, 1, false);
    if (console_.is_over()) console_.reset(board, plan.reset_memo());
  }
  elapsed_frames_ = 0;
}

void AtariEnv::reset(const EnvPlan& plan, const Frames& frames, StepRecord& record) {
  const std::size_t newest = plan.observation_size() - plan.frame_size();
  const bool goes_on = game_goes_on_;
  game_goes_on_ = false;
  bool game_over = false;
  if (goes_on) {
    // a further life may be lost on the way
    play(plan, frames, Action::kNoop, plan.fires() ? Action::kFire : Action::kNoop, record);
    game_over = record.game_over;
  }
  if (!goes_on || game_over) {
    start_game(plan);
    const std::uint8_t* const picture = console_.picture(plan.board(), 0);
    if (frames.pooled != nullptr) plan.pool(picture, picture, frames.pooled);
    plan.make_frame(picture, picture, frames.stack + newest);
  }
  std::memset(frames.stack, 0, newest);
  lives_ = console_.lives(plan.board());
  has_ended_ = false;
  game_goes_on_ = false;
  episode_return_ = 0;
  episode_length_ = 0;
  counts_start_anew_ = false;
  record = {};
  record.game_over = game_over;
  describe(plan, record);
}

bool AtariEnv::step(const EnvPlan& plan, const Frames& frames, Action action, StepRecord& record, Final& final) {
  const EnvSettings& settings = plan.settings();
  if (has_ended_ && settings.autoreset == Autoreset::kNextStep) {
    reset(plan, frames, record);
    return false;
  }
  play(plan, frames, action, action, record);
  if (settings.autoreset != Autoreset::kSameStep || !(record.terminated || record.truncated)) return false;
  final.record = record;
  final.stack.assign(frames.stack, frames.stack + plan.observation_size());
  if (!has_ended_) return true;  // a life was lost, and only reported
  StepRecord after_reset;
  reset(plan, frames, after_reset);
  describe(plan, record);
  record.game_over |= after_reset.game_over;
  final.record.game_over = record.game_over;
  return true;
}

void AtariEnv::play(const EnvPlan& plan, const Frames& frames, Action action, Action last_action, StepRecord& record) {
  const EnvSettings& settings = plan.settings();
  const GameBoard& board = plan.board();
  if (counts_start_anew_) {
    episode_return_ = 0;
    episode_length_ = 0;
  }
  std::int64_t reward = 0;
  std::int32_t frames_left = settings.frameskip;
  bool is_over = false;
  bool has_lost_life = false;
  bool is_out_of_frames = false;
  bool stops = false;
  while (frames_left > 0 && !stops) {
    const bool wants_picture = frames_left == 1 || (frames_left == 2 && settings.maxpool);
    reward += console_.act(board, frames_left == 1 ? last_action : action, 1, wants_picture);
    --frames_left;
    ++elapsed_frames_;
    const std::int32_t lives = console_.lives(board);
    is_over = console_.is_over();
    has_lost_life = lives < lives_ && lives > 0;
    is_out_of_frames = elapsed_frames_ >= settings.max_num_frames_per_episode;
    stops = is_over || is_out_of_frames || (settings.episodic_life && has_lost_life);
  }
  observe(plan, frames, stops, frames_left == 0);

  lives_ = console_.lives(board);
  has_ended_ = stops;
  game_goes_on_ = stops && !is_over && !is_out_of_frames && !settings.ale_compatible;
  record.reward_raw = static_cast<float>(reward);
  record.reward = static_cast<float>(settings.reward_clipping ? std::clamp<std::int64_t>(reward, -1, 1) : reward);
  record.terminated = is_over || ((settings.life_loss_info || settings.episodic_life) && has_lost_life);
  record.truncated = is_out_of_frames && !record.terminated;
  record.game_over = stops && !game_goes_on_;
  episode_return_ += static_cast<double>(reward);
  ++episode_length_;
  record.episode_return = static_cast<float>(episode_return_);
  record.episode_length = episode_length_;
  counts_start_anew_ = record.terminated || record.truncated;
  describe(plan, record);
}

/// Adds the step's frame to the stack.
void AtariEnv::observe(const EnvPlan& plan, const Frames& frames, bool stopped, bool ran_all_frames) {
  const GameBoard& board = plan.board();
  const std::size_t frame_size = plan.frame_size();
  const std::size_t newest = plan.observation_size() - frame_size;
  std::memmove(frames.stack, frames.stack + frame_size, newest);
  const bool pools = plan.pools();
  std::uint8_t* const frame = frames.stack + newest;
  if (frames.pooled == nullptr) {
    const std::uint8_t* const last = console_.picture(board, 0);
    if (!pools) {
      plan.make_frame(last, last, frame);
      return;
    }
    // it still holds the step before; after a reset, when it holds a single picture, all rows count as changed
    const std::uint8_t* const other = console_.picture(board, 1);
    plan.update_frame(last, other, console_.atari().changed_rows(), frame);
    console_.atari().set_changed(false);
    return;
  }
  // ale-py never looks at the frame that stops a step; it pools what it has seen with what it showed before
  if (!stopped) {
    const std::uint8_t* const last = console_.picture(board, 0);
    plan.pool(last, pools ? console_.picture(board, 1) : last, frames.pooled);
  } else if (ran_all_frames && pools) {
    plan.pool_into(console_.picture(board, 1), frames.pooled);
  }
  plan.resize_pooled(frames.pooled, frame);
}

void AtariEnv::validate(const EnvPlan& plan) const {
  static_assert(sizeof(AtariEnv) == sizeof(GameConsole) + sizeof(Mt19937) + 28, "validate() must know every member");
  constexpr std::int32_t kMaxSteps = std::numeric_limits<std::int32_t>::max() - (1 << 24);  // may still be added to
  constexpr double kMaxReturn = 0x1p53;
  const EnvSettings& settings = plan.settings();
  console_.validate(plan.board(), plan.switched_on());
  const GameSettings& of_console = console_.settings();
  require_state(of_console.repeat_action_probability == settings.repeat_action_probability &&
                    of_console.max_num_frames_per_episode == 0 &&
                    console_.mode() == settings.mode.value_or(plan.board().game().modes.front()),
                "the console's settings must be those of the environment");
  noop_random_.validate();
  require_state_flag("has_ended", has_ended_);
  require_state_flag("game_goes_on", game_goes_on_);
  require_state_flag("counts_start_anew", counts_start_anew_);
  const std::int32_t max_frames = settings.max_num_frames_per_episode;
  require_state_between("the frames of the episode", elapsed_frames_, 0, has_ended_ ? max_frames : max_frames - 1);
  require_state_between("the episode's return", episode_return_, -kMaxReturn, kMaxReturn);
  require_state_between("the episode's length", episode_length_, 0, kMaxSteps);
}

void AtariEnv::describe(const EnvPlan& plan, StepRecord& record) const {
  record.lives = console_.lives(plan.board());
  record.frame_number = console_.frame_number();
  record.episode_frame_number = console_.episode_frame_number();
  record.room = console_.room(plan.board());
  std::ranges::copy(console_.atari().ram(), record.ram);
}

}  // namespace rndfast
