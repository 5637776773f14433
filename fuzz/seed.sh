#!/bin/sh
# Fills the corpus of `old_pointer` with the fixtures: fuzz/seed.sh && cargo +nightly fuzz run old_pointer
set -eu
cd "$(dirname "$0")"
mkdir -p corpus/old_pointer
for file in ../tests/fixtures/kazoo/*.base64; do
    base64 -d "$file" > "corpus/old_pointer/$(basename "$file" .base64)"
done
