#!/bin/sh
# Fills the corpora, of `old_pointer` with the fixtures: fuzz/seed.sh && cargo +nightly fuzz run old_pointer (or rows, answer)
set -eu
cd "$(dirname "$0")"
mkdir -p corpus/old_pointer
for file in ../tests/fixtures/kazoo/*.base64; do
    base64 -d "$file" > "corpus/old_pointer/$(basename "$file" .base64)"
done
mkdir -p corpus/rows
printf '\007{"rows":[\r\n{"id":"a","doc":{"_id":"a","pvt_attachments":{},"_attachments":{"a b":{"data":"AA=="},"\\u0061":1}}}\r\n]}\n' > corpus/rows/rows
printf '\001{"results":[{"docs":[{"ok":{"_attachments":{}}},{"error":[]}]}]}' > corpus/rows/bulk_get
printf '\003\n{"seq":"1-}","doc":{"n":[1,{"x":"]"}]}}\ndata: {"doc":null}\n' > corpus/rows/feed
