"""Reads the Dockerfile and .dockerignore. What is not understood here is an error: nothing of them may go untried."""

import json
import os
import re
import sys
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Iterator, NoReturn

FLAGS = {
    "FROM": (),
    "WORKDIR": (),
    "COPY": ("from", "chown"),
    "RUN": ("mount",),
    "USER": (),
    "EXPOSE": (),
    "VOLUME": (),
    "HEALTHCHECK": ("interval", "timeout", "start-period", "retries"),
    "ENTRYPOINT": (),
    "CMD": (),
}


def fail(message: str) -> NoReturn:
    sys.exit(f"\ntests/image/run: {message}")


class Step:
    """An instruction with its flags and the rest of its line."""

    def __init__(self, line: str) -> None:
        self.line = " ".join(line.split())
        self.name, _, self.text = self.line.partition(" ")
        if self.name not in FLAGS:
            fail(f"unknown instruction: {self.line}")
        self.flags: dict[str, list[str]] = {}
        while self.text.startswith("--"):
            flag, _, self.text = self.text.partition(" ")
            key, _, value = flag.removeprefix("--").partition("=")
            if key not in FLAGS[self.name] or not value:
                fail(f"unknown flag {flag}: {self.line}")
            self.flags.setdefault(key, []).append(value)
        self.caches = [self.cache(mount) for mount in self.flags.get("mount", [])]
        if "$" in self.text and self.name != "RUN":
            fail(f"variables are not understood: {self.line}")

    def flag(self, key: str, otherwise: str = "") -> str:
        return self.flags.get(key, [otherwise])[-1]

    def seconds(self, key: str) -> int:
        return int(self.flag(key).removesuffix("s"))

    def strings(self) -> list[str]:
        """The JSON list that an instruction has in its exec form. The shell form would need a shell in the image."""
        try:
            strings = json.loads(self.text.removeprefix("CMD "))
        except ValueError:
            strings = None
        if not isinstance(strings, list) or not all(isinstance(string, str) for string in strings):
            fail(f"not a list of strings: {self.line}")
        return strings

    def cache(self, mount: str) -> str:
        """Where RUN wants a cache."""
        found = re.fullmatch(r"type=cache,target=(/[^,]+)", mount)
        return found[1] if found else fail(f"unknown mount {mount}: {self.line}")


def read(path: Path) -> list[Step]:
    lines = path.read_text().splitlines()
    if lines and re.match(r"#\s*\w+\s*=", lines[0]):
        fail(f"parser directives are not understood: {lines[0]}")
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    return [Step(line) for line in text.replace("\\\n", " ").splitlines() if line.strip()]


class Context:
    """What `docker build .` sends: the files of a folder that its .dockerignore lets through."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        lines = (line.strip() for line in (folder / ".dockerignore").read_text().splitlines())
        patterns = [line for line in lines if line and not line.startswith("#")]
        if any("**" in pattern for pattern in patterns):
            fail(".dockerignore: ** is not understood")
        self.patterns = [(p.startswith("!"), p.removeprefix("!").strip("/").split("/")) for p in patterns]

    def ignores(self, path: PurePosixPath) -> bool:
        """The last pattern that matches a path, or a folder above it, decides."""
        ignored = False
        for exception, pattern in self.patterns:
            above = path.parts[: len(pattern)]
            if len(above) == len(pattern) and all(map(fnmatchcase, above, pattern)):
                ignored = not exception
        return ignored

    def holds_exceptions(self, path: PurePosixPath) -> bool:
        parts = list(path.parts)
        return any(exception and pattern[: len(parts)] == parts for exception, pattern in self.patterns)

    def files(self) -> Iterator[PurePosixPath]:
        for folder, names, files in os.walk(self.folder):
            inner = PurePosixPath(Path(folder).relative_to(self.folder))
            links = [name for name in names if Path(folder, name).is_symlink()]
            yield from (inner / name for name in files + links if not self.ignores(inner / name))
            names[:] = [n for n in names if not self.ignores(inner / n) or self.holds_exceptions(inner / n)]
