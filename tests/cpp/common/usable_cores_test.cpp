// SPDX-License-Identifier: MIT
#include "rndfast/common/usable_cores.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "doctest/doctest.h"

namespace rndfast {
namespace {

namespace fs = std::filesystem;

/// A directory with files of control groups in it.
class FakeRoot {
 public:
  FakeRoot() { fs::remove_all(path); }
  FakeRoot(const FakeRoot&) = delete;
  FakeRoot& operator=(const FakeRoot&) = delete;
  ~FakeRoot() { fs::remove_all(path); }

  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((path / name).parent_path());
    std::ofstream(path / name) << text;
  }

  const fs::path path = fs::temp_directory_path() / ("rndfast-usable-cores-" + std::to_string(getpid()));
};

}  // namespace

TEST_CASE("a quota never gives a process more cores than it may run on, and nobody has none") {
  const FakeRoot root;
  const std::size_t without_quota = usable_cores(root.path);
  CHECK(without_quota >= 1);
  root.write("proc/self/cgroup", "0::/\n");
  for (const char* quota : {"max 100000", "-1 100000", "0 0", "", "nonsense", "99999999999 1"}) {
    CAPTURE(quota);
    root.write("sys/fs/cgroup/cpu.max", std::string(quota) + "\n");
    CHECK(usable_cores(root.path) == without_quota);
  }
  for (const char* quota : {"100000 100000", "1000 100000", "99999 100000"}) {
    CAPTURE(quota);
    root.write("sys/fs/cgroup/cpu.max", std::string(quota) + "\n");
    CHECK(usable_cores(root.path) == 1);
  }
  root.write("sys/fs/cgroup/cpu.max", "150000 100000\n");  // a core and a half
  CHECK(usable_cores(root.path) == std::min<std::size_t>(2, without_quota));
}

TEST_CASE("a control group is bound by those that it is in") {
  const FakeRoot root;
  root.write("proc/self/cgroup", "0::/pod/container\n");
  root.write("sys/fs/cgroup/pod/container/cpu.max", "max 100000\n");
  root.write("sys/fs/cgroup/pod/cpu.max", "50000 100000\n");
  CHECK(usable_cores(root.path) == 1);
}

TEST_CASE("control groups of version 1 have two files, under one or more controllers' names") {
  for (const std::string controllers : {"cpu", "cpu,cpuacct", "cpuacct,cpu"}) {
    CAPTURE(controllers);
    const FakeRoot root;
    const std::size_t without_quota = usable_cores(root.path);
    // seen from inside a container: the path is that outside, and what is there is its own
    root.write("proc/self/cgroup", "5:cpuset:/elsewhere\n4:" + controllers + ":/docker/0123456789\n0::/\n");
    root.write("sys/fs/cgroup/" + controllers + "/cpu.cfs_period_us", "100000\n");
    root.write("sys/fs/cgroup/" + controllers + "/cpu.cfs_quota_us", "-1\n");
    CHECK(usable_cores(root.path) == without_quota);
    root.write("sys/fs/cgroup/" + controllers + "/cpu.cfs_quota_us", "60000\n");
    CHECK(usable_cores(root.path) == 1);
  }
  const FakeRoot root;
  const std::size_t without_quota = usable_cores(root.path);
  root.write("proc/self/cgroup", "5:cpuset:/\n");  // another controller's
  root.write("sys/fs/cgroup/cpuset/cpu.cfs_period_us", "100000\n");
  root.write("sys/fs/cgroup/cpuset/cpu.cfs_quota_us", "1000\n");
  CHECK(usable_cores(root.path) == without_quota);
}

}  // namespace rndfast
