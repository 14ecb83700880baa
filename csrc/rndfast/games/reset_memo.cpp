// SPDX-License-Identifier: MIT
#include "rndfast/games/reset_memo.hpp"

#include <cstring>
#include <mutex>
#include <utility>

#include "rndfast/common/checksum.hpp"
#include "rndfast/games/game_console.hpp"

namespace rndfast {
namespace {

std::uint64_t hash_of(const ResetKey& key) {
  return checksum({reinterpret_cast<const std::uint8_t*>(&key.state), sizeof(key.state)});
}

}  // namespace

/// By bytes: that padding differs costs a reset played out, no more.
bool ResetKey::operator==(const ResetKey& other) const {
  return mode == other.mode && difficulty == other.difficulty && buffer == other.buffer &&
         // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): see above
         std::memcmp(&state, &other.state, sizeof(state)) == 0;
}

struct ResetMemo::Entry {
  std::uint64_t hash;
  ResetKey key;
  ResetResult result;
};

ResetMemo::ResetMemo() { entries_.reserve(kMaxEntries); }

ResetMemo::~ResetMemo() = default;

const ResetMemo::Entry* ResetMemo::find_entry(std::uint64_t hash, const ResetKey& key) const {
  for (const auto& entry : entries_) {
    if (entry->hash == hash && entry->key == key) return entry.get();
  }
  return nullptr;
}

const ResetResult* ResetMemo::find(const ResetKey& key) const {
  const std::uint64_t hash = hash_of(key);
  const std::lock_guard lock(lock_);
  const Entry* const entry = find_entry(hash, key);
  return entry != nullptr ? &entry->result : nullptr;
}

void ResetMemo::add(const ResetKey& key, ResetResult result) {
  const std::uint64_t hash = hash_of(key);
  auto entry = std::make_unique<const Entry>(Entry{hash, key, std::move(result)});
  const std::lock_guard lock(lock_);
  if (entries_.size() < kMaxEntries && find_entry(hash, key) == nullptr) entries_.push_back(std::move(entry));
}

}  // namespace rndfast
