// SPDX-License-Identifier: MIT
#include "rndfast/env/atari_batch.hpp"

#include <cstring>
#include <stdexcept>
#include <utility>

#include "rndfast/env/snapshot.hpp"

namespace rndfast {
namespace {

/// Runs `work`, naming the environment in what it throws.
template <typename Work>
void run_for(std::int64_t env, const Work& work) {
  try {
    work();
  } catch (const std::exception& error) {
    throw std::runtime_error("env " + std::to_string(env) + ": " + error.what());
  }
}

}  // namespace

AtariBatch::AtariBatch(const Game& game, std::span<const std::uint8_t> rom, const EnvSettings& settings,
                       std::size_t num_envs, std::size_t num_threads, int first_cpu, SimdLevel level)
    : plan_(game, rom, settings, level),
      envs_(num_envs),
      frames_per_env_(plan_.observation_size() + (settings.ale_compatible ? plan_.pooled_size() : 0)),
      frames_(std::make_unique<std::uint8_t[]>(num_envs * frames_per_env_)),
      queue_(num_threads, first_cpu) {}

AtariEnv::Frames AtariBatch::frames_of(std::size_t env) const {
  std::uint8_t* const stack = frames_.get() + env * frames_per_env_;
  return {stack, plan_.settings().ale_compatible ? stack + plan_.observation_size() : nullptr};
}

AtariBatch::Call AtariBatch::start_reset(std::vector<std::int64_t> env_ids, std::vector<std::int64_t> seeds,
                                         Outputs outputs) {
  auto call = std::make_shared<WorkerQueue::Job>();
  call->num_items = env_ids.size();
  call->names = std::move(env_ids);
  call->work = [this, &env_ids = call->names, seeds = std::move(seeds), outputs](std::size_t item) {
    run_for(env_ids[item], [&] {
      const auto env_id = static_cast<std::size_t>(env_ids[item]);
      const AtariEnv::Frames frames = frames_of(env_id);
      AtariEnv& env = envs_[env_id];
      if (seeds[item] != kUnseeded) env.seed(plan_, static_cast<std::uint32_t>(seeds[item]));
      env.reset(plan_, frames, outputs.records[item]);
      std::memcpy(outputs.observations + item * plan_.observation_size(), frames.stack, plan_.observation_size());
    });
  };
  queue_.submit(call);
  return call;
}

AtariBatch::Call AtariBatch::start_step(std::vector<std::int64_t> env_ids, std::vector<std::int64_t> actions,
                                        Outputs outputs) {
  auto call = std::make_shared<WorkerQueue::Job>();
  call->num_items = env_ids.size();
  call->names = std::move(env_ids);
  call->work = [this, &env_ids = call->names, actions = std::move(actions), outputs](std::size_t item) {
    run_for(env_ids[item], [&] {
      const auto env_id = static_cast<std::size_t>(env_ids[item]);
      const AtariEnv::Frames frames = frames_of(env_id);
      const std::size_t size = plan_.observation_size();
      const Action action = plan_.actions()[static_cast<std::size_t>(actions[item])];
      envs_[env_id].step(plan_, frames, action, outputs.records[item], outputs.final_records[item],
                         outputs.final_observations + item * size);
      std::memcpy(outputs.observations + item * size, frames.stack, size);
    });
  };
  queue_.submit(call);
  return call;
}

void AtariBatch::observe(std::size_t env, std::uint8_t* observation, StepRecord& record) const {
  std::memcpy(observation, frames_of(env).stack, plan_.observation_size());
  record = {};
  envs_[env].describe(plan_, record);
}

void AtariBatch::render(std::size_t env, std::uint8_t* rgb) {
  GameConsole& console = envs_[env].console();
  const std::uint8_t* const last = console.picture(plan_.board(), 0);
  const bool pools = plan_.pools() && !envs_[env].is_at_start();
  const std::uint8_t* const other = pools ? console.picture(plan_.board(), 1) : last;
  plan_.pool_colors(last, other, rgb);
}

/// What a snapshot must agree on: the layout of the state, and what gives it a meaning.
std::string AtariBatch::description() const {
  const Game& game = plan_.board().game();
  return std::string(game.name) + " x " + std::to_string(envs_.size()) + ", state bytes " +
         std::to_string(sizeof(AtariEnv)) + ", frame bytes " + std::to_string(frames_per_env_) +
         describe_settings(plan_.settings(), game);
}

std::vector<std::uint8_t> AtariBatch::snapshot() const {
  return pack_snapshot(description(), {{reinterpret_cast<const std::uint8_t*>(envs_.data()), env_bytes()},
                                       {frames_.get(), frame_bytes()}});
}

void AtariBatch::restore(std::span<const std::uint8_t> bytes) {
  unpack_snapshot(bytes, description(),
                  {{reinterpret_cast<std::uint8_t*>(envs_.data()), env_bytes()}, {frames_.get(), frame_bytes()}});
}

}  // namespace rndfast
