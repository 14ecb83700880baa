// SPDX-License-Identifier: MIT
#include "rndfast/common/usable_cores.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rndfast/common/operating_system.hpp"

namespace rndfast {
namespace {

constexpr std::size_t kUnlimited = std::numeric_limits<std::size_t>::max();

/// The whole number with which a text begins; none for "max".
std::optional<std::int64_t> number_of(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() ? std::optional(number) : std::nullopt;
}

/// The words of a file's first line; none if it cannot be read.
std::vector<std::string> first_words(const std::filesystem::path& file) {
  std::vector<std::string> words;
  std::ifstream stream(file);
  for (std::string word; words.size() < 2 && stream >> word;) words.push_back(word);
  return words;
}

std::size_t cores_of(const std::vector<std::string>& quota_and_period) {
  if (quota_and_period.size() < 2) return kUnlimited;
  const auto quota = number_of(quota_and_period[0]);
  const auto period = number_of(quota_and_period[1]);
  if (!quota || !period || *quota <= 0 || *period <= 0) return kUnlimited;  // "max", or -1
  return static_cast<std::size_t>((*quota - 1) / *period + 1);
}

/// What a control group allows: by version 2 of Linux's control groups, or by version 1.
std::size_t quota_cores(const std::filesystem::path& group) {
  std::vector<std::string> version_1 = first_words(group / "cpu.cfs_quota_us");
  const std::vector<std::string> period = first_words(group / "cpu.cfs_period_us");
  version_1.insert(version_1.end(), period.begin(), period.end());
  return std::min(cores_of(first_words(group / "cpu.max")), cores_of(version_1));
}

/// Whether a list with commas has a word.
bool has_word(std::string_view list, std::string_view word) {
  while (true) {
    const std::size_t comma = list.find(',');
    if (list.substr(0, comma) == word) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
}

/// The least that the control groups of this process allow, each of which is in all those above it.
std::size_t quota_cores_of_process(const std::filesystem::path& root) {
  std::size_t cores = kUnlimited;
  std::ifstream memberships(root / "proc/self/cgroup");
  for (std::string line; std::getline(memberships, line);) {  // number:controllers:/path
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool is_version_2 = controllers.empty();
    if (!is_version_2 && !has_word(controllers, "cpu")) continue;
    const std::filesystem::path mount = root / "sys/fs/cgroup" / controllers;
    // inside a container the path may be the one outside, of which only the top is there
    for (std::filesystem::path group = std::filesystem::path(line.substr(second + 1)).relative_path();;
         group = group.parent_path()) {
      cores = std::min(cores, quota_cores(mount / group));
      if (group.empty()) break;
    }
  }
  return cores;
}

}  // namespace

std::size_t usable_cores(const std::filesystem::path& root) {
  return std::max<std::size_t>(1, std::min(allowed_cores(), quota_cores_of_process(root)));
}

}  // namespace rndfast
