"""Performs the stages of a Dockerfile in folders."""

import os
import posixpath
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from bases import BASES, CARGO_HOME, RUST, WORK, Base, rust, unpack
from dockerfile import Context, Step, fail
from isolation import IS_ROOT, isolated


@dataclass
class Stage:
    """A stage: its folder, the settings that instructions leave, and what they added, with its owner."""

    base: Base
    folder: Path
    user: str
    workdir: str
    settings: dict[str, Step] = field(default_factory=dict)
    added: dict[str, str] = field(default_factory=dict)

    def at(self, path: str) -> Path:
        return self.folder / path.lstrip("/")

    def path(self, path: str | Path) -> str:
        return posixpath.normpath(posixpath.join(self.workdir, path))

    def add(self, path: str, owner: str, source: Path | None = None) -> None:
        """Adds a folder, or a copy of a file, and the folders above. Folders that are there keep their owner, as with BuildKit."""
        place = self.at(path)
        if source is None and place.is_dir():
            return
        self.add(posixpath.dirname(path), owner)
        if source is None:
            place.mkdir()
        else:
            shutil.copy2(source, place, follow_symlinks=False)
        self.added[path] = owner
        if IS_ROOT:
            uid, gid = map(int, owner.split(":"))
            os.chown(place, uid, gid, follow_symlinks=False)

    def copy(self, step: Step, stages: dict[str, "Stage"], context: Context) -> None:
        source, target, *more = step.text.split()
        owner = step.flag("chown", "0:0")
        if more or not re.fullmatch(r"\d+:\d+", owner):
            fail(f"only one source and owners as numbers are understood: {step.line}")
        if "from" in step.flags:
            stage = stages.get(step.flag("from"))
            origin = stage.at(source) if stage else fail(f"unknown stage: {step.line}")
            files = [found.relative_to(origin) for found in sorted(origin.rglob("*"))]
        else:
            origin = context.folder / source
            files = [file.relative_to(source) for file in context.files() if file.is_relative_to(source)]
            if not files:
                fail(f"not in the build context: {step.line}")
        if not origin.is_dir():
            into = target.endswith("/") or self.at(self.path(target)).is_dir()
            self.add(self.path(posixpath.join(target, origin.name) if into else target), owner, origin)
            return
        self.add(self.path(target), owner)
        for file in files:
            found = origin / file
            is_folder = found.is_dir() and not found.is_symlink()
            self.add(self.path(posixpath.join(target, file)), owner, None if is_folder else found)

    def run(self, step: Step) -> None:
        if self.base is not RUST or self.user != "0:0":
            fail(f"commands run as root, and in an image with a shell: {step.line}")
        mounts = [(Path("/proc"), "/proc", "rw"), (Path("/dev"), "/dev", "rw"), *rust(self.folder)]
        for target in step.caches:
            crates = posixpath.join(self.base.environment["CARGO_HOME"], "registry")
            cache = CARGO_HOME / "registry" if target == crates else WORK / "cache" / target.strip("/").replace("/", "-")
            cache.mkdir(parents=True, exist_ok=True)
            mounts.append((cache, target, "rw"))
        for _, target, _ in mounts:
            if not self.at(target).exists():
                self.at(target).mkdir(parents=True)
        command = isolated(self.folder, self.workdir, mounts, ["/bin/sh", "-c", step.text])
        if subprocess.run(command, env={**self.base.environment, "CARGO_NET_OFFLINE": "true"}).returncode:
            fail(f"failed: {step.line}")


def begin(step: Step, number: int) -> tuple[str, Stage]:
    image, _, name = step.text.partition(" AS ")
    base = next((base for pattern, base in BASES.items() if re.fullmatch(pattern, image)), None)
    if base is None:
        fail(f"nothing stands for the image {image}: {step.line}")
    original, folder = WORK / "base" / re.sub(r"[^a-z0-9]+", "-", image), WORK / "stages" / str(number)
    original.parent.mkdir(parents=True, exist_ok=True)
    unpack(base, original)
    subprocess.run(["cp", "-a", original, folder], check=True)
    return name or str(number), Stage(base, folder, base.user, base.workdir)


def perform(steps: list[Step], context: Context) -> Stage:
    """Performs all steps and gives the last stage, which is the image."""
    shutil.rmtree(WORK / "stages", ignore_errors=True)
    (WORK / "stages").mkdir(parents=True)
    stages: dict[str, Stage] = {}
    stage = None
    for step in steps:
        print(step.line, flush=True)
        if step.name == "FROM":
            name, stage = begin(step, len(stages))
            stages[name] = stage
        elif stage is None:
            fail(f"before any FROM: {step.line}")
        elif step.name == "WORKDIR":
            stage.workdir = stage.path(step.text)
            stage.add(stage.workdir, stage.user)
        elif step.name == "COPY":
            stage.copy(step, stages, context)
        elif step.name == "RUN":
            stage.run(step)
        elif step.name == "USER":
            stage.user = step.text if re.fullmatch(r"\d+:\d+", step.text) else fail(f"only numbers are understood: {step.line}")
        else:
            stage.settings[step.name] = step
    missing = {"HEALTHCHECK", "VOLUME", "ENTRYPOINT", "CMD"} - set(stage.settings)
    return fail(f"Dockerfile has no {missing}") if missing else stage
