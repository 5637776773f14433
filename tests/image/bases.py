"""Makes what stands for the base images: folders of Debian's packages, with the machine's Rust in the one that builds."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from dockerfile import fail
from isolation import IS_ROOT, Mount

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "target/image"
DEBIAN = "bookworm"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CARGO_HOME = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")


@dataclass
class Base:
    """The packages of an image, with what they depend on or without, and the settings that it hands on."""

    packages: str
    with_dependencies: bool
    environment: dict[str, str]
    user: str
    workdir: str


# docker-rust's stable/bookworm/slim/Dockerfile, above debian:bookworm-slim.
RUST = Base(
    "?essential ca-certificates gcc libc6-dev",
    True,
    {"PATH": f"/usr/local/cargo/bin:{PATH}", "CARGO_HOME": "/usr/local/cargo", "RUSTUP_HOME": "/usr/local/rustup", "HOME": "/root"},
    "0:0",
    "/",
)
# GoogleContainerTools/distroless: the packages of its static, base and cc images for debian12, and the settings of the tag `nonroot`.
DISTROLESS = Base(
    "base-files netbase tzdata media-types ca-certificates libc6 libssl3 libgcc-s1 gcc-12-base libgomp1 libstdc++6",
    False,
    {"PATH": PATH, "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt", "HOME": "/home/nonroot"},
    "65532:65532",
    "/home/nonroot",
)
BASES = {r"rust:[0-9.]+-slim-bookworm": RUST, r"gcr\.io/distroless/cc-debian12:nonroot": DISTROLESS}
PASSWD = """root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin
"""
GROUP = "root:x:0:\nnobody:x:65534:\ntty:x:5:\nstaff:x:50:\nnonroot:x:65532:\n"


def output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def apt_get(*arguments: str, folder: Path = WORK) -> None:
    """apt-get as on a machine where nothing is installed, with lists of its own: works without root."""
    state = WORK / "apt"
    options = {"Dir::State": state, "Dir::State::status": "/dev/null", "Dir::Cache": state, "Dir::Cache::archives": folder}
    options |= {"Dir::Etc::sourcelist": state / "sources.list", "Dir::Etc::sourceparts": "-"}
    # Root's apt would otherwise download as a user that may not write here.
    options |= {"APT::Sandbox::User": "", "Debug::NoLocking": 1}
    command = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in options.items()), *arguments]
    if subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL).returncode:
        fail(f"apt-get {arguments[0]} failed")


def download(base: Base, folder: Path) -> None:
    """Takes the packages of the one release from where the machine's own apt takes them."""
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    sources = output("apt-get", "indextargets", "--format", form, "Created-By: Packages").splitlines()
    sources = {source for source in sources if source.split()[1].split("-")[0] == DEBIAN}
    if not sources:
        fail(f"needs Debian's packages of {DEBIAN}: add them to the sources of the machine's apt")
    (folder / "partial").mkdir(parents=True)
    (WORK / "apt/lists/partial").mkdir(parents=True, exist_ok=True)
    # Only the lists of packages: a desktop's apt would get icons, too.
    options = "deb [target=Packages signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    (WORK / "apt/sources.list").write_text("".join(f"{options} {source}\n" for source in sorted(sources)))
    apt_get("update")
    how = ["--assume-yes", "--no-install-recommends", "--download-only", "install"] if base.with_dependencies else ["download"]
    apt_get(*how, *base.packages.split(), folder=folder)


def unpack(base: Base, folder: Path) -> None:
    """Makes the folder of an image, or leaves it as it is where this file made it as it is now."""
    made_from, description = folder.with_suffix(".base"), Path(__file__).read_text()
    if made_from.exists() and made_from.read_text() == description:
        return
    print(f"unpacking Debian's packages into {folder.relative_to(ROOT)}", flush=True)
    made_from.unlink(missing_ok=True)
    packages = folder.with_suffix(".new")
    for old in (folder, packages):
        shutil.rmtree(old, ignore_errors=True)
    download(base, packages)
    folder.mkdir()
    for archive in sorted(packages.glob("*.deb")):
        # distroless has what update-ca-certificates makes of this package, not the package.
        target = packages if base is DISTROLESS and archive.name.startswith("ca-certificates_") else folder
        files = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "--no-same-owner", "-C", target], stdin=files.stdout, check=True)
        if files.wait():
            fail(f"{archive.name} cannot be unpacked")
    if base is DISTROLESS:
        finish_distroless(folder, packages / "usr/share/ca-certificates")
    else:
        finish_rust(folder)
    shutil.rmtree(packages)
    made_from.write_text(description)


def finish_distroless(folder: Path, authorities: Path) -> None:
    bundle = folder / "etc/ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True, exist_ok=True)
    bundle.write_text("".join(path.read_text() for path in sorted(authorities.rglob("*.crt"))))
    (folder / "etc/passwd").write_text(PASSWD)
    (folder / "etc/group").write_text(GROUP)
    (folder / "home/nonroot").mkdir(mode=0o700)
    if IS_ROOT:
        os.chown(folder / "home/nonroot", 65532, 65532)


def finish_rust(folder: Path) -> None:
    # Packages make these when they are configured.
    (folder / "usr/bin/cc").symlink_to("gcc")
    (folder / "usr/local/bin").mkdir(parents=True)
    # Where the image has its Rust.
    (folder / "usr/local/cargo").mkdir()
    (folder / "usr/local/cargo/bin").symlink_to("/usr/local/rustup/bin")


def rust(folder: Path) -> list[Mount]:
    """The machine's Rust for a folder that builds, and the crates, which are fetched outside of it with the machine's settings."""
    host = re.search(r"^host: (.*)$", output("rustc", "-vV"), re.MULTILINE)[1]
    subprocess.run(["cargo", "fetch", "--quiet", "--locked", "--target", host], cwd=ROOT, check=True)
    mounts = [(Path(output("rustc", "--print", "sysroot")), "/usr/local/rustup", "ro")]
    # They name the registry, and with it the folder that its crates are in.
    settings = CARGO_HOME / "config.toml"
    if settings.exists():
        (folder / "usr/local/cargo/config.toml").touch()
        mounts.append((settings, "/usr/local/cargo/config.toml", "ro"))
    return mounts
