# Stowage in a container. The image has no configuration, certificates or data: mount them.
#
#   docker build -t stowage .
#   docker run -p 5985:5985 --stop-timeout 150 \
#     -v ./config:/stowage/config:ro -v ./certs:/stowage/certs:ro -v stowage-data:/stowage/data stowage
#
# The mounted config/stowage.toml must set `listen.address = "0.0.0.0:5985"` (and `listen.tls.address` likewise): the default is
# loopback, which cannot be reached from outside the container. The admin listener can stay on loopback, because the health check runs
# inside. --stop-timeout should be more than `timeouts.drain` and 20 s: Docker's default of 10 seconds would interrupt running uploads.
# Keys must be readable by user 65532. The cache mounts require BuildKit (Docker's default since version 23).
# tests/image/run performs these stages without a container engine and tests the result.

FROM rust:1.95-slim-bookworm AS builder
WORKDIR /build
COPY . .
# The caches are kept between builds: after a change of the sources only the project itself is compiled again.
# Stripping the symbols reduces the program to a fifth. A plain `cargo build --release` keeps them for profiling.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin stowage \
    && strip -o /usr/local/bin/stowage target/release/stowage \
    && mkdir /empty

# Contains glibc, libgcc and the CA certificates for https storages, but no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
WORKDIR /stowage
COPY --from=builder /usr/local/bin/stowage /usr/local/bin/stowage
# A named volume inherits the owner of this directory; otherwise the gateway could not write to it.
COPY --from=builder --chown=65532:65532 /empty /stowage/data
USER 65532:65532
EXPOSE 5985 6985
VOLUME ["/stowage/data"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/usr/local/bin/stowage", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/stowage"]
CMD ["serve"]
