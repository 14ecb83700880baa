// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <filesystem>

namespace rndfast {

/// Cores whose time this process may use, at least 1: those that it may run on, or fewer if a quota of its control
/// group, as of a container, leaves it less time; a fraction of a core counts as one. `root` is the directory in which
/// the files of the control groups are looked for.
std::size_t usable_cores(const std::filesystem::path& root = "/");

}  // namespace rndfast
