#!/usr/bin/env bash
# Installs TorchServe into an environment of its own, .venv-servers/torchserve. Done again, it does nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."

here=.venv-servers/torchserve
stamp="$here/.installed"
if ! command -v java >/dev/null; then
  echo "TorchServe needs Java 11 or newer, and there is no java: install Debian's openjdk-17-jre-headless" >&2
  exit 1
fi
if [ "$stamp" -nt "$0" ]; then
  exit 0
fi
test -x "$here/bin/python" || "${PYTHON:-python3}" -m venv "$here"
# Without pyyaml and numpy, which it does not declare, its workers die. torch and onnxruntime are the releases that the gateway
# has: the same files, the same answers.
pin() { grep -E "^$1==" constraints.txt | cut -d';' -f1 | head -n1; }
"$here/bin/pip" install --quiet 'torchserve==0.12.*' 'pyyaml>=6,<7' "$(pin torch)" "$(pin onnxruntime)" "$(pin numpy)"
touch "$stamp"
