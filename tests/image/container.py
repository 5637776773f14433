"""Runs an image's folder as a container engine would run the image, and asks it."""

import base64
import http.client
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bases import WORK
from dockerfile import fail
from isolation import IS_ROOT, isolated
from stages import Stage

Found = TypeVar("Found")
PASSWORD = secrets.token_hex()
HEADERS = {"authorization": "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode(), "content-type": "audio/mpeg"}
# The one that the Dockerfile's head and README speak of.
USER = "65532:65532"
ATTACHMENT = os.urandom(1 << 20)
DRAIN = 20  # seconds


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Container:
    """The image's entry point as its user, with nothing to write to but the volume, a new one."""

    def __init__(self, image: Stage) -> None:
        self.image = image
        self.process: subprocess.Popen | None = None
        self.admin = free_port()
        config, self.log = WORK / "run/config", WORK / "run/log"
        shutil.rmtree(WORK / "run", ignore_errors=True)
        config.mkdir(parents=True)
        (config / "stowage.toml").write_text(
            f'listen.address = "127.0.0.1:0"\nadmin.address = "127.0.0.1:{self.admin}"\n'
            f'couchdb = {{ url = "embedded", username = "admin", password = "{PASSWORD}" }}\ntimeouts.drain = "{DRAIN}s"\n'
        )
        self.mounts = [(image.folder, "/", "ro"), (Path("/proc"), "/proc", "ro"), (config, "/stowage/config", "ro")]
        self.mounts += [(self.new_volume(target), target, self.access(target)) for target in image.settings["VOLUME"].strings()]
        for _, target, _ in self.mounts:
            image.at(target).mkdir(exist_ok=True)

    def new_volume(self, target: str) -> Path:
        """A named volume begins as a copy of the image's folder, with its owner."""
        volume = WORK / "run" / target.strip("/").replace("/", "-")
        subprocess.run(["cp", "-a", self.image.at(target), volume], check=True)
        return volume

    def access(self, target: str) -> str:
        """Without root all files have one owner here: a folder of another user is then one that cannot be written to."""
        return "rw" if IS_ROOT or self.image.added.get(target) == self.image.user else "ro"

    def command(self, words: list[str]) -> list[str]:
        return isolated(self.image.folder, self.image.workdir, self.mounts, words, self.image.user)

    def start(self) -> None:
        words = [word for name in ("ENTRYPOINT", "CMD") for word in self.image.settings[name].strings()]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command(words), env=self.image.base.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def is_healthy(self) -> bool:
        step = self.image.settings["HEALTHCHECK"]
        quiet = subprocess.DEVNULL
        asked = subprocess.Popen(self.command(step.strings()), env=self.image.base.environment, stdout=quiet, stderr=quiet)
        try:
            return asked.wait(step.seconds("timeout")) == 0
        except subprocess.TimeoutExpired:
            asked.kill()
            return asked.wait() == 0

    def until(self, what: str, within: float, probe: Callable[[], Found]) -> Found:
        end = time.monotonic() + within
        while not (found := probe()):
            if self.process.poll() is not None or time.monotonic() > end:
                self.failed(f"{what}: not within {within} seconds; exit status {self.process.returncode}")
            time.sleep(0.05)
        return found

    def failed(self, message: str) -> None:
        fail(f"{message}\n{self.log.read_text()}")

    def proxy(self) -> http.client.HTTPConnection:
        port = re.search(r"listening proxy http://127\.0\.0\.1:(\d+)\n", self.log.read_text())
        return http.client.HTTPConnection("127.0.0.1", int(port[1]), timeout=DRAIN)

    def metric(self, name: str) -> float:
        admin = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=DRAIN)
        admin.request("GET", "/metrics")
        return float(re.search(rf"^{name} (\S+)$", admin.getresponse().read().decode(), re.MULTILINE)[1])

    def identity(self) -> str:
        """User, group and capabilities as the process has them; the numbers are those of its own user namespace."""
        process = Path("/proc") / str(self.process.pid)
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        found = []
        for name, numbers in (("uid", status["Uid"]), ("gid", status["Gid"] + status["Groups"] * IS_ROOT)):
            maps = [list(map(int, line.split())) for line in (process / f"{name}_map").read_text().splitlines()]
            seen = {first + int(n) - out for n in numbers.split() for first, out, count in maps if out <= int(n) < out + count}
            found.append(",".join(map(str, sorted(seen))))
        capabilities = {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
        return ":".join(found) + (" with capabilities" if capabilities != {0} else "")


def exchange(container: Container, method: str, target: str, body: bytes | None = None) -> tuple[int, bytes]:
    proxy = container.proxy()
    proxy.request(method, target, body, HEADERS)
    answer = proxy.getresponse()
    return answer.status, answer.read()


def serves(container: Container) -> None:
    """Starts as an ordinary user, gets healthy, stores an attachment and gives it back."""
    step = container.image.settings["HEALTHCHECK"]
    if container.is_healthy():
        fail("the health check passes before anything runs")
    container.start()
    within = step.seconds("start-period") + step.seconds("retries") * step.seconds("interval")
    container.until("the health check", within, container.is_healthy)
    if container.identity() != USER:
        container.failed(f"runs as {container.identity()}, not as {USER}")
    target = "/db/a/voice.mp3"
    answers = [exchange(container, *request) for request in (("PUT", "/db"), ("PUT", target, ATTACHMENT), ("GET", target))]
    if [status for status, _ in answers] != [201, 201, 200] or answers[2][1] != ATTACHMENT:
        container.failed(f"an attachment did not come back: {[(status, body[:200]) for status, body in answers]}")
    print(f"healthy, as user {container.identity()} without capabilities; an attachment came back", flush=True)


def drains(container: Container) -> None:
    """An upload that is under way at SIGTERM ends; then the program does."""
    upload = container.proxy()
    upload.putrequest("PUT", "/db/b/voice.mp3")
    for name, value in {**HEADERS, "content-length": str(len(ATTACHMENT))}.items():
        upload.putheader(name, value)
    upload.endheaders(ATTACHMENT[: len(ATTACHMENT) // 2])
    container.until("the upload", DRAIN, lambda: container.metric("stowage_in_flight") == 1)
    container.process.send_signal(signal.SIGTERM)
    container.until("the drain", DRAIN, lambda: not container.is_healthy())
    upload.send(ATTACHMENT[len(ATTACHMENT) // 2 :])
    answer = upload.getresponse()
    if answer.status != 201:
        container.failed(f"the upload got {answer.status}: {answer.read()!r}")
    upload.close()
    try:
        status = container.process.wait(DRAIN)
    except subprocess.TimeoutExpired:
        status = None
    if status != 0:
        container.failed(f"SIGTERM ended it with {status}")
    print("SIGTERM: not healthy any more, the upload got 201, exit status 0", flush=True)
