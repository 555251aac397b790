# The agent's image: two static binaries, nothing else. The context is the folder that holds them:
#   cargo build --locked --release --target x86_64-unknown-linux-gnu     (RUSTFLAGS="-C target-feature=+crt-static")
#   docker build -f Dockerfile target/x86_64-unknown-linux-gnu/release
FROM scratch
COPY netckpt netckpt-cni /
ENTRYPOINT ["/netckpt"]
CMD ["agent"]
