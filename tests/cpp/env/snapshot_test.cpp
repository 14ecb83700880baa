// SPDX-License-Identifier: MIT
#include "rndfast/env/snapshot.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "doctest/doctest.h"
#include "rndfast/common/checksum.hpp"

namespace rndfast {
namespace {

using Bytes = std::vector<std::uint8_t>;

const std::string kDescription = "pong x 2, state bytes 5";
const Bytes kFirst = {0, 1, 2, 255, '\n'};
const Bytes kSecond = {7, 8, 9};

Bytes packed() { return pack_snapshot(kDescription, {kFirst, kSecond}); }

/// Where the bytes go, and whether they were touched.
struct Target {
  Bytes first = Bytes(5, 99);
  Bytes second = Bytes(3, 99);

  void unpack(std::span<const std::uint8_t> bytes, const std::string& description = kDescription) {
    const auto state = unpack_snapshot(bytes, description, first.size() + second.size());
    std::copy_n(state.begin(), first.size(), first.begin());
    std::copy_n(state.end() - static_cast<std::ptrdiff_t>(second.size()), second.size(), second.begin());
  }
  bool is_untouched() const { return first == Bytes(5, 99) && second == Bytes(3, 99); }
};

/// The message of the refusal, or "" if there is none; nothing may be written then.
std::string refusal(std::span<const std::uint8_t> bytes, const std::string& description = kDescription) {
  Target target;
  try {
    target.unpack(bytes, description);
  } catch (const std::invalid_argument& error) {
    CHECK(target.is_untouched());
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("the hash is FNV-1a") {
  const auto of = [](std::string_view text) {
    return fnv1a(std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
  };
  CHECK(of("") == 0xCBF29CE484222325);  // the test vectors of its authors
  CHECK(of("a") == 0xAF63DC4C8601EC8C);
  CHECK(of("foobar") == 0x85944171F73967E8);
}

TEST_CASE("parts come back as they were packed") {
  Target target;
  target.unpack(packed());
  CHECK(target.first == kFirst);
  CHECK(target.second == kSecond);
  const Bytes bytes = packed();
  const std::string begin = "rndfast snapshot 4: " + kDescription + "\n";
  REQUIRE(bytes.size() == begin.size() + 8 + 5 + 3);
  CHECK(std::string(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(begin.size())) == begin);

  const Bytes empty = pack_snapshot("nothing", {});
  CHECK(unpack_snapshot(empty, "nothing", 0).empty());
}

TEST_CASE("a header, the state and its sum, added later, are a snapshot") {
  const std::string header = snapshot_header(kDescription);
  Bytes bytes(header.begin(), header.end());
  bytes.insert(bytes.end(), kFirst.begin(), kFirst.end());
  bytes.insert(bytes.end(), kSecond.begin(), kSecond.end());
  CHECK(refusal(bytes) == "the snapshot is damaged: its checksum is wrong");
  add_sum(bytes);
  CHECK(bytes == packed());
  const std::string what = "these bytes are not a snapshot made by this version of rndfast";
  for (std::size_t size = 0; size < header.size(); ++size) {
    CHECK_THROWS_WITH_AS(add_sum(std::span(bytes).first(size)), what.c_str(), std::invalid_argument);
  }
  CHECK_NOTHROW(add_sum(std::span(bytes).first(header.size())));
}

TEST_CASE("no damaged byte is overlooked") {
  const Bytes bytes = packed();
  for (std::size_t place = 0; place < bytes.size(); ++place) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      CAPTURE(place);
      CAPTURE(bit);
      Bytes damaged = bytes;
      damaged[place] = static_cast<std::uint8_t>(damaged[place] ^ (1U << bit));
      const std::string message = refusal(damaged);
      CHECK(message != "");
      for (const char character : message) REQUIRE((character >= ' ' && character <= '~'));  // fit to be shown
    }
  }
}

TEST_CASE("no wrong length is overlooked") {
  const Bytes bytes = packed();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    CHECK(refusal(std::span(bytes).first(size)) != "");
  }
  Bytes longer = bytes;
  longer.push_back(0);
  const std::string sizes = std::to_string(bytes.size()) + " bytes, got " + std::to_string(longer.size());
  CHECK(refusal(longer) == "the snapshot must have " + sizes);
  CHECK(refusal(Bytes(1000, 0)) == "these bytes are not a snapshot made by this version of rndfast");
}

TEST_CASE("a refusal says what is wrong") {
  CHECK(refusal(packed(), "pong x 3") == "the snapshot must be of 'pong x 3', got one of '" + kDescription + "'");
  Bytes damaged = packed();
  damaged.back() ^= 1;
  CHECK(refusal(damaged) == "the snapshot is damaged: its checksum is wrong");
  // a description that goes on in the binary part is not shown
  Bytes no_line_end = packed();
  for (auto& byte : no_line_end) byte = byte == '\n' ? 0xB0 : byte;
  CHECK(refusal(no_line_end) == "these bytes are not a snapshot made by this version of rndfast");
}

}  // namespace rndfast
