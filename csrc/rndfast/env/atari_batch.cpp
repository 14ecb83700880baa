// SPDX-License-Identifier: MIT
#include "rndfast/env/atari_batch.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "rndfast/env/snapshot.hpp"

namespace rndfast {

AtariBatch::AtariBatch(const Game& game, std::span<const std::uint8_t> rom, const EnvSettings& settings,
                       std::size_t num_envs, std::size_t num_threads, int first_cpu, SimdLevel level,
                       bool remembers_resets)
    : plan_(game, rom, settings, level, remembers_resets),
      envs_(num_envs),
      has_ended_(num_envs),
      has_started_(num_envs),
      frames_per_env_(plan_.observation_size() + (settings.ale_compatible ? plan_.pooled_size() : 0)),
      frames_(std::make_unique<std::uint8_t[]>(num_envs * frames_per_env_)),
      queue_(num_threads, first_cpu) {}

void AtariBatch::require_started(std::size_t env) const {
  if (has_started_[env] != 0) return;
  throw std::runtime_error("env " + std::to_string(env) + " has not started: reset it with a seed first");
}

AtariEnv::Frames AtariBatch::frames_of(std::size_t env) const {
  std::uint8_t* const stack = frames_.get() + env * frames_per_env_;
  return {stack, plan_.settings().ale_compatible ? stack + plan_.observation_size() : nullptr};
}

void AtariBatch::start_reset(Call& call, std::span<const std::int64_t> env_ids, std::span<const std::int64_t> seeds) {
  call.batch_ = this;
  call.kind_ = Call::Kind::kReset;
  call.env_ids_.assign(env_ids.begin(), env_ids.end());
  call.arguments_.assign(seeds.begin(), seeds.end());
  for (const std::int64_t id : env_ids) has_started_[static_cast<std::size_t>(id)] = 1;
  call.job_ = queue_.submit(call, env_ids.size(), {}, WorkerQueue::Start::kAllButThread0);
}

void AtariBatch::start_step(Call& call, std::span<const std::int64_t> env_ids, std::span<const std::int64_t> actions,
                            const Outputs& outputs, WorkerQueue::Start start) {
  call.batch_ = this;
  call.kind_ = Call::Kind::kStep;
  call.env_ids_.assign(env_ids.begin(), env_ids.end());
  call.arguments_.assign(actions.begin(), actions.end());
  call.outputs_ = outputs;
  call.first_items_.clear();
  if (plan_.settings().autoreset == Autoreset::kNextStep) {  // resets take longer than steps
    for (std::size_t item = 0; item < env_ids.size(); ++item) {
      if (has_ended_[static_cast<std::size_t>(env_ids[item])] != 0) {
        call.first_items_.push_back(static_cast<std::uint32_t>(item));
      }
    }
  }
  call.job_ = queue_.submit(call, env_ids.size(), call.first_items_, start);
}

std::exception_ptr AtariBatch::finish(Call& call, WorkerQueue::Poll poll) { return queue_.wait(call.job_, poll); }

/// Names the environment in what is thrown.
void AtariBatch::Call::run(std::size_t item) {
  try {
    if (kind_ == Kind::kReset) {
      reset(item);
    } else {
      step(item);
    }
  } catch (const std::exception& error) {
    throw std::runtime_error("env " + std::to_string(env_ids_[item]) + ": " + error.what());
  }
}

void AtariBatch::Call::reset(std::size_t item) {
  const auto id = static_cast<std::size_t>(env_ids_[item]);
  const EnvPlan& plan = batch_->plan_;
  AtariEnv& env = batch_->envs_[id];
  StepRecord record;
  if (arguments_[item] != kUnseeded) env.seed(plan, static_cast<std::uint32_t>(arguments_[item]));
  env.reset(plan, batch_->frames_of(id), record);
  batch_->has_ended_[id] = 0;
}

void AtariBatch::Call::step(std::size_t item) {
  const auto id = static_cast<std::size_t>(env_ids_[item]);
  const EnvPlan& plan = batch_->plan_;
  const AtariEnv::Frames frames = batch_->frames_of(id);
  AtariEnv& env = batch_->envs_[id];
  StepRecord record;
  AtariEnv::Final final;
  if (env.step(plan, frames, plan.actions()[static_cast<std::size_t>(arguments_[item])], record, final)) {
    final.record.env_id = static_cast<std::int32_t>(id);
    outputs_.final_table->set(item, final.record);
    outputs_.final_observations[item] = std::move(final.stack);
  }
  // written only where it changes: others read their neighbours
  if (batch_->has_ended_[id] != static_cast<std::uint8_t>(env.has_ended())) batch_->has_ended_[id] ^= 1U;
  record.env_id = static_cast<std::int32_t>(id);
  outputs_.table->set(item, record);
  std::memcpy(outputs_.observations + item * plan.observation_size(), frames.stack, plan.observation_size());
}

void AtariBatch::observe(std::size_t env, std::uint8_t* observation, StepRecord& record) const {
  require_started(env);
  std::memcpy(observation, frames_of(env).stack, plan_.observation_size());
  record = {};
  record.env_id = static_cast<std::int32_t>(env);
  envs_[env].describe(plan_, record);
}

void AtariBatch::render(std::size_t env, std::uint8_t* rgb) {
  require_started(env);
  if (!plan_.has_colors()) throw std::runtime_error("pictures are grey: make the environments with keeps_colors");
  GameConsole& console = envs_[env].console();
  const std::uint8_t* const last = console.picture(plan_.board(), 0);
  const bool pools = plan_.pools() && !envs_[env].is_at_start();
  const std::uint8_t* const other = pools ? console.picture(plan_.board(), 1) : last;
  plan_.pool_colors(last, other, rgb);
}

/// The layout of the state, and what gives it a meaning.
std::string AtariBatch::description(std::size_t num_envs) const {
  const Game& game = plan_.board().game();
  return std::string(game.name) + " x " + std::to_string(num_envs) + ", state bytes " +
         std::to_string(sizeof(AtariEnv)) + ", frame bytes " + std::to_string(frames_per_env_) +
         describe_settings(plan_.settings(), game);
}

std::size_t AtariBatch::snapshot_bytes() const {
  return snapshot_header(description(num_envs())).size() + num_envs() * (sizeof(AtariEnv) + frames_per_env_);
}

void AtariBatch::copy_state(std::span<std::uint8_t> out) {
  for (std::size_t env = 0; env < envs_.size(); ++env) require_started(env);
  /// One environment for each item, so that the thread which has it in its core's caches copies it.
  struct Copy final : WorkerQueue::Task {
    Copy(const AtariBatch& copied, std::span<std::uint8_t> state) : batch(copied), out(state) {}
    void run(std::size_t env) override {
      const auto state = batch.state_bytes(env);
      const auto frames = batch.frame_bytes(env);
      std::ranges::copy(state, out.begin() + static_cast<std::ptrdiff_t>(env * state.size()));
      const std::size_t first_frames = batch.num_envs() * state.size();
      std::ranges::copy(frames, out.begin() + static_cast<std::ptrdiff_t>(first_frames + env * frames.size()));
    }
    bool is_traced() const override { return false; }  // they are no steps
    const AtariBatch& batch;
    std::span<std::uint8_t> out;
  };
  const std::string header = snapshot_header(description(num_envs()));
  std::ranges::copy(header, out.begin());
  Copy copy(*this, out.subspan(header.size()));
  WorkerQueue::Job* const job = queue_.submit(copy, envs_.size(), {}, WorkerQueue::Start::kAllButThread0);
  if (const std::exception_ptr error = queue_.wait(job, [] {})) std::rethrow_exception(error);
}

std::vector<std::uint8_t> AtariBatch::snapshot() {
  std::vector<std::uint8_t> bytes(snapshot_bytes());
  copy_state(bytes);
  add_sum(bytes);
  return bytes;
}

void AtariBatch::restore(std::span<const std::uint8_t> bytes) {
  const std::size_t size = sizeof(AtariEnv) + frames_per_env_;
  const auto all = unpack_snapshot(bytes, description(num_envs()), num_envs() * size);
  const auto states = all.first(num_envs() * sizeof(AtariEnv));
  const auto frames = all.subspan(states.size());
  const auto state_of = [&](std::size_t env) { return states.subspan(env * sizeof(AtariEnv), sizeof(AtariEnv)); };
  for (std::size_t env = 0; env < num_envs(); ++env) {
    try {
      validate(state_of(env));
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument("env " + std::to_string(env) + ": " + error.what());
    }
  }
  for (std::size_t env = 0; env < num_envs(); ++env) {
    assign(env, state_of(env), frames.subspan(env * frames_per_env_, frames_per_env_));
  }
}

std::vector<std::uint8_t> AtariBatch::snapshot_of(std::size_t env) const {
  require_started(env);
  return pack_snapshot(description(1), {state_bytes(env), frame_bytes(env)});
}

void AtariBatch::restore_each(std::span<const std::int64_t> env_ids,
                              std::span<const std::span<const std::uint8_t>> states) {
  const std::string expected = description(1);
  std::vector<std::span<const std::uint8_t>> unpacked;
  for (std::size_t i = 0; i < states.size(); ++i) {
    try {
      unpacked.push_back(unpack_snapshot(states[i], expected, sizeof(AtariEnv) + frames_per_env_));
      validate(unpacked.back().first(sizeof(AtariEnv)));
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument("states[" + std::to_string(i) + "]: " + error.what());
    }
  }
  for (std::size_t i = 0; i < unpacked.size(); ++i) {
    const auto state = unpacked[i].first(sizeof(AtariEnv));
    assign(static_cast<std::size_t>(env_ids[i]), state, unpacked[i].subspan(sizeof(AtariEnv)));
  }
}

void AtariBatch::copy_states(std::span<const std::int64_t> source_ids, std::span<const std::int64_t> target_ids) {
  for (const std::int64_t id : source_ids) require_started(static_cast<std::size_t>(id));
  constexpr auto kNone = static_cast<std::size_t>(-1);
  std::vector<std::size_t> source_of(num_envs(), kNone);  // of targets that are not written yet
  std::vector<std::size_t> num_readers(num_envs());       // targets that an environment's state is still needed for
  std::vector<std::size_t> writable;
  for (std::size_t i = 0; i < target_ids.size(); ++i) {
    if (source_ids[i] == target_ids[i]) continue;
    source_of[static_cast<std::size_t>(target_ids[i])] = static_cast<std::size_t>(source_ids[i]);
    ++num_readers[static_cast<std::size_t>(source_ids[i])];
  }
  for (std::size_t env = 0; env < num_envs(); ++env) {
    if (source_of[env] != kNone && num_readers[env] == 0) writable.push_back(env);
  }
  const auto write = [&](std::size_t target) {
    const std::size_t source = std::exchange(source_of[target], kNone);
    assign(target, state_bytes(source), frame_bytes(source));
    return source;
  };
  while (!writable.empty()) {
    const std::size_t target = writable.back();
    writable.pop_back();
    const std::size_t source = write(target);
    if (--num_readers[source] == 0 && source_of[source] != kNone) writable.push_back(source);
  }
  // What is left goes round in circles: the first state of each is put aside.
  std::vector<std::uint8_t> state, frames;
  for (std::size_t first = 0; first < num_envs(); ++first) {
    if (source_of[first] == kNone) continue;
    state.assign(state_bytes(first).begin(), state_bytes(first).end());
    frames.assign(frame_bytes(first).begin(), frame_bytes(first).end());
    std::size_t target = first;
    while (source_of[target] != first) target = write(target);
    source_of[target] = kNone;
    assign(target, state, frames);
  }
}

void AtariBatch::validate(std::span<const std::uint8_t> state) const {
  const auto checked = std::make_unique<AtariEnv>();
  std::memcpy(checked.get(), state.data(), sizeof(AtariEnv));
  checked->validate(plan_);
}

void AtariBatch::assign(std::size_t env, std::span<const std::uint8_t> state, std::span<const std::uint8_t> frames) {
  std::memcpy(&envs_[env], state.data(), sizeof(AtariEnv));
  std::memcpy(frames_of(env).stack, frames.data(), frames_per_env_);
  has_ended_[env] = envs_[env].has_ended() ? 1 : 0;
  has_started_[env] = 1;
}

}  // namespace rndfast
