# Stowage in a container. Nothing of an installation is in the image; mount it:
#
#   docker build -t stowage .
#   docker run -p 5985:5985 --stop-timeout 120 \
#     -v ./config:/stowage/config:ro -v ./certs:/stowage/certs:ro -v stowage-data:/stowage/data stowage
#
# The mounted config/stowage.toml has to say `listen.address = "0.0.0.0:5985"` (and `listen.tls.address` likewise): the default is
# loopback, which nobody reaches from outside a container. The admin listener can stay on loopback, the health check is inside.
# --stop-timeout is that of `timeouts.drain`; docker's own 10 seconds would cut uploads that are under way.
# Keys must be readable by user 65532. The cache mounts need BuildKit (docker's default since version 23).
# tests/image/run performs these stages without an engine, and tries what comes out.

FROM rust:1.95-slim-bookworm AS builder
WORKDIR /build
COPY . .
# The caches outlive the layer: after a change of the sources only the gateway itself is compiled again.
# Without its symbols the program is a fifth as large; a plain `cargo build --release` keeps them, for profiles.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin stowage \
    && strip -o /usr/local/bin/stowage target/release/stowage \
    && mkdir /empty

# Has glibc, libgcc, the CA certificates that the gateway verifies https backends with, and no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
WORKDIR /stowage
COPY --from=builder /usr/local/bin/stowage /usr/local/bin/stowage
# A named volume takes over the owner of this directory; without it the gateway could not write there.
COPY --from=builder --chown=65532:65532 /empty /stowage/data
USER 65532:65532
EXPOSE 5985 6985
VOLUME ["/stowage/data"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/usr/local/bin/stowage", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/stowage"]
CMD ["serve"]
