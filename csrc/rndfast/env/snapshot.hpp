// SPDX-License-Identifier: MIT
// The state of consoles and environments as bytes: a line that says what they are, their sum, and the state itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

namespace rndfast {

/// `description` says what the state belongs to and how it is laid out, in one line.
std::vector<std::uint8_t> pack_snapshot(const std::string& description,
                                        std::initializer_list<std::span<const std::uint8_t>> parts);

/// What stands before the state: the line, and a sum of 0 for add_sum() to replace. So a state can be copied at once
/// and summed later, if it is needed.
std::string snapshot_header(const std::string& description);
/// Writes the sum into a header with a state behind it. Throws std::invalid_argument if there is no header.
void add_sum(std::span<std::uint8_t> bytes);

/// The state, `size` bytes. Throws std::invalid_argument if the bytes are damaged or the description is another one.
/// Whoever made them can have made the sum right: what the state holds must be checked, see valid_state.hpp.
std::span<const std::uint8_t> unpack_snapshot(std::span<const std::uint8_t> bytes, const std::string& description,
                                              std::size_t size);

}  // namespace rndfast
