#!/usr/bin/env bash
# On the machine with the GPU: keep what this transfer has brought below /tmp/adhere-kit, for those that follow.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p /tmp/adhere-kit
cp -rn bench/gpu/kit/. /tmp/adhere-kit/
ls -l /tmp/adhere-kit
