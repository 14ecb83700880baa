// SPDX-License-Identifier: MIT
#include "rndfast/env/snapshot.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string_view>

#include "rndfast/common/checksum.hpp"

namespace rndfast {
namespace {

constexpr std::string_view kMagic = "rndfast snapshot 4: ";
constexpr std::size_t kSumBytes = sizeof(std::uint64_t);

/// Whether a description can be shown, which a damaged one perhaps cannot.
bool is_printable(std::string_view text) {
  return std::ranges::all_of(text, [](char character) { return character >= ' ' && character <= '~'; });
}

}  // namespace

std::vector<std::uint8_t> pack_snapshot(const std::string& description,
                                        std::initializer_list<std::span<const std::uint8_t>> parts) {
  const std::string header = snapshot_header(description);
  std::vector<std::uint8_t> bytes(header.begin(), header.end());
  for (const auto part : parts) bytes.insert(bytes.end(), part.begin(), part.end());
  add_sum(bytes);
  return bytes;
}

std::string snapshot_header(const std::string& description) {
  return std::string(kMagic) + description + '\n' + std::string(kSumBytes, '\0');
}

void add_sum(std::span<std::uint8_t> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::size_t line_end = text.find('\n');
  if (!text.starts_with(kMagic) || line_end == std::string_view::npos || bytes.size() <= line_end + kSumBytes) {
    throw std::invalid_argument("these bytes are not a snapshot made by this version of rndfast");
  }
  const std::uint64_t sum = checksum(bytes.subspan(line_end + 1 + kSumBytes));
  std::memcpy(bytes.data() + line_end + 1, &sum, kSumBytes);
}

std::span<const std::uint8_t> unpack_snapshot(std::span<const std::uint8_t> bytes, const std::string& description,
                                              std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::size_t line_end = text.find('\n');
  const bool is_whole = text.starts_with(kMagic) && line_end != std::string_view::npos;
  const std::string_view found = is_whole ? text.substr(kMagic.size(), line_end - kMagic.size()) : "";
  if (!is_whole || !is_printable(found)) {
    throw std::invalid_argument("these bytes are not a snapshot made by this version of rndfast");
  }
  if (found != description) {
    throw std::invalid_argument("the snapshot must be of '" + description + "', got one of '" + std::string(found) +
                                "'");
  }
  const std::size_t begin = line_end + 1 + kSumBytes;
  if (bytes.size() != begin + size) {
    throw std::invalid_argument("the snapshot must have " + std::to_string(begin + size) + " bytes, got " +
                                std::to_string(bytes.size()));
  }
  std::uint64_t sum = 0;
  std::memcpy(&sum, bytes.data() + line_end + 1, kSumBytes);
  const std::span<const std::uint8_t> state = bytes.subspan(begin);
  if (checksum(state) != sum) throw std::invalid_argument("the snapshot is damaged: its checksum is wrong");
  return state;
}

}  // namespace rndfast
